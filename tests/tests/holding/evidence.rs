//! What is known of a release, to be filed.

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use serde_json::Value;
use tests::world::{World, archive_digests};

use super::setting::refused;

#[tokio::test]
async fn evidence_says_where_a_release_came_from_and_who_runs_it() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    let first = archive_digests(&world.upstream().feed().context("a fake feed")?);
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    world.feed_server(["release", "republish", "1", "--reason", "297 is bad"]).await?.success()?;

    let evidence = world.feed_server(["release", "evidence", "3"]).await?.success()?.stdout;
    let source = world.upstream().url().to_string();
    for part in [
        "the content of release 1",
        &source,
        "TLS to localhost",
        "by operator",
        "release_republish by user",
        "297 is bad",
        "Chain of localhost",
        "posture-update.xml",
        "by their last reports: 0",
    ] {
        ensure!(evidence.contains(part), "{part} is not in {evidence}");
    }
    for (name, digest) in first {
        ensure!(evidence.lines().any(|line| line.contains(&name) && line.contains(&digest)), "{name}: {evidence}");
    }
    let second: Value = world.feed_server(["release", "evidence", "2", "--json"]).await?.success()?.json()?;
    ensure!(second["headends"][0]["headend"] == "headend-1", "{second}");
    ensure!(second["run"]["serial"] == 2 && second["acts"][0]["act"] == "sync", "{second}");
    refused(world.feed_server(["release", "evidence", "99"]).await?, 13, &["no release 99"])
}
