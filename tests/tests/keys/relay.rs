//! Relays and their headends follow an origin whose keys change, over the network and by bundles.

use anyhow::{Context, Result, ensure};
use tests::peers;
use tests::world::World;

use crate::setting::json;

async fn root_version(world: &World, offline: bool) -> Result<u64> {
    let arguments = if offline { &["keys", "export-root", "--offline"][..] } else { &["keys", "export-root"] };
    json(world.feed_server(arguments).await?)?
        .pointer("/signed/version")
        .and_then(serde_json::Value::as_u64)
        .context("a version")
}

async fn release(origin: &World) -> Result<()> {
    origin.upstream().publish_next()?;
    origin.sync().await?.success().map(drop)
}

#[tokio::test]
async fn relays_follow_rotations_of_their_origins_keys() -> Result<()> {
    let mut origin = World::builder().tls().build().await?;
    origin.sync().await?.success()?;
    let root = origin.export_root(&origin.directory().join("online-root.json")).await?;
    let ca = origin.server_ca().context("it answers by TLS")?;
    let following = World::builder().following(&origin.server_url()?, &ca, &root).headends(1).build().await?;
    following.sync().await?.success()?;
    following.enroll_all().await?;
    let first = following.export_root(&following.directory().join("first.json")).await?;
    let fed = World::builder().relay(&origin.offline_root().await?).headends(1).build().await?;
    fed.import(&origin.bundle().await?).await?.success()?;
    fed.enroll_with(0, &fed.offline_root().await?).await?;
    let seen = tempfile::tempdir()?;

    // Three times, once while neither relay looks: each walks all roots that it has missed.
    for (round, rotations) in
        [&["root"][..], &["timestamp", "root"], &["targets", "snapshot", "timestamp"]].iter().enumerate()
    {
        for role in *rotations {
            origin.feed_server(["keys", "rotate", role]).await?.success()?;
        }
        release(&origin).await?;
        let run = following.sync().await?.success()?;
        let import = fed.import(&origin.bundle().await?).await?.success()?;
        for relay in [&following, &fed] {
            ensure!(
                root_version(relay, true).await? == root_version(&origin, true).await?,
                "round {round}: {run} {import}"
            );
            relay.headend(0).client(["update"]).await?.success().with_context(|| format!("round {round}"))?;
            let current = relay.headend(0).current().context("a release runs")?;
            ensure!(current.ends_with((round + 2).to_string()), "round {round}: {}", current.display());
        }
        ensure!(root_version(&following, false).await? == root_version(&origin, false).await?, "round {round}");
        // Who trusts what the relay handed out at first walks there by the relay alone.
        origin.stop_server().await?;
        let url = following.server_url()?.join("repo")?;
        peers::python_tuf(&url, &first, &seen.path().join("goes-on"))?;
        peers::python_tuf(&url, &first, &seen.path().join(format!("begins-{round}")))?;
        origin.start_server().await?;
    }
    // Ends of roots are the origin's: a relay has nothing to renew them with, and says so.
    let refused = following.feed_server(["keys", "renew"]).await?.failed_with(2)?;
    ensure!(refused.stderr.contains("relay"), "{refused}");
    Ok(())
}
