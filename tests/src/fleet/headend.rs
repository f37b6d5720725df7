//! One poll of a simulated headend: what `feed-client` asks for, in its order, without the signatures, which cost the server
//! nothing.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bundles::increment::{Unpacking, available_dictionary, base_of};
use bundles::release::{FileRef, ReleasedFile};
use bundles::{Digest, Manifest};
use bytes::Bytes;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::wire::{Answer, Ask, Wire};
use crate::world::{Member, running};

const AVAILABLE_DICTIONARY: HeaderName = HeaderName::from_static("available-dictionary");

/// What a fleet fetches where there is something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// Payloads, in whatever coding the server has: told by the old ones, where it can.
    Payloads,
    /// The archives that changed, whole and as they are: what any web server can do.
    Archives,
}

/// What a headend holds after a poll.
#[derive(Debug, Clone)]
pub struct Held {
    etag: Arc<str>,
    stable: Digest,
    release: Arc<Manifest>,
}

impl Held {
    /// The release's number.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.release.serial.get()
    }
}

/// What all headends of a fleet know together.
#[derive(Debug)]
pub struct Shared {
    taking: Taking,
    /// By digest: what headends have, to tell new content by.
    contents: Mutex<HashMap<Digest, Bytes>>,
    /// By wanted digest and coding: bodies that were opened and held to the digest. The same bytes are the same content, so
    /// whoever gets them again need not open them.
    checked: Mutex<HashMap<(Digest, Coding), Bytes>>,
    releases: Mutex<HashMap<Digest, Arc<Manifest>>>,
    /// How many bodies came in which coding, of payloads and archives alone.
    codings: Mutex<BTreeMap<Coding, u64>>,
}

/// A content coding and, for an increment, over what.
type Coding = (&'static str, Option<Digest>);

/// How a poll went.
#[derive(Debug, Clone)]
pub struct Polled {
    /// What the headend holds now.
    pub held: Held,
    /// Whether there was a release that it had not.
    pub is_update: bool,
    /// Until the answer to the first question.
    pub first: Duration,
    /// Until the report was acknowledged.
    pub whole: Duration,
}

impl Shared {
    /// Nothing known yet.
    #[must_use]
    pub fn new(taking: Taking) -> Self {
        Self {
            taking,
            contents: Mutex::default(),
            checked: Mutex::default(),
            releases: Mutex::default(),
            codings: Mutex::default(),
        }
    }

    /// How many payloads or archives came in which coding, such as `3 dcz, 2 identity`.
    #[must_use]
    pub fn codings(&self) -> String {
        let mut counts = BTreeMap::<_, u64>::new();
        for ((coding, _), count) in lock(&self.codings).iter() {
            *counts.entry(*coding).or_default() += count;
        }
        counts.iter().map(|(coding, count)| format!("{count} {coding}")).collect::<Vec<_>>().join(", ")
    }

    /// Forgets how many came in which coding.
    pub fn count_anew(&self) {
        lock(&self.codings).clear();
    }

    fn manifest(&self, digest: Digest, bytes: &[u8]) -> Result<Arc<Manifest>> {
        if let Some(known) = lock(&self.releases).get(&digest) {
            return Ok(Arc::clone(known));
        }
        let manifest = Arc::new(Manifest::from_json(bytes)?);
        lock(&self.releases).insert(digest, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Opens a body and holds it to what was wanted.
    fn check(&self, wanted: &FileRef, coding: Coding, body: Bytes) -> Result<()> {
        *lock(&self.codings).entry(coding).or_default() += 1;
        let key = (wanted.sha256, coding);
        let known = lock(&self.checked).get(&key).cloned();
        if known.is_some_and(|known| known == body) {
            return Ok(());
        }
        let base = coding.1.and_then(|base| lock(&self.contents).get(&base).cloned());
        let opened = open(wanted, coding.0, base.as_deref(), &body).with_context(|| wanted.name.to_string())?;
        ensure!(
            opened.len() as u64 == wanted.length && Digest::of(&opened) == wanted.sha256,
            "{} is not what was signed",
            wanted.name
        );
        lock(&self.contents).insert(wanted.sha256, opened);
        lock(&self.checked).insert(key, body);
        Ok(())
    }
}

/// A panic elsewhere ends the benchmark anyhow.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(wanted: &FileRef, coding: &str, base: Option<&[u8]>, body: &Bytes) -> Result<Bytes> {
    let unpack = |mut unpacking: Unpacking<'_, Vec<u8>>| -> Result<Bytes> {
        unpacking.push(body)?;
        Ok(unpacking.finish()?.into())
    };
    match coding {
        "identity" => Ok(body.clone()),
        "dcz" => unpack(Unpacking::increment(base.context("an increment over nothing")?, wanted.length, Vec::new())?),
        "zstd" => unpack(Unpacking::zstd(wanted.length, Vec::new())?),
        "gzip" => {
            let mut bytes = Vec::new();
            flate2::read::GzDecoder::new(&**body).take(wanted.length + 1).read_to_end(&mut bytes)?;
            Ok(bytes.into())
        }
        other => bail!("nobody asked for {other}"),
    }
}

/// One poll: what is new, where there is something, and the report.
///
/// # Errors
/// Anything but the answers that a headend needs.
pub async fn poll(wire: &mut Wire, member: &Member, shared: &Shared, held: Option<&Held>) -> Result<Polled> {
    let began = Instant::now();
    let mut ask = Ask::get("/repo/metadata/timestamp.json");
    if let Some(held) = held {
        ask = ask.with(IF_NONE_MATCH, &held.etag);
    }
    let timestamp = wire.ask(&ask).await?;
    let first = began.elapsed();
    let (now, is_update) = match (timestamp.status, held) {
        (StatusCode::NOT_MODIFIED, Some(held)) => (held.clone(), false),
        (StatusCode::OK, _) => refresh(wire, shared, held, &timestamp).await?,
        (status, _) => bail!("timestamp.json is answered with {status}"),
    };
    report(wire, member, now.serial()).await?;
    Ok(Polled { held: now, is_update, first, whole: began.elapsed() })
}

async fn report(wire: &mut Wire, member: &Member, serial: u64) -> Result<()> {
    let status = try_report(wire, member, serial).await?;
    ensure!(status == StatusCode::NO_CONTENT, "a report is answered with {status}");
    Ok(())
}

/// Reports what runs; what that is answered with.
pub(super) async fn try_report(wire: &mut Wire, member: &Member, serial: u64) -> Result<StatusCode> {
    let path = format!("/api/v1/headends/{}/report", member.id);
    let bearer = format!("Bearer {}", member.token);
    let headers = vec![(AUTHORIZATION, bearer.as_str()), (CONTENT_TYPE, "application/json")];
    let body = serde_json::to_vec(&running(serial)?)?.into();
    Ok(wire.ask(&Ask { method: Method::PUT, path: &path, headers, body }).await?.status)
}

async fn refresh(wire: &mut Wire, shared: &Shared, held: Option<&Held>, timestamp: &Answer) -> Result<(Held, bool)> {
    let etag: Arc<str> = timestamp.header(&ETAG).context("timestamp.json has no ETag")?.into();
    let version = version_of(&timestamp.body, "snapshot.json")?;
    let snapshot = fetch(wire, &format!("/repo/metadata/{version}.snapshot.json")).await?;
    let version = version_of(&snapshot, "targets.json")?;
    let targets: Value =
        serde_json::from_slice(&fetch(wire, &format!("/repo/metadata/{version}.targets.json")).await?)?;
    let stable = targets["signed"]["targets"]["stable.json"]["hashes"]["sha256"].as_str();
    let stable: Digest = stable.context("targets.json names no stable.json")?.parse()?;
    if let Some(held) = held
        && held.stable == stable
    {
        return Ok((Held { etag, ..held.clone() }, false));
    }
    let manifest = fetch(wire, &format!("/repo/targets/{stable}.stable.json")).await?;
    ensure!(Digest::of(&manifest) == stable, "stable.json is not what was signed");
    let release = shared.manifest(stable, &manifest)?;
    for released in &release.components {
        let then = held.and_then(|held| held.release.components.iter().find(|it| it.component == released.component));
        let then = then.map_or(&[][..], |then| &then.files);
        for file in &released.files {
            take(wire, shared, file, &released.files, then).await?;
        }
    }
    Ok((Held { etag, stable, release }, true))
}

/// Fetches a file of a release, unless the headend has it.
async fn take(
    wire: &mut Wire,
    shared: &Shared,
    file: &ReleasedFile,
    now: &[ReleasedFile],
    then: &[ReleasedFile],
) -> Result<()> {
    let (wanted, base) = match shared.taking {
        Taking::Payloads => (&file.payload, base_of(&file.payload, now, then)),
        Taking::Archives => (&file.archive, None),
    };
    let is_there = |old: &ReleasedFile| old.payload.sha256 == wanted.sha256 || old.archive.sha256 == wanted.sha256;
    if then.iter().any(is_there) {
        return Ok(());
    }
    let path = format!("/repo/targets/{}.{}", wanted.sha256, wanted.target_name()?);
    let dictionary = base.map(|base| available_dictionary(&base.sha256));
    let mut ask = Ask::get(&path);
    if shared.taking == Taking::Payloads {
        ask = ask.with(ACCEPT_ENCODING, if dictionary.is_some() { "dcz, zstd, gzip" } else { "zstd, gzip" });
    }
    if let Some(dictionary) = &dictionary {
        ask = ask.with(AVAILABLE_DICTIONARY, dictionary);
    }
    let answer = wire.ask(&ask).await?;
    ensure!(answer.status == StatusCode::OK, "{path} is answered with {}", answer.status);
    let coding = match answer.header(&CONTENT_ENCODING) {
        None => ("identity", None),
        Some("dcz") => ("dcz", base.map(|base| base.sha256)),
        Some("zstd") => ("zstd", None),
        Some("gzip") => ("gzip", None),
        Some(other) => bail!("{path} comes in {other}, which nobody asked for"),
    };
    shared.check(wanted, coding, answer.body)
}

async fn fetch(wire: &mut Wire, path: &str) -> Result<Bytes> {
    let answer = wire.ask(&Ask::get(path)).await?;
    ensure!(answer.status == StatusCode::OK, "{path} is answered with {}", answer.status);
    Ok(answer.body)
}

/// The version of a role that signed metadata names.
fn version_of(metadata: &[u8], role: &str) -> Result<u64> {
    let metadata: Value = serde_json::from_slice(metadata)?;
    metadata["signed"]["meta"][role]["version"].as_u64().with_context(|| format!("it names no {role}"))
}
