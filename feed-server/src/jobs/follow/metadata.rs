//! What the followed server's signed metadata says now: one repository's, or both where they name the same release.

use std::time::Duration;

use bundles::release::MAX_MANIFEST_BYTES;
use bundles::signed::{self, MAX_ROOT_BYTES, Metadata, SignedError, SignedManifest, Verified};
use bundles::{Digest, TargetName};
use jiff::{SignedDuration, Timestamp};

use super::{RelayError, Standing};
use crate::clock;
use crate::store::Repository;
use crate::upstream::mirror::{Mirror, Polled};

/// How often a server that is between two releases is looked at again in one run. Switching both repositories takes it
/// milliseconds; one that is still not done by then is left to the next run.
const LOOKS: u32 = 3;

/// Before it is looked at again.
const BETWEEN: Duration = Duration::from_secs(1);

/// How far a release may have been made after now: a day covers any mistake of a time zone, and clocks that drift.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

/// What there is.
pub(in crate::jobs) enum Found {
    /// What is held.
    Unchanged {
        /// The server's `Date` less the local clock, seconds.
        clock_offset: Option<i64>,
    },
    /// Something else: another release, or newer metadata of the same one.
    Offer(Box<Offer>),
}

/// A release, verified, with the metadata to keep. Its files have not come yet.
pub(in crate::jobs) struct Offer {
    pub(in crate::jobs) manifest: SignedManifest,
    /// The repository whose root is trusted, from which files are fetched.
    pub(in crate::jobs) repository: Repository,
    pub(in crate::jobs) verified: Verified,
    /// Of each repository that calls this release stable.
    pub(in crate::jobs) metadata: Vec<(Repository, Metadata)>,
    pub(in crate::jobs) clock_offset: Option<i64>,
}

/// One repository, verified.
struct Given {
    metadata: Metadata,
    verified: Verified,
    /// Whether that is what is held.
    is_held: bool,
    clock_offset: Option<i64>,
}

/// Looks at the server's metadata; again where it is between two releases.
pub(in crate::jobs) async fn look(mirror: &Mirror, standing: &Standing, now: Timestamp) -> Result<Found, RelayError> {
    let mut looks = 1;
    loop {
        let is_last = looks == LOOKS;
        match look_once(mirror, standing, now, is_last).await {
            Ok(Some(found)) => return Ok(found),
            Err(error) if is_last || !error.is_in_between() => return Err(error),
            Ok(None) | Err(_) => {}
        }
        looks += 1;
        tracing::info!(server = mirror.shown(), "the server is between two releases; looking again");
        tokio::time::sleep(clock::patience(BETWEEN)).await;
    }
}

/// `None` where its repositories name different releases, unless `takes_one`: then that of the trusted one.
async fn look_once(
    mirror: &Mirror,
    standing: &Standing,
    now: Timestamp,
    takes_one: bool,
) -> Result<Option<Found>, RelayError> {
    let (repository, given) = trusted(mirror, standing, now).await?;
    let stable = stable_of(mirror, repository, &given.verified)?;
    let agrees = |other: &Given| other.verified.target(&TargetName::of_channel_stable()).is_ok_and(|it| *it == stable);
    let mut offline = None;
    // Where both were taken with this very metadata, there is nothing to ask.
    if repository == Repository::Online && !(given.is_held && standing.agree()) {
        offline = offline_of(mirror, standing, &given.verified, now).await?;
        if offline.as_ref().is_some_and(|offline| !agrees(offline)) {
            if !takes_one {
                return Ok(None);
            }
            // It keeps what it has, whole, until its metadata follows.
            tracing::warn!(server = mirror.shown(), "its repositories name different releases; one of them is taken");
            offline = None;
        }
    }
    let clock_offset = given.clock_offset;
    if given.is_held && offline.as_ref().is_none_or(|offline| offline.is_held) && standing.is_whole {
        return Ok(Some(Found::Unchanged { clock_offset }));
    }

    if stable.length() > MAX_MANIFEST_BYTES {
        return Err(RelayError::ManifestTooLong { server: mirror.shown(), length: stable.length() });
    }
    let bytes = mirror.small_target(repository.folder(), stable.name(), &stable.sha256(), stable.length()).await?;
    let manifest = given.verified.manifest(stable.name(), bytes);
    let manifest = manifest.map_err(|source| RelayError::signed(&mirror.shown(), repository, source))?;
    standing.allow(mirror, &manifest, now)?;
    let metadata = std::iter::once((repository, given.metadata));
    let metadata = metadata.chain(offline.map(|offline| (Repository::Offline, offline.metadata))).collect();
    let verified = given.verified;
    Ok(Some(Found::Offer(Box::new(Offer { manifest, repository, verified, metadata, clock_offset }))))
}

/// The repository that the trusted root is of.
async fn trusted(mirror: &Mirror, standing: &Standing, now: Timestamp) -> Result<(Repository, Given), RelayError> {
    if let Some(repository) = standing.repository() {
        let given = given(mirror, repository, &standing.root, standing.held(repository), standing.at(now)).await?;
        let given = given.ok_or_else(|| RelayError::NoRepository { server: mirror.shown() })?;
        return Ok((repository, given));
    }
    // Nothing of this root's is held yet. A root does not name its repository, so both are tried.
    let mut of_other_keys = None;
    for repository in Repository::ALL {
        match given(mirror, repository, &standing.root, standing.held(repository), standing.at(now)).await {
            Ok(Some(given)) => return Ok((repository, given)),
            Ok(None) => {}
            Err(error) if error.is_of_other_keys() => of_other_keys = of_other_keys.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let server = mirror.shown();
    Err(match of_other_keys {
        Some(RelayError::Signed { source, .. }) => RelayError::OtherOrigin { server, source },
        Some(error) => error,
        None => RelayError::NoRepository { server },
    })
}

/// The offline repository, by the root that the online one vouches for; `None` where the server has none.
async fn offline_of(
    mirror: &Mirror,
    standing: &Standing,
    online: &Verified,
    now: Timestamp,
) -> Result<Option<Given>, RelayError> {
    let name = TargetName::of_offline_root();
    let Ok(target) = online.target(&name) else { return Ok(None) };
    let held = standing.held(Repository::Offline);
    let known = held.and_then(|held| held.roots.iter().find(|root| Digest::of(root.as_bytes()) == target.sha256()));
    let root = match known {
        Some(root) => root.clone().into_bytes(),
        None => {
            // A longer one is refused as none; its bytes are not asked for.
            let length = target.length().min(MAX_ROOT_BYTES);
            let bytes = mirror.small_target(Repository::Online.folder(), &name, &target.sha256(), length).await?;
            if Digest::of(&bytes) != target.sha256() {
                let source = SignedError::OtherBytes { name };
                return Err(RelayError::signed(&mirror.shown(), Repository::Online, source));
            }
            bytes
        }
    };
    given(mirror, Repository::Offline, &root, held, standing.at(now)).await
}

/// A repository as the server has it now; `None` where it has none.
async fn given(
    mirror: &Mirror,
    repository: Repository,
    root: &[u8],
    held: Option<&Metadata>,
    now: Timestamp,
) -> Result<Option<Given>, RelayError> {
    let folder = repository.folder();
    let polled = mirror.timestamp(folder, held.map(|held| held.timestamp.as_str())).await?;
    let Some(Polled { timestamp, clock_offset }) = polled else { return Ok(None) };
    let is_held = timestamp.is_none();
    let metadata = match (timestamp, held) {
        (None, Some(held)) => held.clone(),
        // "Not modified" is an answer to what is held alone.
        (None, None) => return Ok(None),
        (Some(timestamp), held) => {
            let own = String::from_utf8_lossy(root);
            let known = held.and_then(|held| held.roots.last()).map_or(&*own, String::as_str);
            mirror.metadata(folder, timestamp, known, held).await?
        }
    };
    let verified = signed::verify(root, &metadata, held, now);
    let verified = verified.and_then(|verified| {
        verified.check_is_online(repository == Repository::Online)?;
        Ok(verified)
    });
    let verified = verified.map_err(|source| match RelayError::signed(&mirror.shown(), repository, source) {
        RelayError::Expired { server, repository, role, expires } if is_held => {
            RelayError::Freeze { server, repository, role, expires }
        }
        error => error,
    })?;
    // With every root that is known, the trusted one among them: for whoever is handed this on.
    let metadata = Metadata { roots: verified.roots().to_vec(), ..metadata };
    Ok(Some(Given { metadata, verified, is_held, clock_offset }))
}

fn stable_of(mirror: &Mirror, repository: Repository, verified: &Verified) -> Result<signed::SignedTarget, RelayError> {
    match verified.target(&TargetName::of_channel_stable()) {
        Ok(stable) => Ok(stable.clone()),
        Err(SignedError::NoTarget { .. }) => Err(RelayError::NoRelease { server: mirror.shown() }),
        Err(source) => Err(RelayError::signed(&mirror.shown(), repository, source)),
    }
}

impl Standing {
    /// What time it is at least: a clock that was set back must not bring back to life what has ended.
    fn at(&self, now: Timestamp) -> Timestamp {
        self.signed_time.map_or(now, |signed| signed.max(now))
    }

    /// Whether a release may be taken by its number and time.
    fn allow(&self, mirror: &Mirror, manifest: &SignedManifest, now: Timestamp) -> Result<(), RelayError> {
        let (offered, created) = (manifest.manifest().serial, manifest.manifest().created);
        if let Some(highest) = self.highest.filter(|highest| offered < *highest) {
            return Err(RelayError::Older { server: mirror.shown(), offered, highest });
        }
        if created.duration_since(now) > CLOCK_TOLERANCE {
            return Err(RelayError::Clock { serial: offered, created, now });
        }
        Ok(())
    }
}
