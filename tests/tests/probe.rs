//! `status --check` of both programs: the lines and exit codes that Nagios and its like take.

use anyhow::{Context as _, Result, ensure};
use tests::lab::Fault;
use tests::world::{DEADLINE, Invocation, Output, World, wait_until};

const OK: i32 = 0;
const WARNING: i32 = 1;
const CRITICAL: i32 = 2;
const UNKNOWN: i32 = 3;

/// What it said, held to the form that monitoring systems read.
async fn probed(invocation: Invocation, code: i32, says: &[&str]) -> Result<Output> {
    let output = invocation.output().await?;
    ensure!(output.code() == Some(code), "not {code}: {output}");
    let first = output.stdout.lines().next().context("a line")?;
    let state = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::try_from(code)?];
    ensure!(first.starts_with("POSTURE FEED") && first.contains(&format!(" {state} - ")), "{first}");
    for part in says {
        ensure!(output.stdout.contains(part), "{part:?} is not said: {output}");
    }
    ensure!(output.stdout.matches('|').count() <= 1, "figures begin once: {first}");
    let figures = first.split_once(" | ").map(|(_, figures)| figures).unwrap_or_default();
    for figure in figures.split_whitespace() {
        let (label, rest) = figure.split_once('=').with_context(|| format!("{figure} is no figure"))?;
        let value = rest.split(';').next().unwrap_or_default().trim_end_matches(['s', 'B']);
        ensure!(!label.is_empty() && value.parse::<u64>().is_ok(), "{figure}");
    }
    // What is wrong has a line of its own, with a sentence.
    let details = output.stdout.lines().skip(1).filter(|line| line.starts_with(state)).count();
    ensure!((code == OK) == (details == 0), "{output}");
    Ok(output)
}

#[tokio::test]
async fn a_mirror_is_told_of_by_each_code() -> Result<()> {
    let mut world = World::builder().headends(1).stopped().build().await?;
    let check = |world: &World| world.invocation(["status", "--check"]);
    probed(check(&world), UNKNOWN, &["no server runs"]).await?;
    for wrong in [&["--no-such"][..], &["--warning", "soon"], &["--critical"]] {
        let output = probed(check(&world).args(wrong), UNKNOWN, &["command line"]).await?;
        ensure!(output.stderr.contains(wrong[0]), "{output}");
    }
    ensure!(!world.data().exists(), "a probe made a data directory");

    world.start_server().await?;
    world.sync().await?.success()?;
    let output = probed(check(&world), OK, &["release 1", "updated ", "age=", "free=", "release=1"]).await?;
    ensure!(output.stdout.contains("s;21600;172800 "), "{output}");
    let json = check(&world).args(["--json"]).output().await?.success()?;
    ensure!(json.stdout.contains("\"state\": \"OK\""), "{json}");

    // Hours go by without a run.
    probed(check(&world).with_clock_off("+7h"), WARNING, &["no success for 7 h", "doctor"]).await?;
    probed(check(&world).with_clock_off("+49h"), CRITICAL, &["no success for 2 days"]).await?;
    probed(check(&world).with_clock_off("+7h").args(["--warning", "8h"]), OK, &[";28800;"]).await?;
    probed(check(&world).with_clock_off("+7h").args(["--critical", "1h"]), CRITICAL, &[]).await?;

    world.upstream().break_with(Fault::NotFound)?;
    world.sync().await?.failed_with(13)?;
    probed(check(&world), WARNING, &["updates fail (http_status)", "404"]).await?;
    world.upstream().mend()?;
    world.sync().await?.success()?;
    probed(check(&world), OK, &[]).await?;

    world.enroll_all().await?;
    probed(check(&world), WARNING, &["1 headends silent", "headends_silent=1;0", "headend list"]).await?;
    world.headend(0).client(["update"]).await?.success()?;
    probed(check(&world), OK, &["1 headend", "headends_current=1", "headends_silent=0;0"]).await?;

    // What ends: a key that signs is gone.
    std::fs::remove_file(world.data().join("keys/online-snapshot.der"))?;
    world.restart_server().await?;
    probed(check(&world), CRITICAL, &["signing key missing", "keys rotate snapshot"]).await?;
    world.stop_server().await?;
    probed(check(&world), UNKNOWN, &["no server runs"]).await.map(drop)
}

#[tokio::test]
async fn what_is_fed_by_hand_is_not_judged_by_runs() -> Result<()> {
    let world = World::builder().without_upstream().build().await?;
    for offset in ["+0h", "+49h"] {
        let check = world.invocation(["status", "--check"]).with_clock_off(offset);
        let output = probed(check, OK, &["fed by hand", "no release yet"]).await?;
        ensure!(!output.stdout.contains("age="), "{output}");
    }
    Ok(())
}

#[tokio::test]
async fn a_headend_is_told_of_by_each_code() -> Result<()> {
    let mut world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    let check = |world: &World| world.headend(0).invocation(["status", "--check"]);
    probed(check(&world), UNKNOWN, &["not enrolled"]).await?;
    probed(check(&world).args(["--no-such"]), UNKNOWN, &["command line"]).await?;
    world.enroll_all().await?;
    probed(check(&world), CRITICAL, &["no release runs"]).await?;
    world.headend(0).client(["update"]).await?.success()?;
    probed(check(&world), OK, &["release 1", "age=", "release=1"]).await?;
    probed(check(&world).with_clock_off("+7h"), WARNING, &["no success for 7 h"]).await?;
    probed(check(&world).with_clock_off("+49h"), CRITICAL, &["no success for 2 days"]).await?;

    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    world.headend(0).client(["update"]).await?.success()?;
    world.headend(0).client(["rollback"]).await?.success()?;
    probed(check(&world), WARNING, &["a release is held back", "feed-client update"]).await?;
    world.headend(0).client(["update"]).await?.success()?;
    probed(check(&world), OK, &["release 2"]).await?;

    world.stop_server().await?;
    let refused = async || world.headend(0).client(["update"]).await.is_ok_and(|output| output.code() == Some(10));
    wait_until(DEADLINE, "nobody answers", refused).await?;
    probed(check(&world), WARNING, &["updates fail (connect)"]).await.map(drop)
}
