//! Upstream asks to be left alone: what an operator sees of it, and can do about it.

use anyhow::{Context, Result, ensure};
use bundles::fake::Options;
use serde_json::Value;
use tests::lab::{Fault, LabUpstream, Raw};
use tests::peers::Squid;
use tests::world::World;

const UNTIL: &str = "posture_feed_cooldown_until_timestamp_seconds";

/// `Retry-After` of [`Fault::RateLimited`], seconds.
const ASKED: f64 = 120.0;

async fn status(world: &World) -> Result<Value> {
    Ok(serde_json::from_str(&world.feed_server(["status", "--json"]).await?.success()?.stdout)?)
}

#[tokio::test]
async fn a_cooldown_is_shown_survives_a_restart_and_can_be_overridden() -> Result<()> {
    let mut world = World::builder().build().await?;
    world.sync().await?.success()?;
    let success = world.metrics().await?.value("posture_feed_last_success_timestamp_seconds", &[]);
    ensure!(world.metrics().await?.value(UNTIL, &[]).is_none(), "absent until there is one");
    ensure!(status(&world).await?["cooldowns"] == Value::Array(Vec::new()));

    world.upstream().break_with(Fault::RateLimited)?;
    world.upstream().clear_requests();
    let refused = world.sync().await?.failed_with(13)?;
    ensure!(refused.stderr.contains("left alone until") && refused.stderr.contains("(rate_limited)"), "{refused}");
    ensure!(world.upstream().requests().len() == 1, "{:?}", world.upstream().requests());

    for restart in [false, true] {
        if restart {
            world.stop_server().await?;
            world.start_server().await?;
        }
        let held = world.sync().await?.failed_with(13)?;
        for part in ["(cooldown)", "--ignore-cooldown", "status 429", " from now"] {
            ensure!(held.stderr.contains(part), "{part}: {held}");
        }
        let text = world.feed_server(["status"]).await?.success()?.stdout;
        let line = text.lines().find(|line| line.starts_with("Cool-down")).context("a line about it")?;
        let url = world.upstream().url();
        ensure!(line.contains(url.as_str()) && line.contains("--ignore-cooldown"), "{line}");
        let shown = status(&world).await?;
        let cooldown = &shown["cooldowns"][0];
        ensure!(cooldown["url"] == url.as_str() && cooldown["status"] == 429, "{cooldown}");
        let until = world.metrics().await?.value(UNTIL, &[]).context("a metric of it")?;
        let last = world.metrics().await?.value("posture_feed_last_attempt_timestamp_seconds", &[]);
        ensure!(last.is_some_and(|last| until > last - 1.0 && until <= last + ASKED), "{until} after {last:?}");
    }
    ensure!(world.upstream().requests().len() == 1, "nobody asked upstream: {:?}", world.upstream().requests());
    let metrics = world.metrics().await?;
    ensure!(metrics.value("posture_feed_last_success_timestamp_seconds", &[]) == success);
    ensure!(metrics.value("posture_feed_last_attempt_result", &[("result", "cooldown")]) == Some(1.0));

    world.upstream().mend()?;
    world.sync_with(&["--ignore-cooldown"]).await?.success()?;
    ensure!(world.metrics().await?.value(UNTIL, &[]).is_none());
    world.sync().await?.success()?;
    Ok(())
}

#[tokio::test]
async fn a_cooldown_belongs_to_the_url_and_the_proxy_and_ends_with_either() -> Result<()> {
    let mut world = World::builder().build().await?;
    let path = world.upstream().url().path().to_owned();
    let forbidden = || Raw { status: 403, ..Raw::ok("Access Denied. Reference #18.") };
    let cooldowns = async |world: &World| anyhow::Ok(status(world).await?["cooldowns"].clone());

    // 403 without a word on how long, and then 503 with one.
    world.upstream().answer(&path, forbidden());
    let refused = world.sync().await?.failed_with(13)?;
    ensure!(refused.stderr.contains("(http_status)") && refused.stderr.contains("left alone until"), "{refused}");
    world.upstream().restore(&path);
    world.sync().await?.failed_with(13)?;
    ensure!(cooldowns(&world).await?[0]["proxy"].is_null(), "{}", cooldowns(&world).await?);

    let squid = Squid::builder().start().await?;
    world.set("upstream.proxy", "url", format!("http://{}", squid.address()))?;
    world.restart_server().await?;
    world.sync().await?.success()?;
    ensure!(cooldowns(&world).await? == Value::Array(Vec::new()), "it was the direct way's");

    let later = Raw { status: 503, headers: vec![("Retry-After".to_owned(), "7200".to_owned())], ..forbidden() };
    world.upstream().answer(&path, later);
    world.sync().await?.failed_with(13)?;
    world.upstream().restore(&path);
    let held = world.sync().await?.failed_with(13)?;
    ensure!(held.stderr.contains("(cooldown)") && held.stderr.contains("asked to wait 2 h"), "{held}");
    let shown = &cooldowns(&world).await?[0];
    ensure!(shown["proxy"] == format!("http://{}", squid.address()) && shown["status"] == 503, "{shown}");

    let other = LabUpstream::builder().options(Options::small()).chain(world.upstream().chain().clone()).start()?;
    let first = world.upstream().url();
    world.set("upstream", "url", other.url().as_str())?;
    world.restart_server().await?;
    world.sync().await?.success()?;
    ensure!(cooldowns(&world).await? == Value::Array(Vec::new()), "it was the first URL's");
    world.set("upstream", "url", first.as_str())?;
    world.restart_server().await?;
    world.sync().await?.success()?;
    Ok(())
}

#[tokio::test]
async fn a_fallback_url_serves_where_the_first_is_away() -> Result<()> {
    let mut world = World::builder().stopped().build().await?;
    let other = LabUpstream::builder().options(Options::small()).chain(world.upstream().chain().clone()).start()?;
    world.set("upstream", "fallback_urls", vec![other.url().as_str()])?;
    world.start_server().await?;
    world.upstream().break_with(Fault::Away)?;
    world.sync().await?.success()?;
    let run = &status(&world).await?["runs"][0];
    ensure!(run["source_url"] == other.url().as_str(), "{run}");

    other.clear_requests();
    world.sync().await?.success()?;
    ensure!(other.requests().iter().all(|request| request.status == 304), "{:?}", other.requests());

    other.break_with(Fault::ServerError)?;
    let failed = world.sync().await?.failed_with(10)?;
    ensure!(failed.stderr.contains(other.url().as_str()) && failed.stderr.contains("(http_status)"), "{failed}");
    ensure!(failed.stderr.contains("(connect)"), "{failed}");
    Ok(())
}
