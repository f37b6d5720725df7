//! Hostile and damaged zips, media that fail, and uploads that stop: each refused with its reason by whoever takes bundles,
//! and nothing left of it.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use bundles::fake::hostile::Hostile;
use tests::mounts::Stick;
use tests::peers::Digests;
use tests::world::{Output, World, wait_until};

use crate::setting::{nothing_is_left, origin, published, refused, relay};

/// A relay with the first release, a genuine bundle of the second one, and what is published before anything hostile comes.
struct Trial {
    relay: World,
    /// Of the release that is here.
    held: PathBuf,
    good: PathBuf,
    before: Digests,
}

impl Trial {
    async fn begun() -> Result<Self> {
        let (origin, root) = origin().await?;
        let relay = relay(&root).headends(1).impatient().build().await?;
        relay.headend(0).enroll_for_imports(&root).await?;
        let first = origin.bundle().await?;
        relay.import(&first).await?.success()?;
        relay.headend(0).import(&first).await?.success()?;
        let held = relay.directory().join("held.zip");
        std::fs::copy(&first, &held)?;
        origin.upstream().publish(Edition::after())?;
        origin.sync().await?.success()?;
        let good = relay.directory().join("good.zip");
        std::fs::copy(origin.bundle().await?, &good)?;
        let before = published(&relay)?;
        Ok(Self { relay, held, good, before })
    }

    /// Whoever takes or looks at a bundle.
    async fn doors(&self, zip: &Path) -> Result<[Output; 4]> {
        let (headend, zip) = (self.relay.headend(0), zip.as_os_str());
        Ok([
            self.relay.feed_server(["bundle".as_ref(), "inspect".as_ref(), zip]).await?,
            self.relay.feed_server(["bundle".as_ref(), "import".as_ref(), zip]).await?,
            headend.client(["inspect".as_ref(), zip]).await?,
            headend.client(["import".as_ref(), zip]).await?,
        ])
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.relay.directory().join(format!("{name}.zip"));
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Nothing came of it, anywhere.
    fn nothing_changed(&self) -> Result<()> {
        ensure!(published(&self.relay)? == self.before, "what is served is unchanged");
        nothing_is_left(&self.relay)?;
        let headend = self.relay.headend(0);
        ensure!(headend.current().is_some_and(|path| path.ends_with("releases/1")), "what runs is unchanged");
        let left: Vec<_> = strangers(&headend.data())?;
        ensure!(left.is_empty(), "{left:?} is left on the headend");
        for folder in [self.relay.directory(), Path::new("/etc"), Path::new("/tmp"), Path::new("/")] {
            ensure!(!folder.join("evil").exists(), "a zip wrote outside of its folder: {}", folder.display());
        }
        Ok(())
    }

    /// The genuine bundle is taken after all that.
    async fn ends_well(&self) -> Result<()> {
        self.nothing_changed()?;
        self.relay.import(&self.good).await?.success()?;
        self.relay.headend(0).import(&self.good).await?.success()?;
        self.relay.released(2).await
    }
}

/// What a headend keeps of imports that failed: nothing is to be there.
fn strangers(data: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["incoming", "staging", "downloads", "releases/.staging"] {
        match std::fs::read_dir(data.join(folder)) {
            Ok(entries) => found.extend(entries.filter_map(Result::ok).map(|entry| entry.path())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(folder),
        }
    }
    Ok(found)
}

/// What doors may call it: what it is, or that it is none of ours, where it does not even begin as a bundle.
fn reasons(hostile: Hostile, bytes: &[u8]) -> Vec<&'static str> {
    let mut reasons = vec![hostile.reason().as_str()];
    if !bundles::bundle::is_bundle(bytes) {
        reasons.extend(["bad_request", "bad_archive"]);
    }
    reasons
}

#[tokio::test]
async fn hostile_zips_are_refused_by_every_door() -> Result<()> {
    let trial = Trial::begun().await?;
    let good = std::fs::read(&trial.good)?;
    let token = trial.relay.operators_token("carrier").await?;
    for hostile in Hostile::ALL {
        let (name, bytes) = (hostile.name(), hostile.from_good(&good));
        let reasons = reasons(*hostile, &bytes);
        let zip = trial.file(name, &bytes)?;
        refused(&trial.relay.import(&zip).await?, &reasons).with_context(|| format!("{name}, by command"))?;
        let answer = trial.relay.upload(&zip, &token)?;
        let is_said = reasons.iter().any(|reason| answer.body["reason"] == *reason);
        ensure!(answer.status >= 400 && is_said, "{name}, uploaded: {answer:?}");
        refused(&trial.relay.headend(0).import(&zip).await?, &reasons)
            .with_context(|| format!("{name}, on a headend"))?;
        trial.nothing_changed().with_context(|| name.to_owned())?;
    }
    trial.ends_well().await
}

#[tokio::test]
async fn hostile_zips_in_the_watched_folder_go_to_quarantine_with_their_reason() -> Result<()> {
    let trial = Trial::begun().await?;
    let good = std::fs::read(&trial.good)?;
    let folder = trial.relay.watched_folder();
    for hostile in Hostile::ALL {
        let name = hostile.name();
        let bytes = hostile.from_good(&good);
        // As somebody copies it who minds: whole at once, and its digest beside it, so that nobody waits for the rest of it.
        let digest = bundles::Digest::of(&bytes);
        std::fs::write(folder.join(format!("{name}.zip.sha256")), format!("{digest}  {name}.zip\n"))?;
        let coming = trial.relay.directory().join("coming");
        std::fs::write(&coming, bytes)?;
        std::fs::rename(coming, folder.join(format!("{name}.zip")))?;
    }
    let quarantine = folder.join("quarantine");
    for hostile in Hostile::ALL {
        let reasons = reasons(*hostile, &hostile.from_good(&good));
        // Its reason was written before it was moved.
        let zip = quarantine.join(format!("{}.zip", hostile.name()));
        let what = format!("{} is there", zip.display());
        wait_until(tests::world::DEADLINE, &what, async || zip.is_file()).await?;
        let text = std::fs::read_to_string(quarantine.join(format!("{}.zip.reason.txt", hostile.name())))?;
        ensure!(reasons.iter().any(|reason| text.contains(reason)), "{}: {text}", hostile.name());
    }
    trial.nothing_changed()?;
    // A good one is taken, and taken out of the folder.
    let good = folder.join("good.zip");
    std::fs::copy(&trial.good, &good)?;
    trial.relay.released(2).await?;
    wait_until(tests::world::DEADLINE, "good.zip is taken out of the folder", async || !good.exists()).await
}

/// A byte of each kind in each member: of its content, of the checksums in front of it and in the directory.
fn places(zip: &[u8]) -> Result<Vec<(String, usize)>> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip))?;
    let mut places = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        let content = member.data_start().context("it was opened")? + member.compressed_size() / 2;
        let kinds = [
            ("content", content),
            ("local header", member.header_start() + 14),
            ("directory", member.central_header_start() + 16),
        ];
        for (kind, at) in kinds {
            places.push((format!("{kind} of {}", member.name()?), usize::try_from(at)?));
        }
    }
    Ok(places)
}

#[tokio::test]
async fn one_flipped_bit_in_any_member_is_refused_by_every_door() -> Result<()> {
    let trial = Trial::begun().await?;
    // Of a release that is here already, nothing needs to be taken: it is read all the same.
    for bundle in [&trial.held, &trial.good] {
        let good = std::fs::read(bundle)?;
        for (what, at) in places(&good)? {
            let is_content = what.starts_with("content");
            // The structure is the same one in every bundle.
            if !is_content && bundle == &trial.held {
                continue;
            }
            let mut flipped = good.clone();
            flipped[at] ^= 0x10;
            let zip = trial.file("flipped", &flipped)?;
            for output in trial.doors(&zip).await? {
                refused(&output, &["bad_archive"]).with_context(|| format!("{what} of {}", bundle.display()))?;
            }
            trial.nothing_changed().with_context(|| what)?;
        }
        for output in trial.doors(bundle).await?.into_iter().step_by(2) {
            output.success()?;
        }
        trial.relay.released(if bundle == &trial.held { 1 } else { 2 }).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bundle_that_is_cut_short_anywhere_is_refused() -> Result<()> {
    const STEP: usize = 4 << 10;
    let trial = Trial::begun().await?;
    let good = std::fs::read(&trial.good)?;
    for length in (0..good.len()).step_by(STEP).chain([good.len() - 1]) {
        let zip = trial.file("cut", &good[..length])?;
        // Nothing at all is no zip to begin with.
        let reasons: &[&str] = if length == 0 { &["bad_archive", "truncated", "bad_request"] } else { &["truncated"] };
        refused(&trial.relay.import(&zip).await?, reasons).with_context(|| format!("{length} bytes"))?;
        refused(&trial.relay.headend(0).import(&zip).await?, reasons).with_context(|| format!("{length} bytes"))?;
        trial.nothing_changed().with_context(|| format!("{length} bytes"))?;
    }
    trial.ends_well().await
}

#[tokio::test]
async fn a_stick_that_is_pulled_out_leaves_nothing_and_a_read_only_one_is_enough() -> Result<()> {
    let trial = Trial::begun().await?;
    let torn = Stick::with(&trial.good)?.torn()?;
    refused(&trial.relay.import(&torn.file()).await?, &["storage"])?;
    refused(&trial.relay.headend(0).import(&torn.file()).await?, &["storage"])?;
    trial.nothing_changed()?;
    drop(torn);
    let stick = Stick::with(&trial.good)?;
    trial.relay.import(&stick.file()).await?.success()?;
    trial.relay.headend(0).import(&stick.file()).await?.success()?;
    trial.relay.released(2).await
}

#[tokio::test]
async fn an_upload_that_stops_leaves_nothing() -> Result<()> {
    let trial = Trial::begun().await?;
    let token = trial.relay.operators_token("carrier").await?;
    let url = trial.relay.server_url()?;
    let address = format!("{}:{}", url.host_str().context("a host")?, url.port().context("a port")?);
    let good = std::fs::read(&trial.good)?;
    let mut upload = TcpStream::connect(&address)?;
    write!(
        upload,
        "POST /api/v1/imports HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        good.len()
    )?;
    upload.write_all(&good[..good.len() / 2])?;
    let status = async || -> Result<serde_json::Value> { trial.relay.feed_server(["status", "--json"]).await?.json() };
    let begun = async || status().await.is_ok_and(|status| status["importing"].is_object());
    wait_until(tests::world::DEADLINE, "the import begins", begun).await?;
    drop(upload);
    let ended = async || status().await.is_ok_and(|status| status["last_import"]["result"] == "truncated");
    wait_until(tests::world::DEADLINE, "the import ends as truncated", ended).await?;
    trial.ends_well().await
}
