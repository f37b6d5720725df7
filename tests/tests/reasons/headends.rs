//! Updates of a headend that fail: what runs goes on running, and one poll is counted, by its reason.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bundles::Reason;
use serde_json::Value;
use tests::lab::LabUpstream;
use tests::world::{Invocation, Metrics, World};

rows! {
    a_server_that_is_away: Connect => Update::new("check", async |world| {
        world.stop_server().await?;
        Ok(())
    });
    a_signature_that_is_not_the_keys: Signature => Update::new("fingerprints", async |world| {
        // The same statement, signed by nobody: the first digits of the signature are others.
        carried(world, |tree| {
            let timestamp = tree.join("repo/metadata/timestamp.json");
            let text = std::fs::read_to_string(&timestamp)?;
            let at = text.find("\"sig\":").context("a signature")? + 10;
            let digit = if &text[at..=at] == "0" { "1" } else { "0" };
            Ok(std::fs::write(timestamp, format!("{}{digit}{}", &text[..at], &text[at + 1..]))?)
        })
    });
    a_payload_with_a_flipped_byte: DigestMismatch => Update::new("conditions.tar", async |world| {
        carried(world, |tree| {
            for entry in std::fs::read_dir(tree.join("repo/targets"))? {
                let path = entry?.path();
                if path.to_string_lossy().ends_with("-conditions.tar") {
                    let mut bytes = std::fs::read(&path)?;
                    bytes[1000] ^= 1;
                    std::fs::write(&path, bytes)?;
                }
            }
            Ok(())
        })
    });
    metadata_that_ended_before_it_was_seen: Expired => Update::new("clock", async |_| Ok(())).with_clock_off("+8d");
    a_server_that_stands_still: Freeze => Update::new("still", async |world| {
        // What the server says today is seen and applied; a week later it says nothing else.
        world.headend(0).client(["update"]).await?.success()?;
        Ok(())
    }).with_clock_off("+8d");
    a_server_that_was_restored: Rollback => Update::new("backup", async |world| {
        let old = carried(world, |_| Ok(()))?;
        world.headend(0).client(["update"]).await?.success()?;
        world.upstream().publish_next()?;
        world.sync().await?.success()?;
        world.headend(0).configure(METRICS)?;
        world.headend(0).client(["update"]).await?.success()?;
        fetch_from(world, &old)?;
        Ok(old)
    });
    a_hook_that_refuses: HookFailed => Update::new("policy node is down", async |world| {
        let hook = world.directory().join("hook");
        std::fs::write(&hook, "#!/bin/sh\necho policy node is down >&2\nexit 3\n")?;
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755))?;
        world.headend(0).configure(&format!("{METRICS}[apply]\nhook = {hook:?}\n"))?;
        Ok(())
    });
}

/// What every headend here counts with.
const METRICS: &str = "[metrics]\ntextfile = \"feed.prom\"\n";

/// An update that is to fail.
struct Update<B> {
    says: &'static str,
    breaks: B,
    clock_off: Option<&'static str>,
}

impl<B: AsyncFnOnce(&mut World) -> Result<K>, K> Update<B> {
    fn new(says: &'static str, breaks: B) -> Self {
        Self { says, breaks, clock_off: None }
    }

    fn with_clock_off(self, offset: &'static str) -> Self {
        Self { clock_off: Some(offset), ..self }
    }

    async fn shows(self, reason: Reason) -> Result<()> {
        let mut world = World::builder().headends(1).build().await?;
        world.sync().await?.success()?;
        world.enroll_all().await?;
        world.headend(0).configure(METRICS)?;
        world.headend(0).client(["update"]).await?.success()?;
        world.upstream().publish_next()?;
        world.sync().await?.success()?;
        let kept = (self.breaks)(&mut world).await?;

        let headend = world.headend(0);
        let (running, counted) = (headend.current().context("a release runs")?, polls(&world, reason)?);
        let update: Invocation = headend.invocation(["update"]);
        let update = self.clock_off.iter().fold(update, |update, offset| update.with_clock_off(offset));
        let failed = update.output().await?.failed_with(reason.exit_code().into())?;
        ensure!(failed.stderr.contains(&format!("reason: {reason} ")), "{failed}");
        ensure!(failed.stderr.contains(self.says), "{:?} is missing in: {failed}", self.says);
        ensure!(headend.current() == Some(running), "another release runs after: {failed}");
        let status: Value = headend.client(["status", "--json"]).await?.success()?.json()?;
        ensure!(status["last_status"]["reason"] == reason.as_str(), "{status}");
        let counted_after = polls(&world, reason)?;
        ensure!(counted_after == (counted.0 + 1.0, counted.1), "{counted:?}, then {counted_after:?}");
        drop(kept);
        Ok(())
    }
}

/// Polls that ended for this reason, and all others.
fn polls(world: &World, reason: Reason) -> Result<(f64, f64)> {
    let text = std::fs::read_to_string(world.headend(0).data().join("feed.prom"))?;
    let metrics = Metrics::parse(&text)?;
    let name = "posture_feed_client_poll_total";
    let of_reason =
        metrics.value(name, &[("result", reason.as_str())]).context("every reason is there from the start")?;
    Ok((of_reason, metrics.all(name).map(|sample| sample.value).sum::<f64>() - of_reason))
}

/// A copy of the server's tree as it is now, changed, on another web server that the headend is led to.
fn carried(world: &World, change: impl FnOnce(&Path) -> Result<()>) -> Result<LabUpstream> {
    let copy = world.directory().join("carried");
    // Not by links: the tree shares its bytes with the server's store.
    let status = std::process::Command::new("cp").arg("-a").arg(world.data().join("tree")).arg(&copy).status()?;
    ensure!(status.success(), "cp: {status}");
    change(&copy)?;
    let server = LabUpstream::builder().directory(&copy).start()?;
    fetch_from(world, &server)?;
    Ok(server)
}

fn fetch_from(world: &World, server: &LabUpstream) -> Result<()> {
    let ca = world.directory().join("carried-ca.pem");
    server.write_ca(&ca)?;
    let url = server.url_of("");
    world.headend(0).configure(&format!("{METRICS}[server]\nurl = {:?}\ntrust_anchors = [{ca:?}]\n", url.as_str()))
}
