//! A relay's disk dies: it has no numbers of its own to lose, and goes on with its origin's.

use anyhow::{Context, Result, ensure};
use tests::world::World;

use crate::origin::{backup, serial, text, the_disk_dies};

#[tokio::test]
async fn a_relay_goes_on_where_its_backup_was_and_then_where_its_origin_is() -> Result<()> {
    let origin = World::builder().tls().build().await?;
    origin.sync().await?.success()?;
    let root = origin.export_root(&origin.directory().join("online-root.json")).await?;
    let ca = origin.server_ca().context("it answers by TLS")?;
    let mut relay = World::builder().following(&origin.server_url()?, &ca, &root).headends(1).build().await?;
    relay.sync().await?.success()?;
    relay.enroll_all().await?;
    relay.headend(0).client(["update"]).await?.success()?;
    let file = backup(&relay, "relay.tar").await?;
    for _ in 0..2 {
        origin.upstream().publish_next()?;
        origin.sync().await?.success()?;
        relay.sync().await?.success()?;
    }
    relay.headend(0).client(["update"]).await?.success()?;

    relay.stop_server().await?;
    the_disk_dies(&relay)?;
    relay.feed_server(["restore", text(&file)?]).await?.success()?;
    ensure!(!relay.data().join("keys").exists(), "a relay has no keys");
    relay.start_server().await?;
    ensure!(serial(&relay).await? == 1, "its origin gives numbers");
    relay.headend(0).client(["update"]).await?.failed_with(12)?;
    relay.sync().await?.success()?;
    ensure!(serial(&relay).await? == 3);
    relay.headend(0).client(["update"]).await?.success()?;

    // The numbers of a restored origin are far above; a relay takes them as any other.
    let mut origin = origin;
    let file = backup(&origin, "origin.tar").await?;
    origin.stop_server().await?;
    the_disk_dies(&origin)?;
    origin.feed_server(["restore", text(&file)?]).await?.success()?;
    origin.start_server().await?;
    relay.sync().await?.success()?;
    ensure!(serial(&relay).await? == serial(&origin).await?);
    relay.headend(0).client(["update"]).await?.success().map(drop)
}
