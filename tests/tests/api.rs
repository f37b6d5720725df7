//! The API is as its description says, by the word of somebody who did not write it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::peers;
use tests::world::World;

/// What is asked of it takes well under a minute; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::test]
async fn schemathesis_finds_every_answer_described() -> Result<()> {
    let mut world = World::builder().without_upstream().build().await?;
    world.feed_server(["headend", "add", "vpn-gw-1"]).await?.success()?;
    let file = world.directory().join("schemathesis.token");
    let add = ["token", "add", "schemathesis", "--scope", "admin", "--token-file", file.to_str().context("UTF-8")?];
    world.feed_server(add).await?.success()?;
    let token = std::fs::read_to_string(&file)?;
    let url = world.server_url()?.join("api/v1/openapi.json")?;
    peers::schemathesis(&url, token.trim(), world.directory(), PATIENCE).await?;
    // Whatever it sent, the server is as sound as before.
    world.feed_server(["status"]).await?.success()?;
    world.stop_server().await?;
    Ok(())
}
