//! A data directory that cannot be written, is full, or is a newer program's. Needs root, since it mounts.

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Options};
use tests::lab::LabUpstream;
use tests::mounts::{Mount, fill};
use tests::world::World;

#[tokio::test]
async fn a_full_disk_fails_the_run_alone_and_room_heals_it() -> Result<()> {
    // Room for the catalog's reserve and small releases, and not for a feed of realistic size with 24 MB of padding.
    let options = Options { padding: 24 << 20, ..Options::small() };
    let mut world = World::builder().headends(1).stopped().build().await?;
    let mount = Mount::new(&["-t", "tmpfs", "-o", "size=24m", "none"], &world.data())?;
    world.start_server().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;

    let large = bundles::fake::Feed::make(&Edition::after(), &options);
    for (name, bytes) in &large.files {
        world.upstream().answer(&format!("/web/secure/spa/{name}"), tests::lab::Raw::ok(bytes.clone()));
    }
    let index = large.index(&world.upstream().url());
    world.upstream().answer("/web/secure/spa/posture-update.xml", tests::lab::Raw::ok(index));
    let failed = world.sync().await?.failed_with(15)?;
    ensure!(failed.stderr.contains("(storage)") && failed.stderr.contains("free space"), "{failed}");
    world.released(1).await?;
    world.headend(0).client(["update"]).await?.success()?;
    let staging = std::fs::read_dir(world.data().join("staging"))?.count();
    ensure!(staging == 0, "{staging} files are left in staging");

    mount.remount("remount,size=200m")?;
    world.sync().await?.success()?;
    world.released(2).await?;
    world.headend(0).client(["update"]).await?.success()?;
    world.stop_server().await?;
    Ok(())
}

#[tokio::test]
async fn a_read_only_data_directory_is_storage_and_changes_nothing() -> Result<()> {
    let mut world = World::builder().stopped().build().await?;
    let mount = Mount::new(&["-t", "tmpfs", "-o", "size=64m", "none"], &world.data())?;
    world.start_server().await?;
    world.sync().await?.success()?;
    world.stop_server().await?;
    mount.remount("remount,ro")?;
    for verb in ["sync", "serve"] {
        let failed = world.feed_server([verb]).await?.failed_with(15)?;
        ensure!(failed.stderr.contains("(storage)") && failed.stderr.contains("permissions"), "{failed}");
    }
    let failed = world.feed_server(["doctor"]).await?.failed_with(15)?;
    ensure!(failed.stdout.contains("\ndisk      FAILED") && failed.stdout.contains("check its mount"), "{failed}");
    ensure!(failed.stdout.contains("\narchives  ok"), "the archives are opened elsewhere: {failed}");
    mount.remount("remount,rw")?;
    world.start_server().await?;
    world.released(1).await?;
    world.stop_server().await?;
    Ok(())
}

#[tokio::test]
async fn a_headends_full_disk_leaves_the_running_release_and_room_heals_it() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    let mount = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "none"], &world.headend(0).data())?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    let running = world.headend(0).current().context("a release runs")?;

    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    let ballast = world.headend(0).data().join("ballast");
    fill(&ballast)?;
    let failed = world.headend(0).client(["update"]).await?.failed_with(15)?;
    ensure!(failed.stderr.contains("storage"), "{failed}");
    ensure!(world.headend(0).current().as_ref() == Some(&running), "the release that ran runs on");
    std::fs::remove_file(ballast)?;
    world.headend(0).client(["update"]).await?.success()?;
    ensure!(world.headend(0).current() != Some(running));
    drop(mount);
    Ok(())
}

#[tokio::test]
async fn a_newer_programs_data_directory_is_refused_untouched() -> Result<()> {
    let mut world = World::builder().upstream(LabUpstream::builder().options(Options::small())).build().await?;
    world.sync().await?.success()?;
    world.stop_server().await?;
    let schema = world.data().join("schema");
    let ours = std::fs::read_to_string(&schema)?;
    std::fs::write(&schema, "99\n")?;
    for verb in [&["sync"][..], &["serve"], &["status"], &["release", "list"]] {
        let failed = world.feed_server(verb).await?.failed_with(15)?;
        ensure!(failed.stderr.contains("99") && failed.stderr.contains("newer program"), "{failed}");
    }
    std::fs::write(&schema, ours)?;
    world.start_server().await?;
    world.released(1).await
}
