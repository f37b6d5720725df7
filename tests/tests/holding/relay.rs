//! On a relay: what its origin releases is not followed, and nothing is imported.

use anyhow::{Context, Result, ensure};
use tests::world::World;

use super::setting::{last_run, newest, refused};

#[tokio::test]
async fn a_relay_that_is_held_follows_no_new_release() -> Result<()> {
    let origin = World::builder().tls().build().await?;
    origin.sync().await?.success()?;
    let root = origin.export_root(&origin.directory().join("root.json")).await?;
    let ca = origin.server_ca().context("it answers by TLS")?;
    let relay = World::builder().following(&origin.server_url()?, &ca, &root).build().await?;
    relay.sync().await?.success()?;
    let refusal = relay.feed_server(["release", "republish", "1"]).await?;
    refused(refusal, 2, &["relay", "its origin", "release hold"])?;
    relay.feed_server(["release", "hold", "--reason", "not in exam week"]).await?.success()?;
    origin.upstream().publish_next()?;
    origin.sync().await?.success()?;
    let held = relay.sync().await?.success()?;
    ensure!(held.stdout.contains("not in exam week"), "{held}");
    ensure!(last_run(&relay).await?.0 == "held" && newest(&relay).await? == 1);
    relay.feed_server(["release", "resume", "--reason", "over"]).await?.success()?;
    relay.sync().await?.success()?;
    ensure!(newest(&relay).await? == 2);
    Ok(())
}

#[tokio::test]
async fn a_relay_that_is_held_imports_nothing() -> Result<()> {
    let origin = World::builder().build().await?;
    origin.sync().await?.success()?;
    let relay = World::builder().relay(&origin.offline_root().await?).build().await?;
    relay.import(&origin.bundle().await?).await?.success()?;
    relay.feed_server(["release", "hold", "--reason", "not in exam week"]).await?.success()?;
    origin.upstream().publish_next()?;
    origin.sync().await?.success()?;
    let next = origin.bundle().await?;
    refused(relay.import(&next).await?, 2, &["not in exam week", "release resume"])?;
    let token = relay.operators_token("station").await?;
    let answer = relay.upload(&next, &token)?;
    ensure!(answer.status == 400 && answer.body["detail"].to_string().contains("release resume"), "{answer:?}");
    ensure!(newest(&relay).await? == 1);
    relay.feed_server(["release", "resume", "--reason", "over"]).await?.success()?;
    relay.import(&next).await?.success()?;
    ensure!(newest(&relay).await? == 2);
    Ok(())
}
