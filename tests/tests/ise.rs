//! ISE deployments, which never report: what is seen of them by what they ask for, and what is typed there.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::peers;
use tests::world::{DEADLINE, World, wait_for, wait_until};

const INDEX: &str = "web/secure/spa/posture-update.xml";

async fn list(world: &World) -> Result<Value> {
    world.feed_server(["ise", "list", "--json"]).await?.success()?.json()
}

/// The one deployment that there is, once `fits` says so: what is done with an answer is seen a moment after it.
async fn deployment(world: &World, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_for(DEADLINE, what, async || {
        let list = list(world).await.ok()?;
        let found = list["deployments"][0].clone();
        fits(&found).then_some(found)
    })
    .await
}

/// curl's exit code for a path, from one of this machine's addresses.
fn ask(world: &World, path: &str, from: &str, with_ca: bool) -> Result<Option<i32>> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--ipv4", "--noproxy", "*", "--output", "/dev/null", "--interface", from]);
    if with_ca {
        curl.arg("--cacert").arg(world.server_ca().context("it answers by TLS")?);
    }
    let url = world.server_url()?.join(path)?;
    Ok(curl.arg(url.as_str()).status().context("curl is missing; run tests/run, which installs it")?.code())
}

async fn counted(world: &World, state: &str) -> Result<f64> {
    let metrics = world.metrics().await?;
    metrics.value("posture_feed_ise_deployments", &[("state", state)]).context("every state is there")
}

#[tokio::test]
async fn a_deployment_is_what_was_seen_of_it() -> Result<()> {
    let mut world = World::builder().tls().build().await?;
    world.sync().await?.success()?;
    ensure!(counted(&world, "silent").await? < 0.5);
    ensure!(ask(&world, INDEX, "127.0.0.1", true)? == Some(0));
    ensure!(ask(&world, INDEX, "127.0.0.7", true)? == Some(0));
    let offered = async || {
        list(&world).await.is_ok_and(|list| list["strangers"].as_array().is_some_and(|strangers| strangers.len() == 2))
    };
    wait_until(DEADLINE, "who asks like ISE is offered", offered).await?;
    world.feed_server(["ise", "add", "campus", "--address", "::ffff:127.0.0.1", "::1"]).await?.success()?;
    let taken = world.feed_server(["ise", "add", "other", "--address", "127.0.0.1"]).await?.failed_with(2)?;
    ensure!(taken.stderr.contains("campus"), "{taken}");
    world.feed_server(["ise", "add", "campus", "--address", "192.0.2.1"]).await?.failed_with(2)?;
    let known = list(&world).await?;
    ensure!(known["strangers"][0]["address"] == "127.0.0.7" && known["strangers"][1].is_null(), "{known}");
    ensure!(known["deployments"][0]["state"] == "silent", "{known}");
    ensure!(known["deployments"][0]["addresses"] == serde_json::json!(["127.0.0.1", "::1"]), "{known}");
    ensure!((counted(&world, "silent").await? - 1.0).abs() < 0.5);

    // It does not trust us: curl says so with an alert, and ISE in Java with another one.
    ensure!(ask(&world, INDEX, "127.0.0.1", false)? == Some(60));
    let refused = deployment(&world, "the alert is seen", |it| it["state"] == "refused").await?;
    ensure!(refused["last_alert"]["alert"] == "unknown_ca", "{refused}");
    let (index, stranger) = (world.server_url()?.join(INDEX)?, world.directory().join("stranger.pem"));
    world.upstream().write_ca(&stranger)?;
    let (asked, trusting) = (index.clone(), stranger.clone());
    let in_java = tokio::task::spawn_blocking(move || peers::IseNode::read_index(&asked, &trusting)).await?;
    ensure!(in_java.is_err(), "Java trusts a stranger");
    let more = deployment(&world, "Java's alert is seen", |it| it["alerts"].as_u64() > Some(1)).await?;
    ensure!(more["state"] == "refused", "{more}");
    let shown = world.feed_server(["ise", "list"]).await?.success()?.stdout;
    ensure!(shown.contains("does not trust our CA"), "{shown}");
    ensure!((counted(&world, "refused").await? - 1.0).abs() < 0.5);

    // It does, and fetches the index, and then the rest.
    let (asked, ca) = (index.clone(), world.server_ca().context("it answers by TLS")?);
    let node = tokio::task::spawn_blocking(move || peers::IseNode::read_index(&asked, &ca)).await??;
    let archives = node.locators;
    let begun = deployment(&world, "the index is fetched", |it| it["state"] == "fetched").await?;
    ensure!(begun["release"] == 1 && begun["lacking"].as_array().is_some_and(|it| it.len() == archives), "{begun}");
    tokio::task::spawn_blocking(move || node.fetch_archives()).await??;
    let done = deployment(&world, "all archives are fetched", |it| it["lacking"] == serde_json::json!([])).await?;
    ensure!(done["fetched"].as_array().is_some_and(|it| it.len() == archives), "{done}");
    ask(&world, "web/secure/spa/posture-more.xml", "127.0.0.1", true)?;
    let looked = |it: &Value| it["missing"] == serde_json::json!(["/web/secure/spa/posture-more.xml"]);
    deployment(&world, "what it asked for in vain is seen", looked).await?;

    // A restart forgets nothing of it.
    world.restart_server().await?;
    let after = list(&world).await?["deployments"][0].clone();
    ensure!(after["release"] == 1 && after["lacking"] == serde_json::json!([]) && looked(&after), "{after}");
    ensure!(after["alerts"] == done["alerts"] && after["state"] == "fetched", "{after}");

    // The next release's index, and nothing else: an hour later that is partial.
    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    world.released(2).await?;
    ensure!(ask(&world, INDEX, "127.0.0.1", true)? == Some(0));
    deployment(&world, "the next index is fetched", |it| it["release"] == 2).await?;
    world.stop_server().await?;
    world.clock_off("+2h");
    world.start_server().await?;
    let partial = list(&world).await?["deployments"][0].clone();
    ensure!(partial["state"] == "partial", "{partial}");
    ensure!((counted(&world, "partial").await? - 1.0).abs() < 0.5);
    let shown = world.feed_server(["ise", "list"]).await?.success()?.stdout;
    ensure!(shown.contains("has not fetched") && shown.contains("avchart-win.tar.gz"), "{shown}");

    world.feed_server(["ise", "remove", "campus"]).await?.success()?;
    world.feed_server(["ise", "remove", "campus"]).await?.failed_with(13)?;
    ensure!(list(&world).await?["deployments"] == serde_json::json!([]));
    let trail = world.feed_server(["audit", "--after", "0", "--json"]).await?.success()?.stdout;
    ensure!(trail.contains("\"ise_add\"") && trail.contains("\"ise_remove\""), "{trail}");
    Ok(())
}

#[tokio::test]
async fn the_guide_says_what_is_typed_in_ise() -> Result<()> {
    let mut world = World::builder().tls().build().await?;
    world.sync().await?.success()?;
    let unset = world.feed_server(["ise", "guide"]).await?.success()?.stdout;
    let url = world.server_url()?.join(INDEX)?;
    ensure!(unset.contains(url.as_str()) && unset.contains("set [serve] public_url"), "{unset}");
    world.stop_server().await?;
    world.set("serve", "public_url", "https://feed.example.net:8443")?;
    world.start_server().await?;
    let guide = world.feed_server(["ise", "guide"]).await?.success()?.stdout;
    let ca = world.server_ca().context("it answers by TLS")?;
    let openssl =
        Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&ca).output()?;
    let fingerprint = String::from_utf8(openssl.stdout)?;
    let fingerprint = fingerprint.trim().split_once('=').context("a fingerprint")?.1.replace(':', "").to_lowercase();
    for part in [
        "https://feed.example.net:8443/web/secure/spa/posture-update.xml",
        &fingerprint,
        "Trust for authentication of Cisco Services",
        "ise-psc.log",
        "Set to Default",
        "280052.0.0.0",
        "Cisco supported OS version",
        "default policies",
    ] {
        ensure!(guide.contains(part), "{part} is not in {guide}");
    }
    ensure!(guide.lines().any(|line| line.starts_with("Proxy bypass") && line.contains("feed.example.net")), "{guide}");
    let json: Value = world.feed_server(["ise", "guide", "--json"]).await?.success()?.json()?;
    ensure!(json["certificate"]["sha256"] == fingerprint.as_str() && json["public_url_is_set"] == true, "{json}");
    Ok(())
}

#[tokio::test]
async fn what_a_deployment_has_already_is_not_lacking() -> Result<()> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.feed_server(["ise", "add", "campus", "--address", "127.0.0.1", "--release", "9"]).await?.failed_with(13)?;
    world.feed_server(["ise", "add", "campus", "--address", "127.0.0.1", "--release", "1"]).await?.success()?;
    peers::curl(&world.server_url()?.join(INDEX)?, None)?;
    let seen = deployment(&world, "the index is fetched", |it| it["release"] == 1).await?;
    ensure!(seen["lacking"] == serde_json::json!([]) && seen["state"] == "fetched", "{seen}");
    Ok(())
}
