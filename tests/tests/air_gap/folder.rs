//! The watched folder on media that cannot be written, and beside a disk that is full.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Options};
use rustix::fs::statvfs;
use serde_json::Value;
use tests::lab::LabUpstream;
use tests::mounts::Mount;
use tests::world::{DEADLINE, World, wait_until};

use crate::setting::{nothing_is_left, origin, published, relay};

/// What an import needs beside the bundle itself before it begins.
const SPARE_BYTES: u64 = 32 << 20;

async fn last_import(relay: &World) -> Result<Value> {
    let status: Value = relay.feed_server(["status", "--json"]).await?.success()?.json()?;
    Ok(status["last_import"].clone())
}

/// Lines of the server's log that have all of these.
fn told(relay: &World, parts: &[&str]) -> Result<usize> {
    let log = std::fs::read_to_string(relay.server_log())?;
    Ok(log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count())
}

async fn is_told(relay: &World, parts: &[&str]) -> Result<()> {
    let what = format!("the log has {parts:?}");
    wait_until(DEADLINE, &what, async || told(relay, parts).is_ok_and(|lines| lines > 0)).await
}

/// That looks were taken since, as what becomes of another file shows. It comes like every file on a medium that is put in
/// again: mounted so that it can be written, and then not.
async fn looks_go_on(relay: &World, stick: &Mount, name: &str) -> Result<()> {
    stick.remount("remount,rw")?;
    std::fs::write(stick.path().join(name), b"\x1f\x8b\x08\0")?;
    stick.remount("remount,ro")?;
    is_told(relay, &["a bad zip stays in the watched folder", name]).await
}

#[tokio::test]
async fn from_a_read_only_medium_each_zip_is_taken_once() -> Result<()> {
    let (origin, root) = origin().await?;
    let mut relay = relay(&root).impatient().stopped().build().await?;
    let stick = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "none"], &relay.directory().join("stick"))?;
    std::fs::copy(origin.bundle().await?, stick.path().join("good.zip"))?;
    let (stranger, _) = self::origin().await?;
    std::fs::copy(stranger.bundle().await?, stick.path().join("strange.zip"))?;
    stick.remount("remount,ro")?;
    relay.set("bundles", "watched_folder", stick.path().to_str().context("UTF-8")?)?;
    relay.start_server().await?;
    relay.released(1).await?;

    let good = ["an imported zip stays in the watched folder", "good.zip"];
    let strange = ["a bad zip stays in the watched folder", "strange.zip"];
    is_told(&relay, &good).await?;
    is_told(&relay, &strange).await?;
    for name in ["one.tar.gz", "two.tar.gz"] {
        looks_go_on(&relay, &stick, name).await?;
    }
    ensure!(told(&relay, &good)? == 1 && told(&relay, &strange)? == 1, "each is told once");
    ensure!(last_import(&relay).await?["id"] == 4, "each is imported once: {}", last_import(&relay).await?);

    // After a start it is known, by its content; whether a bad one has become a good one, is seen once again.
    relay.restart_server().await?;
    is_told(&relay, &["was imported before", "good.zip"]).await?;
    let again = async || told(&relay, &strange).is_ok_and(|told| told > 1);
    wait_until(DEADLINE, "the bad one is told again", again).await?;
    looks_go_on(&relay, &stick, "three.tar.gz").await?;
    ensure!(told(&relay, &good)? == 1 && told(&relay, &["was imported before"])? == 1, "once for each start");
    ensure!(told(&relay, &strange)? == 2, "once for each start");
    let names: Vec<_> = std::fs::read_dir(stick.path())?.collect::<Result<_, _>>()?;
    ensure!(names.len() == 5, "nothing is taken from it, nor added: {names:?}");
    nothing_is_left(&relay)?;
    relay.stop_server().await?;
    Ok(())
}

/// Leaves that many bytes free.
fn fill(disk: &Path, leave: u64) -> Result<()> {
    let ballast = disk.join("ballast");
    match std::fs::remove_file(&ballast) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let space = statvfs(disk)?;
    let bytes = (space.f_bavail * space.f_frsize).checked_sub(leave).context("there is more free than that")?;
    std::fs::write(ballast, vec![0; usize::try_from(bytes)?])?;
    Ok(())
}

#[tokio::test]
async fn a_full_disk_leaves_the_zip_where_it_is_and_room_heals_it() -> Result<()> {
    // Large enough that what the bundle is opened to does not fit into the room that is kept beside it.
    let options = Options { padding: 24 << 20, ..Options::small() };
    let origin = World::builder().upstream(LabUpstream::builder().options(options)).build().await?;
    origin.sync().await?.success()?;
    let root = origin.offline_root().await?;
    let folder = tempfile::tempdir()?;
    let builder = relay(&root).set("bundles", "watched_folder", folder.path().to_str().context("UTF-8")?);
    let mut relay = builder.impatient().stopped().build().await?;
    let disk = Mount::new(&["-t", "tmpfs", "-o", "size=400m", "none"], &relay.data())?;
    relay.start_server().await?;
    relay.import(&origin.bundle().await?).await?.success()?;
    let before = published(&relay)?;
    origin.upstream().publish(Edition::after())?;
    origin.sync().await?.success()?;
    let second = origin.bundle().await?;
    let length = std::fs::metadata(&second)?.len();

    // Too little to begin with; and enough to begin with, and too little in the midst of it.
    let zip = folder.path().join("second.zip");
    for leave in [1 << 20, length + SPARE_BYTES + (4 << 20)] {
        fill(disk.path(), leave)?;
        std::fs::copy(&second, folder.path().join("coming"))?;
        std::fs::rename(folder.path().join("coming"), &zip)?;
        let id = last_import(&relay).await?["id"].clone();
        let refused =
            async || last_import(&relay).await.is_ok_and(|last| last["id"] != id && last["result"].is_string());
        wait_until(DEADLINE, "it is refused", refused).await?;
        let last = last_import(&relay).await?;
        ensure!(last["reason"] == "storage" && last["by"] == "watched_folder", "{last}");
        ensure!(published(&relay)? == before, "what is served is unchanged");
        nothing_is_left(&relay)?;
        ensure!(zip.exists() && !folder.path().join("quarantine").exists(), "nothing is wrong with the zip");
    }
    std::fs::remove_file(disk.path().join("ballast"))?;
    relay.released(2).await?;
    wait_until(DEADLINE, "it is taken out of the folder", async || !zip.exists()).await?;
    ensure!(last_import(&relay).await?["result"] == "imported");
    nothing_is_left(&relay)?;
    relay.stop_server().await?;
    Ok(())
}
