//! Bad input and accidents upstream: each gives its reason, its sentence and its exit code, changes nothing, leaves what
//! is served as it was, and the next run after it heals.

use anyhow::{Context, Result, ensure};
use bundles::Reason;
use bundles::fake::Edition;
use tests::lab::{Fault, Raw};
use tests::world::{World, shows_edition};

/// What each accident must be called. `None` is no accident: a locator that climbs is resolved as URLs are, and only its
/// last part names a file.
fn reason_of(fault: Fault) -> Option<Reason> {
    match fault {
        Fault::Away => Some(Reason::Connect),
        Fault::NotFound | Fault::ServerError => Some(Reason::HttpStatus),
        Fault::RateLimited => Some(Reason::RateLimited),
        Fault::HtmlPage => Some(Reason::NotAFeed),
        Fault::Truncated => Some(Reason::Truncated),
        Fault::WrongChecksum => Some(Reason::DigestMismatch),
        Fault::Stalled => Some(Reason::Timeout),
        Fault::Slow => None,
        Fault::TenGigabytes => Some(Reason::TooLarge),
        Fault::GzipBomb => Some(Reason::TooLarge),
        Fault::TenThousandEntries => Some(Reason::TooLarge),
        Fault::UndefinedEntity | Fault::BillionLaughs => Some(Reason::NotAFeed),
        Fault::TraversalLocator => None,
        Fault::ForeignHost => Some(Reason::HostNotAllowed),
    }
}

/// Takes a minute of silence to be noticed: tried where time is an argument, not here.
const NEEDS_PATIENCE: [Fault; 1] = [Fault::Stalled];

#[tokio::test]
async fn every_accident_has_its_reason_changes_nothing_and_heals() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    let served = world.get("repo/metadata/timestamp.json").await?.bytes().await?;
    let index = world.get("web/secure/spa/posture-update.xml").await?.bytes().await?;
    // Something is new from here on, so that every run has to fetch.
    world.upstream().publish(Edition::after())?;
    let success = world.metrics().await?.value("posture_feed_last_success_timestamp_seconds", &[]);

    let faults = Fault::ALL.iter().copied().filter(|fault| !NEEDS_PATIENCE.contains(fault));
    for (fault, reason) in faults.filter_map(|fault| Some((fault, reason_of(fault)?))) {
        let counted = async || -> Result<Option<f64>> {
            Ok(world.metrics().await?.value("posture_feed_sync_total", &[("result", reason.as_str())]))
        };
        let before = counted().await?;
        world.upstream().break_with(fault)?;
        let output = world.sync().await?;
        world.upstream().mend()?;
        ensure!(output.code() == Some(i32::from(reason.exit_code())), "{fault} is {reason}, but: {output}");
        ensure!(output.stderr.contains(&format!("({reason})")), "{fault}: the word {reason} is missing in {output}");
        let status = world.feed_server(["status"]).await?.success()?.stdout;
        ensure!(status.contains(reason.as_str()), "{fault}: {status}");
        shows_edition(&status, &Edition::before())?;

        let (after, metrics) = (counted().await?, world.metrics().await?);
        // A retry on schedule may have met the same accident.
        ensure!(after > before, "{fault}: {reason} was counted {before:?} before and {after:?} after");
        ensure!(
            metrics.value("posture_feed_last_attempt_result", &[("result", reason.as_str())]) == Some(1.0),
            "{fault}"
        );
        ensure!(metrics.value("posture_feed_last_success_timestamp_seconds", &[]) == success, "{fault}");
        ensure!(world.get("repo/metadata/timestamp.json").await?.bytes().await? == served, "{fault}: served");
        ensure!(world.get("web/secure/spa/posture-update.xml").await?.bytes().await? == index, "{fault}: served");
        ensure!(staged(&world)? == 0, "{fault} leaves files in staging");
        world.headend(0).client(["update"]).await?.success()?;
    }
    world.sync().await?.success()?;
    world.released(2).await?;
    world.headend(0).client(["update"]).await?.success()?;
    shows_edition(&world.headend(0).client(["status"]).await?.success()?.stdout, &Edition::after())
}

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
