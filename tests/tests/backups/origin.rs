//! An origin's disk dies, days and releases after its last backup.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::peers;
use tests::world::World;

/// What is lost with the disk.
pub(crate) fn the_disk_dies(world: &World) -> Result<()> {
    std::fs::remove_dir_all(world.data()).context("the data directory")
}

pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("UTF-8")
}

/// A backup of the world's server.
pub(crate) async fn backup(world: &World, name: &str) -> Result<PathBuf> {
    let file = world.directory().join(name);
    world.feed_server(["backup", text(&file)?]).await?.success()?;
    Ok(file)
}

pub(crate) async fn serial(world: &World) -> Result<u64> {
    let status = world.feed_server(["status", "--json"]).await?.success()?;
    let status: Value = serde_json::from_str(&status.stdout)?;
    status.pointer("/release/serial").and_then(Value::as_u64).context("a release")
}

async fn release(world: &World) -> Result<()> {
    let edition = world.upstream().edition().context("a fake feed")?.next();
    world.upstream().publish(edition)?;
    world.sync().await?.success().map(drop)
}

/// All that follow an origin, each with what it has seen.
struct Followers {
    online: PathBuf,
    offline: PathBuf,
    /// What python-tuf has seen.
    seen: tempfile::TempDir,
}

impl Followers {
    async fn follow(&self, world: &World) -> Result<u64> {
        let serial = serial(world).await?;
        for (root, path) in [(&self.online, "repo"), (&self.offline, "offline")] {
            let targets = peers::python_tuf(&world.server_url()?.join(path)?, root, &self.seen.path().join(path))?;
            ensure!(targets.contains_key(&format!("release-{serial}.json")), "{path}: {targets:?}");
        }
        world.headend(0).client(["update"]).await?.success()?;
        let bundle = world.bundle().await?;
        world.headend(1).import(&bundle).await?.success()?;
        for number in [0, 1] {
            let current = world.headend(number).current().context("a release runs")?;
            ensure!(current.ends_with(serial.to_string()), "headend {number}: {}", current.display());
        }
        // And an ISE node, which finds the index of that release.
        let index = peers::curl(&world.server_url()?.join("web/secure/spa/posture-update.xml")?, None)?;
        ensure!(String::from_utf8(index)?.contains(&format!("/web/secure/spa/r/{serial}/")));
        Ok(serial)
    }
}

#[tokio::test]
async fn headends_follow_an_origin_that_was_restored_from_an_old_backup() -> Result<()> {
    let mut world = World::builder().headends(2).build().await?;
    release(&world).await?;
    world.enroll(0).await?;
    let offline_root = world.offline_root().await?;
    world.headend(1).enroll_for_imports(&offline_root).await?;
    let (online, offline) = (world.directory().join("root.json"), world.directory().join("offline.json"));
    world.export_root(&online).await?;
    world.export_offline_root(&offline).await?;
    let followers = Followers { online, offline, seen: tempfile::tempdir()? };
    followers.follow(&world).await?;
    world.feed_server(["token", "add", "kept", "--scope", "read"]).await?.success()?;
    let file = backup(&world, "while-it-serves.tar").await?;
    // Whoever reads it can sign.
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
    ensure!(mode & 0o777 == 0o600, "{mode:o}");

    let mut seen = 0;
    for _ in 0..3 {
        release(&world).await?;
        seen = followers.follow(&world).await?;
    }
    world.stop_server().await?;
    the_disk_dies(&world)?;
    let roots = ["--root", text(&followers.online)?, "--root", text(&followers.offline)?];
    let told = world.feed_server(["restore", text(&file)?].into_iter().chain(roots)).await?.success()?;
    // The vendor cannot be reached: what there is has to do.
    world.set("upstream", "kind", "none")?;
    world.start_server().await?;
    let again = followers.follow(&world).await?;
    ensure!(again > seen + 1_000 && told.stdout.contains(&again.to_string()), "{again} after {seen}; {told}");
    ensure!(world.feed_server(["token", "list"]).await?.success()?.stdout.contains("kept"));
    ensure!(!world.metrics_text().await?.contains("posture_feed_warning{kind=\"signing_key_missing\"} 1"));

    // And it goes on as ever, with a backup of its own.
    world.stop_server().await?;
    world.set("upstream", "kind", "vendor")?;
    world.start_server().await?;
    release(&world).await?;
    ensure!(followers.follow(&world).await? == again + 1);
    world.stop_server().await?;
    let file = backup(&world, "while-it-is-stopped.tar").await?;
    the_disk_dies(&world)?;
    world.feed_server(["restore", text(&file)?]).await?.success()?;
    world.start_server().await?;
    ensure!(followers.follow(&world).await? > again + 1_000);
    Ok(())
}
