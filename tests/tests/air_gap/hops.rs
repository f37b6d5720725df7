//! Three hops: origin → bundle → relay A → bundle → relay B, with headends and an ISE node behind it.

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use certs::lab::Chain;
use tests::peers::{self, IseNode};
use tests::world::{World, archive_digests, shows_edition};

use crate::setting::{digest, fetched, nothing_is_left, offline_targets, origin, published, refused, relay};

/// The far end: a relay over TLS, since ISE takes nothing else, and its CA.
async fn far_end(root: &str) -> Result<(World, std::path::PathBuf)> {
    let mut world = relay(root).headends(2).stopped().build().await?;
    let chain = Chain::builder().names(["localhost"]).loopback().build()?;
    std::fs::write(world.directory().join("tls.pem"), chain.presented_pem())?;
    std::fs::write(world.directory().join("tls.key"), chain.leaf_key_pem())?;
    let ca = world.directory().join("relay-ca.pem");
    std::fs::write(&ca, &chain.root.pem)?;
    world.set("listen", "tls_certificate", "tls.pem")?;
    world.set("listen", "tls_key", "tls.key")?;
    world.set("listen", "metrics_address", "127.0.0.1:0")?;
    world.headend(0).configure(&format!("[server]\ntrust_anchors = [{ca:?}]\n"))?;
    world.start_server().await?;
    Ok((world, ca))
}

#[tokio::test]
async fn releases_go_over_three_hops_to_headends_and_to_ise() -> Result<()> {
    let (origin, root) = origin().await?;
    let a = relay(&root).build().await?;
    let (b, ca) = far_end(&root).await?;
    b.headend(1).enroll_for_imports(&root).await?;

    for (serial, edition) in [(1, Edition::before()), (2, Edition::after())] {
        if serial > 1 {
            origin.upstream().publish(edition.clone())?;
            origin.sync().await?.success()?;
        }
        origin.released(serial).await?;
        let first = origin.bundle().await?;
        let imported = a.import(&first).await?.success()?;
        ensure!(imported.stdout.contains(&serial.to_string()), "{imported}");
        let again = a.import(&first).await?.success()?;
        ensure!(again.stdout.to_lowercase().contains("already up to date"), "{again}");
        let second = a.bundle().await?;
        b.import(&second).await?.success()?;
        if serial == 1 {
            // Which repository a root is for shows in what the server has.
            b.enroll_with(0, &root).await?;
        }
        let third = b.bundle().await?;
        for built in [&second, &third] {
            ensure!(built.file_name() == first.file_name() && digest(built)? == digest(&first)?, "{}", built.display());
        }
        let ise = origin.build_zip(&["--ise"]).await?;
        for relay in [&a, &b] {
            let zip = relay.build_zip(&["--ise"]).await?;
            ensure!(digest(&zip)? == digest(&ise)?, "{} is another zip for ISE", zip.display());
            nothing_is_left(relay)?;
        }

        // What A serves is what the origin signed, to a client that knows neither.
        ensure!(offline_targets(&a, &root)? == offline_targets(&origin, &root)?, "release {serial}");
        let served = fetched(&a, "offline/posture-bundle.zip")?;
        ensure!(served == std::fs::read(&first)?, "A serves the bundle that it got");

        // B's headends: one polls, to the other the bundle is carried.
        b.headend(0).client(["update"]).await?.success()?;
        b.headend(1).import(&third).await?.success()?;
        for headend in b.headends() {
            shows_edition(&headend.client(["status"]).await?.success()?.stdout, &edition)?;
        }
        shows_edition(&b.feed_server(["status"]).await?.success()?.stdout, &edition)?;

        // And an ISE node behind B gets upstream's exact bytes.
        let index = b.server_url()?.join("web/secure/spa/posture-update.xml")?;
        let ca = ca.clone();
        let node = tokio::task::spawn_blocking(move || IseNode::read_index(&index, &ca)?.fetch_archives());
        let upstream = archive_digests(&origin.upstream().feed().context("a fake feed")?);
        ensure!(node.await?? == upstream, "the ISE node gets other bytes than upstream has");
        ensure!(peers::every_zip_reader(&ise)? == origin.upstream_digests()?);
    }
    let list = b.feed_server(["headend", "list"]).await?.success()?.stdout;
    ensure!(list.contains("headend-1") && list.contains("current"), "{list}");
    Ok(())
}

#[tokio::test]
async fn a_lost_bundle_is_made_good_by_the_next_and_a_late_one_changes_nothing() -> Result<()> {
    let (origin, root) = origin().await?;
    let relay = relay(&root).headends(1).build().await?;
    relay.headend(0).enroll_for_imports(&root).await?;
    let first = origin.bundle().await?;
    origin.upstream().publish(Edition::after())?;
    origin.sync().await?.success()?;
    origin.upstream().publish(Edition::after().next())?;
    origin.sync().await?.success()?;
    let third = origin.bundle().await?;
    relay.import(&third).await?.success()?;
    relay.headend(0).import(&third).await?.success()?;
    let before = published(&relay)?;
    for late in [relay.import(&first).await?, relay.headend(0).import(&first).await?] {
        refused(&late.failed_with(12)?, &["rollback"])?;
    }
    ensure!(published(&relay)? == before, "what is served is unchanged");
    nothing_is_left(&relay)?;
    ensure!(relay.headend(0).current().is_some_and(|path| path.ends_with("releases/3")));
    shows_edition(&relay.feed_server(["status"]).await?.success()?.stdout, &Edition::after().next())
}
