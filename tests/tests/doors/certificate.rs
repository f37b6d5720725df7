//! The certificate is replaced while connections are open.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use certs::CertificateFacts;
use certs::lab::{Chain, Keys};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tests::world::{DEADLINE, Signal, World, wait_until};

use crate::line::Line;

const ENDS: &str = "posture_feed_server_certificate_not_after_timestamp_seconds";
const WARNING: &str = "posture_feed_warning";

/// Of a lab, valid from yesterday on.
#[allow(clippy::disallowed_methods, reason = "the programs judge it by the clock")]
pub(crate) fn chain(ends_in_hours: i64) -> Result<Chain> {
    let now = Timestamp::now();
    let day = SignedDuration::from_hours(24);
    let until = now.checked_add(SignedDuration::from_hours(ends_in_hours))?;
    Ok(Chain::builder().keys(Keys::Ecdsa).loopback().valid(now.checked_sub(day)?, until).build()?)
}

fn sha256(chain: &Chain) -> Result<String> {
    Ok(CertificateFacts::from_der(&chain.leaf.der)?.sha256)
}

pub(crate) fn write(directory: &Path, chain: &Chain) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("tls.crt"), chain.presented_pem())?;
    Ok(std::fs::write(directory.join("tls.key"), chain.leaf_key_pem())?)
}

/// As Kubernetes does it for secrets, and certbot nearly so: the names that the server has are links through a link, which is
/// replaced by a rename.
fn switch(world: &World, version: &str) -> Result<()> {
    let next = world.directory().join("live.next");
    std::os::unix::fs::symlink(version, &next)?;
    Ok(std::fs::rename(next, world.directory().join("live"))?)
}

/// A server that presents `first` through a link, and clients that trust both.
async fn world(first: &Chain, second: &Chain) -> Result<World> {
    let builder = World::builder().without_upstream().tls().stopped();
    let mut world = builder
        .set("listen", "tls_certificate", "live/tls.crt")
        .set("listen", "tls_key", "live/tls.key")
        .build()
        .await?;
    let ca = world.server_ca().context("it answers by TLS")?;
    std::fs::write(ca, format!("{}{}", first.root.pem, second.root.pem))?;
    write(&world.directory().join("v1"), first)?;
    switch(&world, "v1")?;
    world.start_server().await?;
    Ok(world)
}

/// Whether a request is answered on that very connection.
async fn answers(line: &mut Line) -> Result<bool> {
    let answer = line.get("/api/v1/openapi.json").await?;
    Ok(answer.status == 200 && answer.head.contains("application/json") && answer.body.starts_with(b"{"))
}

async fn presented(world: &World) -> Result<String> {
    Ok(Line::open(world).await?.certificate)
}

async fn warns(world: &World, kind: &str) -> Result<bool> {
    Ok(world.metrics().await?.value(WARNING, &[("kind", kind)]) == Some(1.0))
}

async fn status(world: &World) -> Result<Value> {
    world.feed_server(["status", "--json"]).await?.success()?.json()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_open_ones_go_on() -> Result<()> {
    let (first, second) = (chain(100 * 24)?, chain(20 * 24)?);
    let world = world(&first, &second).await?;
    let mut open = Line::open(&world).await?;
    ensure!(open.certificate == sha256(&first)? && answers(&mut open).await?);
    ensure!(!warns(&world, "server_certificate_expiring").await?);

    // Without any signal: whoever renews need not know of this server.
    write(&world.directory().join("v2"), &second)?;
    switch(&world, "v2")?;
    let renewed = sha256(&second)?;
    let shown = async || presented(&world).await.is_ok_and(|shown| shown == renewed);
    wait_until(DEADLINE, "the new certificate is presented", shown).await?;
    ensure!(answers(&mut open).await?, "the open connection goes on");

    let status = status(&world).await?;
    ensure!(status["server_certificate"]["sha256"] == renewed.as_str(), "{status:#}");
    ensure!(status["server_certificate"]["refused"].is_null(), "{status:#}");
    let ends = CertificateFacts::from_der(&second.leaf.der)?.not_after.as_second();
    #[allow(clippy::cast_precision_loss, reason = "Unix seconds stay far below 2^53")]
    let ends = ends as f64;
    ensure!(world.metrics().await?.value(ENDS, &[]) == Some(ends));
    ensure!(warns(&world, "server_certificate_expiring").await?, "it ends in twenty days");
    let text = world.feed_server(["status"]).await?.success()?.stdout;
    ensure!(text.contains(&renewed) && text.contains("server_certificate_expiring"), "{text}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_presented_changes_nothing_and_is_said_until_it_is_put_right() -> Result<()> {
    let (first, second) = (chain(100 * 24)?, chain(100 * 24)?);
    let world = world(&first, &second).await?;
    let before = sha256(&first)?;

    // The new chain with the old key, as between the writing of two files.
    write(&world.directory().join("v2"), &second)?;
    std::fs::write(world.directory().join("v2/tls.key"), first.leaf_key_pem())?;
    switch(&world, "v2")?;
    world.signal_server(Signal::HUP)?;
    let refused = async || warns(&world, "server_certificate_refused").await.is_ok_and(|warns| warns);
    wait_until(DEADLINE, "the pair is refused", refused).await?;
    ensure!(presented(&world).await? == before);
    let told = status(&world).await?;
    ensure!(told["server_certificate"]["sha256"] == before.as_str(), "{told:#}");
    ensure!(
        told["server_certificate"]["refused"].as_str().is_some_and(|why| why.contains("belong together")),
        "{told:#}"
    );
    let log = std::fs::read_to_string(world.server_log())?;
    ensure!(log.matches("the certificate stays what it was").count() == 1, "{log}");

    // One that has ended is no better.
    write(&world.directory().join("v3"), &chain(-1)?)?;
    switch(&world, "v3")?;
    world.signal_server(Signal::HUP)?;
    let ended = async || {
        let told = status(&world).await.unwrap_or_default();
        told["server_certificate"]["refused"].as_str().is_some_and(|why| why.contains("ended at"))
    };
    wait_until(DEADLINE, "one that has ended is refused", ended).await?;
    ensure!(presented(&world).await? == before);

    write(&world.directory().join("v4"), &second)?;
    switch(&world, "v4")?;
    world.signal_server(Signal::HUP)?;
    let mended = async || warns(&world, "server_certificate_refused").await.is_ok_and(|warns| !warns);
    wait_until(DEADLINE, "it is put right", mended).await?;
    ensure!(presented(&world).await? == sha256(&second)?);
    Ok(())
}

#[tokio::test]
async fn a_hangup_without_tls_ends_nothing() -> Result<()> {
    let mut world = World::builder().without_upstream().build().await?;
    world.signal_server(Signal::HUP)?;
    let told = async || std::fs::read_to_string(world.server_log()).is_ok_and(|log| log.contains("SIGHUP"));
    wait_until(DEADLINE, "the signal is taken note of", told).await?;
    ensure!(world.get("healthz").await?.status() == 200);
    ensure!(world.stop_server().await?.success());
    Ok(())
}
