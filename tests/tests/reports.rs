//! Headends' reports: many at once, on disk before anyone is told so, and what a disk that is full does to them.

use anyhow::{Result, ensure};
use bundles::report::Report;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;
use tests::mounts::{Mount, fill};
use tests::world::{Fleet, World, running};

/// Every headend reports at once; what each is answered with.
async fn all_report(fleet: &Fleet, report: &Report) -> Result<Vec<(StatusCode, String)>> {
    let answer = async |number| {
        let response = fleet.report(number, report).await?;
        Ok((response.status(), response.text().await?))
    };
    join_all((0..fleet.members.len()).map(answer)).await.into_iter().collect()
}

#[tokio::test]
async fn a_burst_of_reports_outlives_a_kill_right_after_the_last_answer() -> Result<()> {
    let mut world = World::builder().without_upstream().build().await?;
    let fleet = world.fleet(300).await?;
    let (one, two) = (running(1)?, running(2)?);
    // Each headend says two things, the second as soon as the first is acknowledged, so that both are in some batch beside
    // others' first ones.
    let report = async |number| {
        let statuses = [fleet.report(number, &one).await?.status(), fleet.report(number, &two).await?.status()];
        anyhow::Ok(statuses)
    };
    let answers = join_all((0..fleet.members.len()).map(report)).await;
    world.kill_server().await?;
    for (number, statuses) in answers.into_iter().enumerate() {
        let statuses = statuses?;
        ensure!(statuses == [StatusCode::NO_CONTENT; 2], "headend {number} was told {statuses:?}");
    }
    world.start_server().await?;
    let known = fleet.known().await?;
    ensure!(known == vec![Some(2); 300], "the second report of each is the one that counts: {known:?}");
    Ok(())
}

#[tokio::test]
async fn nobody_is_told_that_a_report_is_kept_before_it_is() -> Result<()> {
    let mut world = World::builder().without_upstream().build().await?;
    let fleet = world.fleet(3).await?;
    let mut before = Some(1);
    ensure!(all_report(&fleet, &running(1)?).await?.iter().all(|(status, _)| *status == StatusCode::NO_CONTENT));
    for (point, serial, is_kept) in [("report.gathered", 2, false), ("report.kept", 3, true)] {
        world.stop_server().await?;
        world.crash_at(point);
        world.start_server().await?;
        let answer = fleet.report(0, &running(serial)?).await;
        ensure!(answer.is_err(), "at {point}, a report was answered: {answer:?}");
        let status = world.server_ended().await?;
        ensure!(status.code().is_none(), "{point} is never come by: the server ended with {status}");
        world.crash_nowhere();
        world.start_server().await?;
        let expected = if is_kept { Some(serial) } else { before };
        let known = fleet.known().await?;
        ensure!(known == [expected, Some(1), Some(1)], "after a kill at {point}: {known:?}");
        before = expected;
    }
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_told_to_each_that_it_concerns_and_room_heals_it() -> Result<()> {
    let mut world = World::builder().without_upstream().stopped().build().await?;
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=24m", "none"], &world.data())?;
    world.start_server().await?;
    let fleet = world.fleet(200).await?;
    let ballast = world.data().join("ballast");
    fill(&ballast)?;

    // Larger than what the catalog holds in reserve, by far.
    let mut long = running(1)?;
    let names = (0..250).map(|number| format!("other-{number}-{}", "x".repeat(40)));
    long.components = names.map(|name| Ok((name.parse()?, "1.0".parse()?))).collect::<Result<_>>()?;
    let answers = all_report(&fleet, &long).await?;
    let refused = answers.iter().filter(|(status, _)| *status != StatusCode::NO_CONTENT).count();
    ensure!(refused > 0, "a full disk takes 200 reports of {} bytes", serde_json::to_vec(&long)?.len());
    let known = fleet.known().await?;
    for ((status, body), known) in answers.iter().zip(known) {
        if *status == StatusCode::NO_CONTENT {
            ensure!(known == Some(1), "what was acknowledged is kept");
            continue;
        }
        let problem: Value = serde_json::from_str(body)?;
        ensure!(*status == StatusCode::INTERNAL_SERVER_ERROR && problem["reason"] == "storage", "{status} {problem}");
        ensure!(known.is_none(), "what was refused is not kept");
    }

    std::fs::remove_file(ballast)?;
    let answers = all_report(&fleet, &running(2)?).await?;
    ensure!(answers.iter().all(|(status, _)| *status == StatusCode::NO_CONTENT), "{answers:?}");
    ensure!(fleet.known().await? == vec![Some(2); 200]);
    world.stop_server().await?;
    Ok(())
}
