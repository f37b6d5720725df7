//! What these scenarios ask of a world.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::peers;
use tests::world::{Output, World, archive_digests};

/// `feed-server status --json`.
pub(super) async fn status(world: &World) -> Result<Value> {
    world.feed_server(["status", "--json"]).await?.success()?.json()
}

/// The number of the newest release.
pub(super) async fn newest(world: &World) -> Result<u64> {
    status(world).await?["release"]["serial"].as_u64().context("a release")
}

/// What the newest run that ended came to, and its sentence.
pub(super) async fn last_run(world: &World) -> Result<(String, String)> {
    let status = status(world).await?;
    let text = |field: &str| status["runs"][0][field].as_str().unwrap_or_default().to_owned();
    Ok((text("result"), text("message")))
}

/// The acts of the audit trail that are done, with who did them.
pub(super) async fn acts(world: &World) -> Result<Vec<(String, String)>> {
    let lines = world.feed_server(["audit", "--after", "0", "--json"]).await?.success()?.stdout;
    let mut acts = Vec::new();
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line)?;
        if record["result"] == "done" {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            acts.push((text(&record["act"]), text(&record["who"]["kind"])));
        }
    }
    Ok(acts)
}

/// That a command failed with that code, and says so.
pub(super) fn refused(output: Output, code: i32, parts: &[&str]) -> Result<()> {
    let output = output.failed_with(code)?;
    for part in parts {
        ensure!(output.stderr.contains(part), "{part}: {output}");
    }
    Ok(())
}

/// That the vendor's layout shows this release, with the content of that feed.
pub(super) fn vendor_layout_has(world: &World, serial: u64, feed: &bundles::fake::Feed) -> Result<()> {
    let base = world.server_url()?;
    let index = String::from_utf8(peers::curl(&base.join("web/secure/spa/posture-update.xml")?, None)?)?;
    for (name, digest) in archive_digests(feed) {
        let locator = base.join(&format!("web/secure/spa/r/{serial}/{name}"))?;
        ensure!(index.contains(locator.as_str()), "{locator} is not in the index: {index}");
        let served = bundles::Digest::of(&peers::curl(&locator, None)?).to_string();
        ensure!(served == digest, "{locator} is another one");
    }
    Ok(())
}
