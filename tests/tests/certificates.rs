//! Headends that show a certificate instead of a token: the real client and curl, and certificates that nobody believes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use certs::lab::{Chain, Keys, Usage};
use jiff::Timestamp;
use serde_json::Value;
use tests::world::World;

const REPORT: &str = r#"{"client_version":"0.1.0","last_attempt":"2025-03-13T14:24:50Z","interval_seconds":7200}"#;

/// A chain for a headend and its key, as files.
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    root: String,
}

impl Shown {
    fn make(directory: &Path, file: &str, id: &str, valid: Option<(&str, &str)>) -> Result<Self> {
        let builder = Chain::builder().names([id]).usage(Usage::ClientOnly).keys(Keys::Ecdsa);
        let builder = match valid {
            Some((from, until)) => builder.valid(from.parse::<Timestamp>()?, until.parse::<Timestamp>()?),
            None => builder,
        };
        let chain = builder.build()?;
        let [certificate, key] = ["pem", "key"].map(|end| directory.join(format!("{file}.{end}")));
        std::fs::write(&certificate, chain.presented_pem())?;
        std::fs::write(&key, chain.leaf_key_pem())?;
        Ok(Self { certificate, key, root: chain.root.pem.clone() })
    }
}

/// The status that curl is answered with, showing that certificate.
fn curl(world: &World, shown: Option<&Shown>, path: &str, more: &[&str]) -> Result<u16> {
    let url = world.server_url()?.join(path)?;
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]);
    // Over HTTP/2 curl takes it for an error of the line where a request is answered before its body was read.
    command.arg("--http1.1");
    command.arg("--cacert").arg(world.server_ca().context("it answers by TLS")?);
    if let Some(Shown { certificate, key, .. }) = shown {
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    let output = command.args(more).arg(url.as_str()).output().context("curl is missing; run tests/run")?;
    ensure!(output.status.success(), "curl {path}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.parse()?)
}

fn report(world: &World, shown: Option<&Shown>, id: &str) -> Result<u16> {
    let path = format!("api/v1/headends/{id}/report");
    curl(world, shown, &path, &["--request", "PUT", "--data", REPORT])
}

#[tokio::test]
async fn a_certificate_that_names_a_headend_reports_for_it_and_for_no_other() -> Result<()> {
    let mut world = World::builder().tls().headends(1).stopped().build().await?;
    let directory = world.directory().to_owned();
    let make = |file, id, valid| Shown::make(&directory, file, id, valid);
    let own = make("own", "headend-1", None)?;
    let expired = make("expired", "headend-1", Some(("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")))?;
    let others = make("others", "headend-2", None)?;
    let unknown = make("unknown", "headend-1", None)?;
    // Of the unknown one's authority nothing is known here.
    std::fs::write(
        directory.join("headends-ca.pem"),
        [&own, &expired, &others].map(|shown| shown.root.as_str()).concat(),
    )?;
    world.set("listen", "client_ca", "headends-ca.pem")?;
    world.start_server().await?;
    world.sync().await?.success()?;
    world.feed_server(["headend", "add", "headend-1", "--certificate"]).await?.success()?;

    let headend = world.headend(0);
    let root = world.export_root(&headend.root_file()).await?;
    let ca = world.server_ca().context("it answers by TLS")?;
    let (certificate, key) = (&own.certificate, &own.key);
    headend.configure(&format!(
        "[server]\ntrust_anchors = [{ca:?}]\n[headend]\ncertificate = {certificate:?}\nkey = {key:?}\n"
    ))?;
    let url = world.server_url()?;
    let enroll = ["enroll", "--server", url.as_str(), "--root", root.to_str().context("UTF-8")?, "--id", headend.id()];
    headend.client(enroll).await?.success()?;
    headend.client(["update"]).await?.success()?;
    let headends: Value = world.feed_server(["headend", "list", "--json"]).await?.success()?.json()?;
    ensure!(headends[0]["state"] == "current" && headends[0]["has_token"] == false, "{headends}");
    ensure!(headends[0]["report"]["report"]["serial"] == 1, "{headends}");
    let doctor = headend.client(["doctor"]).await?.success()?;
    ensure!(doctor.stdout.contains("the certificate is this headend's"), "{doctor}");

    for (shown, id, status) in [
        (Some(&own), "headend-1", 204),
        (Some(&own), "headend-2", 401),
        (Some(&others), "headend-1", 401),
        (Some(&others), "headend-2", 401),
        (Some(&expired), "headend-1", 401),
        (Some(&unknown), "headend-1", 401),
        (None, "headend-1", 401),
    ] {
        let (answer, file) = (report(&world, shown, id)?, shown.map(|shown| &shown.certificate));
        ensure!(answer == status, "{file:?} for {id}: {answer}");
    }
    let by_tls12 = ["--tls-max", "1.2", "--request", "PUT", "--data", REPORT];
    ensure!(curl(&world, Some(&own), "api/v1/headends/headend-1/report", &by_tls12)? == 204);
    // Whatever is shown, or not: what anyone may have, anyone gets.
    for shown in [Some(&own), Some(&expired), Some(&unknown), None] {
        ensure!(curl(&world, shown, "repo/metadata/timestamp.json", &[])? == 200);
    }

    // A certificate that ended is the headend's loss alone: it goes on updating, and says what is wrong.
    let (certificate, key) = (&expired.certificate, &expired.key);
    headend.configure(&format!(
        "[server]\ntrust_anchors = [{ca:?}]\n[headend]\ncertificate = {certificate:?}\nkey = {key:?}\n"
    ))?;
    headend.client(["update"]).await?.success()?;
    let doctor = headend.client(["doctor"]).await?;
    ensure!(doctor.stdout.contains("Failed at report for unauthorized"), "{doctor}");
    let trail = world.feed_server(["audit", "--json"]).await?.success()?;
    ensure!(trail.stdout.contains("\"detail\":\"by certificate\""), "{trail}");

    // A headend that is removed is nobody, whatever its certificate says.
    world.feed_server(["headend", "remove", "headend-1"]).await?.success()?;
    ensure!(report(&world, Some(&own), "headend-1")? == 401);
    Ok(())
}
