//! Who knows nothing of increments gets what was signed, whatever is prepared.

use anyhow::{Context, Result, ensure};
use bundles::Digest;
use tests::peers::{self, IseNode};
use tests::world::{DEADLINE, World, archive_digests, wait_until};

use super::{Repository, two_releases};

async fn increments_sent(world: &World) -> Result<f64> {
    let sent = world.metrics().await?.value("posture_feed_sent_bytes_total", &[("encoding", "dcz")]);
    sent.context("it is counted from the start")
}

#[tokio::test]
async fn who_knows_no_increments_gets_what_was_signed() -> Result<()> {
    let world = World::builder().build().await?;
    two_releases(&world).await?;
    let before = increments_sent(&world).await?;

    let payloads = Repository::now(&world)?.payloads()?;
    for (path, sha256) in &payloads {
        let url = world.server_url()?.join(path)?;
        ensure!(Digest::of(&peers::curl(&url, None)?) == *sha256, "{path}");
    }
    let root = world.export_root(&world.directory().join("root.json")).await?;
    let base = world.server_url()?.join("repo")?;
    let targets = tokio::task::spawn_blocking(move || {
        let scratch = tempfile::tempdir()?;
        peers::python_tuf(&base, &root, &scratch.path().join("client"))
    });
    let targets = targets.await??;
    for (_, sha256) in &payloads {
        ensure!(targets.values().any(|found| *found == sha256.to_string()), "python-tuf gets each payload");
    }
    ensure!(increments_sent(&world).await? == before, "nobody of them asked for any");
    Ok(())
}

/// An ISE node's Java speaks TLS only.
#[tokio::test]
async fn an_ise_node_gets_the_vendors_bytes() -> Result<()> {
    let world = World::builder().tls().build().await?;
    for serial in [1, 2] {
        if serial > 1 {
            world.upstream().publish_next()?;
        }
        world.sync().await?.success()?;
        world.released(serial).await?;
    }
    let index = world.server_url()?.join("web/secure/spa/posture-update.xml")?;
    // gzip is prepared last.
    wait_until(DEADLINE, "the index is there in other forms", async || {
        let asked =
            async || anyhow::Ok(world.http()?.get(index.clone()).header("accept-encoding", "gzip").send().await?);
        asked()
            .await
            .is_ok_and(|answer| answer.headers().get("content-encoding").is_some_and(|coding| coding == "gzip"))
    })
    .await?;
    let ca = world.server_ca().context("it answers by TLS")?;
    let node = tokio::task::spawn_blocking(move || IseNode::read_index(&index, &ca)?.fetch_archives());
    ensure!(node.await?? == archive_digests(&world.upstream().feed().context("a fake feed")?));
    Ok(())
}
