//! The whole way on the real binaries: from an upstream over TLS, through the mirror, to headends and to those who know
//! nothing of us: ISE nodes, python-tuf, curl, zip readers, Prometheus.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bundles::Digest;
use bundles::fake::{Dialect, Edition, Options};
use certs::lab::Chain;
use tests::lab::LabUpstream;
use tests::peers;
use tests::world::{DEADLINE, Signal, World, archive_digests, shows_edition, wait_until};

#[tokio::test]
async fn a_feed_goes_from_upstream_to_headends_and_changes_there() -> Result<()> {
    for dialect in [Dialect::Attributes, Dialect::Elements] {
        let upstream = LabUpstream::builder().options(Options::small()).dialect(dialect);
        let world = World::builder().upstream(upstream).headends(2).build().await?;
        world.enroll_all().await?;
        let status = world.headend(0).client(["status"]).await?.success()?.stdout;
        ensure!(status.contains("No Update since Installation"), "{status}");

        world.sync().await?.success()?;
        for headend in world.headends() {
            headend.client(["update"]).await?.success()?;
            shows_edition(&headend.client(["status"]).await?.success()?.stdout, &Edition::before())?;
        }
        world.upstream().publish(Edition::after())?;
        world.sync().await?.success()?;
        world.released(2).await?;
        for headend in world.headends() {
            headend.client(["update"]).await?.success()?;
            let status = headend.client(["status"]).await?.success()?.stdout;
            shows_edition(&status, &Edition::after())?;
            ensure!(status.contains("was successful"), "{status}");
            let again = headend.client(["update"]).await?.success()?;
            ensure!(again.stdout.contains("up to date"), "{again}");
        }
        shows_edition(&world.feed_server(["status"]).await?.success()?.stdout, &Edition::after())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_running_client_takes_a_new_release_when_it_is_told_to_and_reports() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    let mut running = world.headend(0).start()?;
    let runs = async |release: &str| {
        let ending = format!("releases/{release}");
        let what = format!("the headend runs release {release}");
        wait_until(DEADLINE, &what, async || world.headend(0).current().is_some_and(|path| path.ends_with(&ending)))
            .await
    };
    runs("1").await?;
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    running.signal(Signal::HUP)?;
    runs("2").await?;
    let reported = async || {
        let metrics = world.metrics().await;
        metrics.is_ok_and(|metrics| metrics.value("posture_feed_headends", &[("state", "current")]) == Some(1.0))
    };
    wait_until(DEADLINE, "the headend is known to be current", reported).await?;
    let list = world.feed_server(["headend", "list"]).await?.success()?.stdout;
    ensure!(list.contains("headend-1") && list.contains("current"), "{list}");
    running.signal(Signal::TERM)?;
    let ended = running.end(DEADLINE).await?;
    ensure!(ended.success(), "feed-client run ends with {ended}");
    Ok(())
}

#[tokio::test]
async fn unchanged_content_makes_no_release_and_is_not_fetched_again() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().clear_requests();
    let again = world.sync().await?.success()?;
    ensure!(again.stdout.contains("up to date"), "{again}");
    let requests = world.upstream().requests();
    ensure!(!requests.is_empty() && requests.iter().all(|request| request.status == 304), "{requests:#?}");
    let metrics = world.metrics().await?;
    ensure!(metrics.value("posture_feed_release_serial", &[]) == Some(1.0));
    ensure!(metrics.value("posture_feed_sync_total", &[("result", "unchanged")]) == Some(1.0));
    Ok(())
}

#[tokio::test]
async fn python_tuf_downloads_every_target_of_the_newest_release_from_both_repositories() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    let upstream = world.upstream_digests()?;
    for (repository, flags) in
        [("repo", &["keys", "export-root"][..]), ("offline", &["keys", "export-root", "--offline"])]
    {
        let root = world.directory().join(format!("{repository}-root.json"));
        std::fs::write(&root, world.feed_server(flags).await?.success()?.stdout)?;
        let base = world.server_url()?.join(repository)?;
        let targets = peers::python_tuf(&base, &root, &world.directory().join(repository))?;
        for (name, digest) in &upstream {
            let path = format!("{}-{name}", &digest[..16]);
            ensure!(targets.get(&path) == Some(digest), "{repository}: {name} is not among {targets:#?}");
        }
        // Manifests twice, index, six archives and their payloads.
        ensure!(targets.len() == 2 + 1 + 6 * 2, "{targets:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_vendors_layout_carries_upstreams_exact_bytes() -> Result<()> {
    for dialect in Dialect::ALL {
        let upstream = LabUpstream::builder().options(Options::small()).dialect(dialect);
        let world = World::builder().upstream(upstream).build().await?;
        world.sync().await?.success()?;
        let index = peers::curl(&world.server_url()?.join("web/secure/spa/posture-update.xml")?, None)?;
        let index = String::from_utf8(index)?;
        let base = world.server_url()?.join("web/secure/spa/r/1/")?;
        let upstream = archive_digests(&world.upstream().feed().context("a fake feed")?);
        for (name, digest) in &upstream {
            let locator = base.join(name)?;
            ensure!(index.contains(locator.as_str()), "{locator} is not in\n{index}");
            ensure!(&Digest::of(&peers::curl(&locator, None)?).to_string() == digest, "{name}");
        }
        ensure!(!index.contains(world.upstream().url().host_str().unwrap_or_default()), "{index}");
    }
    Ok(())
}

#[tokio::test]
async fn locators_never_come_from_the_host_header() -> Result<()> {
    let world = World::builder().set("serve", "public_url", "https://feed.example.net:8443").build().await?;
    world.sync().await?.success()?;
    let url = world.server_url()?.join("web/secure/spa/posture-update.xml")?;
    let verifier = certs::PinnedVerifier::new(vec![certs::Anchors::named(certs::DEFAULT_ANCHOR)?].into())?;
    let client = reqwest::Client::builder().tls_backend_preconfigured(certs::client_config(verifier)).build()?;
    let index = client.get(url).header("Host", "evil.example").send().await?.text().await?;
    ensure!(index.contains("https://feed.example.net:8443/web/secure/spa/r/1/") && !index.contains("evil"), "{index}");
    Ok(())
}

#[tokio::test]
async fn every_zip_reader_finds_upstreams_exact_bytes_in_the_offline_zip() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    let upstream = world.upstream_digests()?;
    let offline = world.server_url()?.join("offline/posture-offline.zip")?;
    let served = async || peers::curl(&offline, None).is_ok();
    wait_until(DEADLINE, "the zip is built", served).await?;
    let zip = world.directory().join("posture-offline-1.zip");
    std::fs::write(&zip, peers::curl(&offline, None)?)?;
    let sums = peers::curl(&world.server_url()?.join("offline/posture-offline-1.zip.sha256")?, None)?;
    std::fs::write(world.directory().join("sums.sha256"), sums)?;
    peers::sha256sum_check(&world.directory().join("sums.sha256"))?;
    ensure!(peers::every_zip_reader(&zip)? == upstream, "the readers agree with each other alone");

    let built = world.directory().join("built");
    let arguments = ["bundle", "build", "1", "--ise", "--out", built.to_str().context("UTF-8")?];
    world.feed_server(arguments).await?.success()?;
    let by_hand = std::fs::read(built.join("posture-offline-1.zip"))?;
    ensure!(by_hand == std::fs::read(&zip)?, "the zip that is built by hand is the one that is served");
    peers::sha256sum_check(&built.join("posture-offline-1.zip.sha256"))?;
    Ok(())
}

#[tokio::test]
async fn the_bundle_that_is_built_is_served_and_its_sheet_checks_it_as_printed() -> Result<()> {
    let mut world = World::builder().build().await?;
    world.sync().await?.success()?;
    let built = world.directory().join("stick");
    let out = built.to_str().context("UTF-8")?.to_owned();
    let build = async |world: &World, arguments: &[&str]| -> Result<serde_json::Value> {
        let arguments = [&["bundle", "build", "--json", "--out", &out], arguments].concat();
        Ok(serde_json::from_str(&world.feed_server(arguments).await?.success()?.stdout)?)
    };
    let facts = build(&world, &[]).await?;
    ensure!(facts["serial"] == 1 && facts["has_ended"] == false, "{facts}");
    let zip = built.join("posture-bundle-1.zip");
    ensure!(facts["path"] == zip.to_str().context("UTF-8")?, "{facts}");
    let bytes = std::fs::read(&zip)?;
    ensure!(facts["sha256"] == Digest::of(&bytes).to_string(), "{facts}");
    for name in ["posture-bundle.zip", "posture-bundle-1.zip"] {
        let served = peers::curl(&world.server_url()?.join(&format!("offline/{name}"))?, None)?;
        ensure!(served == bytes, "{name} is the one that is built by hand");
    }
    let inside = peers::every_zip_reader(&zip)?;
    for (name, digest) in inside.iter().filter(|(name, _)| name.starts_with("targets/")) {
        ensure!(name.starts_with(&format!("targets/{digest}.")), "{name} has {digest}");
    }

    let sheet = std::fs::read_to_string(built.join("posture-bundle-1.zip.sheet.txt"))?;
    let commands: Vec<_> = sheet.lines().map(str::trim).filter(|line| line.starts_with("sha256sum ")).collect();
    ensure!(commands.len() == 2, "{sheet}");
    for command in commands {
        let output = std::process::Command::new("sh").args(["-c", command]).current_dir(&built).output()?;
        let printed = String::from_utf8(output.stdout)?;
        let agrees = printed.starts_with(&Digest::of(&bytes).to_string()) || printed.ends_with(": OK\n");
        ensure!(output.status.success() && agrees, "{command}: {printed}");
    }

    // The next release takes the names without a number; this one's bundle stays what it was.
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    world.released(2).await?;
    world.stop_server().await?;
    ensure!(build(&world, &[]).await?["serial"] == 2, "the newest, also where no server runs");
    ensure!(build(&world, &["1"]).await?["sha256"] == facts["sha256"], "the first one's bundle is another one now");
    let left: Vec<_> = std::fs::read_dir(&built)?.map(|it| Ok(it?.file_name())).collect::<Result<_>>()?;
    ensure!(left.len() == 6, "{left:?}");
    Ok(())
}

#[tokio::test]
async fn an_ise_node_never_mixes_two_releases() -> Result<()> {
    let mut world = World::builder().stopped().build().await?;
    let chain = Chain::builder().names(["localhost"]).loopback().build()?;
    std::fs::write(world.directory().join("tls.pem"), chain.presented_pem())?;
    std::fs::write(world.directory().join("tls.key"), chain.leaf_key_pem())?;
    let ca = world.directory().join("ise-ca.pem");
    std::fs::write(&ca, &chain.root.pem)?;
    world.set("listen", "tls_certificate", "tls.pem")?;
    world.set("listen", "tls_key", "tls.key")?;
    world.set("listen", "metrics_address", "127.0.0.1:0")?;
    world.start_server().await?;
    world.sync().await?.success()?;

    let first = archive_digests(&world.upstream().feed().context("a fake feed")?);
    let index = world.server_url()?.join("web/secure/spa/posture-update.xml")?;
    let node = tokio::task::spawn_blocking({
        let (index, ca) = (index.clone(), ca.clone());
        move || peers::IseNode::read_index(&index, &ca)
    });
    let node = node.await??;
    ensure!(node.locators == first.len(), "the index names {} archives", node.locators);

    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    world.released(2).await?;
    let fetched = tokio::task::spawn_blocking(move || node.fetch_archives()).await??;
    ensure!(fetched == first, "all bytes are of the first release: {fetched:#?}");

    let second = archive_digests(&world.upstream().feed().context("a fake feed")?);
    let next = tokio::task::spawn_blocking(move || peers::IseNode::read_index(&index, &ca)?.fetch_archives());
    let next = next.await??;
    ensure!(next == second && next != first, "the next run takes the second release: {next:#?}");
    Ok(())
}

#[tokio::test]
async fn headends_reach_the_mirror_over_tls_with_its_ca_alone() -> Result<()> {
    let mut world = World::builder().headends(1).stopped().build().await?;
    let chain = Chain::builder().names(["localhost"]).loopback().build()?;
    let stranger = Chain::builder().names(["localhost"]).loopback().build()?;
    std::fs::write(world.directory().join("tls.pem"), chain.presented_pem())?;
    std::fs::write(world.directory().join("tls.key"), chain.leaf_key_pem())?;
    world.set("listen", "tls_certificate", "tls.pem")?;
    world.set("listen", "tls_key", "tls.key")?;
    world.set("listen", "metrics_address", "127.0.0.1:0")?;
    world.start_server().await?;
    world.sync().await?.success()?;
    let ca = world.directory().join("mirror-ca.pem");
    let configure = |root: &str| -> Result<()> {
        std::fs::write(&ca, root)?;
        world.headend(0).configure(&format!("[server]\ntrust_anchors = [{ca:?}]\n"))
    };
    configure(&chain.root.pem)?;
    world.enroll(0).await?;
    configure(&stranger.root.pem)?;
    let refused = world.headend(0).client(["update"]).await?.failed_with(12)?;
    ensure!(refused.stderr.contains("tls_untrusted"), "{refused}");
    configure(&chain.root.pem)?;
    world.headend(0).client(["update"]).await?.success()?;
    shows_edition(&world.headend(0).client(["status"]).await?.success()?.stdout, &Edition::before())?;
    Ok(())
}

#[tokio::test]
async fn prometheus_accepts_the_metrics_of_a_server_that_did_everything_once() -> Result<()> {
    let world = World::builder().headends(1).metrics_listener().build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    world.get("nowhere").await?;
    let metrics = world.metrics_text().await?;
    peers::promtool_check(&metrics)?;
    let metrics = world.metrics().await?;
    for reason in bundles::Reason::ALL {
        let counted = metrics.value("posture_feed_sync_total", &[("result", reason.as_str())]);
        ensure!(counted == Some(0.0), "{reason} is not there at 0");
    }
    let edition: BTreeMap<_, _> = Edition::before().versions;
    for (component, version) in edition {
        let labels = [("component", component.to_string()), ("version", version.to_string())];
        let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
        ensure!(metrics.value("posture_feed_component_info", &labels) == Some(1.0), "{component}");
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_neither_syncs_early_nor_forgets() -> Result<()> {
    let mut world = World::builder().on_schedule().build().await?;
    world.released(1).await?;
    let facts = async |world: &World| -> Result<Vec<Option<f64>>> {
        let metrics = world.metrics().await?;
        let names = ["last_success", "last_attempt", "content", "next_run"];
        Ok(names.iter().map(|name| metrics.value(&format!("posture_feed_{name}_timestamp_seconds"), &[])).collect())
    };
    let settled = async || facts(&world).await.is_ok_and(|facts| facts.iter().all(Option::is_some));
    wait_until(DEADLINE, "the first run is over", settled).await?;
    let before = facts(&world).await?;
    let ended = world.stop_server().await?;
    ensure!(ended.success(), "SIGTERM ends the server well, not with {ended}");
    world.upstream().clear_requests();
    world.start_server().await?;
    world.released(1).await?;
    let next_run_is_known = async || facts(&world).await.is_ok_and(|facts| facts[3].is_some());
    wait_until(DEADLINE, "the next run is planned", next_run_is_known).await?;
    let after = facts(&world).await?;
    ensure!(before == after, "{before:?} before the restart, {after:?} after it");
    ensure!(world.upstream().requests().is_empty(), "{:#?}", world.upstream().requests());
    Ok(())
}

#[tokio::test]
async fn while_there_is_no_release_ise_is_asked_to_wait_and_headends_are_told_why() -> Result<()> {
    let world = World::builder().without_upstream().headends(1).build().await?;
    let index = world.get("web/secure/spa/posture-update.xml").await?;
    ensure!(index.status() == 503 && index.headers().contains_key("retry-after"), "{index:?}");
    let problem: serde_json::Value = index.json().await?;
    ensure!(problem["reason"].is_string(), "{problem}");
    world.enroll_all().await?;
    let update = world.headend(0).client(["update"]).await?;
    ensure!(update.code() == Some(13), "there is nothing yet: {update}");
    let ready = world.get("readyz").await?;
    ensure!(ready.status() == 200, "readiness does not hang on upstream: {ready:?}");
    Ok(())
}

/// Real charts of macOS and Linux go through unharmed, and headends open them.
#[tokio::test]
async fn real_charts_go_the_whole_way() -> Result<()> {
    let charts = match tests::shared::charts() {
        Ok(charts) => charts,
        Err(absent) => {
            eprintln!("skipped: {absent}");
            return Ok(());
        }
    };
    let options = Options { charts: charts.clone(), ..Options::small() };
    let world = World::builder().upstream(LabUpstream::builder().options(options)).headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    let current = world.headend(0).current().context("a release runs")?;
    for chart in charts {
        let found = walkdir::WalkDir::new(current.join(chart.component.to_string()))
            .into_iter()
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_str() == Some(chart.member.as_str()));
        let found = found.with_context(|| format!("{} is not in {}", chart.member, current.display()))?;
        ensure!(std::fs::read(found.path())? == chart.first, "{}", chart.member);
    }
    Ok(())
}
