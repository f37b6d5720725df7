//! Bad input and accidents upstream beyond the one reason that each gives (`reasons/`): what is accepted after all, and how
//! an operator gets on.

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use tests::lab::{Fault, Raw};
use tests::world::{World, shows_edition};

#[tokio::test]
async fn a_locator_that_climbs_stays_within_the_release() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().break_with(Fault::TraversalLocator)?;
    // URLs do not climb above their host, and of the path the last part alone becomes a name.
    world.sync().await?.success()?;
    let index = world.get("web/secure/spa/posture-update.xml").await?.text().await?;
    ensure!(!index.contains("..") && index.contains("/web/secure/spa/r/2/"), "{index}");
    let outside: Vec<_> = std::fs::read_dir(world.directory())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    ensure!(outside.iter().all(|name| !name.ends_with(".gz")), "{outside:?}");
    ensure!(staged(&world)? == 0);
    Ok(())
}

#[tokio::test]
async fn an_older_version_is_refused_until_an_operator_accepts_it() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    world.upstream().publish(Edition::before())?;
    let refused = world.sync().await?.failed_with(12)?;
    ensure!(refused.stderr.contains("--accept-version-rollback"), "{refused}");
    world.released(2).await?;
    world.feed_server(["sync", "--accept-version-rollback"]).await?.success()?;
    world.released(3).await?;
    shows_edition(&world.feed_server(["status"]).await?.success()?.stdout, &Edition::before())
}

#[tokio::test]
async fn a_changed_archive_under_an_unchanged_index_is_noticed() -> Result<()> {
    let world = World::builder().build().await?;
    // No checksum and no version: only asking for each archive shows that it changed.
    let directory = "/web/secure/spa/";
    let feed = world.upstream().feed().context("a fake feed")?;
    let index = "<feed><file>osgroups.tar.gz</file></feed>";
    world.upstream().answer(&format!("{directory}posture-update.xml"), Raw::ok(index));
    world.sync().await?.success()?;
    world.released(1).await?;
    let other = feed.files.iter().find(|(name, _)| name.as_str() == "osgroupsV2.tar.gz").context("osgroupsV2")?;
    world.upstream().answer(&format!("{directory}osgroups.tar.gz"), Raw::ok(other.1.clone()));
    world.sync().await?.success()?;
    world.released(2).await
}

#[tokio::test]
async fn every_mistake_in_a_configuration_is_told_at_once_with_its_line() -> Result<()> {
    let world = World::builder().stopped().build().await?;
    std::fs::write(
        world.config(),
        "[upstream]\nurl = \"ftp://x\"\n[schedule]\nevery = \"often\"\n[data]\nretain_releases = 0\ndirektory = \"x\"\n",
    )?;
    for verb in ["check-config", "serve", "sync"] {
        let output = world.feed_server([verb]).await?.failed_with(2)?;
        for (line, key) in [(2, "url"), (4, "every"), (6, "retain_releases"), (7, "direktory")] {
            let at = output.stderr.lines().any(|told| told.contains(&format!(":{line}:")) && told.contains(key));
            ensure!(at, "line {line}, {key}: {output}");
        }
    }
    Ok(())
}

fn staged(world: &World) -> Result<usize> {
    Ok(std::fs::read_dir(world.data().join("staging"))?.count())
}
