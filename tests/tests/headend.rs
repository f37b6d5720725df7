//! A headend's life with the real programs: what its hook refuses, where its operator goes back to, what becomes of
//! default policies, and what it says when the server is not as it should be.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use bundles::Reason;
use bundles::fake::Edition;
use serde_json::Value;
use tests::lab::LabUpstream;
use tests::peers;
use tests::world::{DEADLINE, Metrics, Signal, World, WorldBuilder, shows_edition, wait_until};

/// A world whose headend runs release 1.
async fn updated() -> Result<World> {
    updated_in(World::builder()).await
}

async fn updated_in(builder: WorldBuilder) -> Result<World> {
    let world = builder.headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    runs(&world, "1")?;
    Ok(world)
}

async fn publish_next(world: &World) -> Result<()> {
    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    Ok(())
}

fn runs(world: &World, release: &str) -> Result<()> {
    let current = world.headend(0).current().context("nothing runs")?;
    ensure!(current.ends_with(format!("releases/{release}")), "{} runs, not {release}", current.display());
    Ok(())
}

/// What the server knows of the headend.
async fn known(world: &World) -> Result<Value> {
    let list: Value = world.feed_server(["headend", "list", "--json"]).await?.success()?.json()?;
    let headend = list.as_array().and_then(|list| list.first()).context("one headend is listed")?;
    Ok(headend.clone())
}

async fn status(world: &World) -> Result<Value> {
    world.headend(0).client(["status", "--json"]).await?.success()?.json()
}

/// A hook of this shell script, in the world's directory; gives its path.
fn hook(world: &World, script: &str) -> Result<PathBuf> {
    let path = world.directory().join("hook");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[tokio::test]
async fn a_release_that_the_hook_refuses_is_held_and_the_server_shows_it() -> Result<()> {
    let world = updated().await?;
    let headend = world.headend(0);
    let path = hook(&world, "echo policy node is down >&2; exit 3")?;
    headend.configure(&format!("[apply]\nhook = {path:?}\n[schedule]\njitter = \"0s\"\n"))?;
    publish_next(&world).await?;
    let refused = headend.client(["update"]).await?.failed_with(1)?;
    ensure!(refused.stderr.contains("reason: hook_failed") && refused.stderr.contains("policy node"), "{refused}");
    runs(&world, "1")?;
    let seen = known(&world).await?;
    ensure!(seen["state"] == "failing", "{seen}");
    let failure = &seen["report"]["report"]["last_failure"];
    ensure!(failure["reason"] == "hook_failed", "{seen}");
    ensure!(failure["message"].as_str().is_some_and(|message| message.contains("policy node is down")), "{seen}");
    let failing = world.metrics().await?.value("posture_feed_headends", &[("state", "failing")]);
    ensure!(failing == Some(1.0), "{failing:?}");
    ensure!(status(&world).await?["held"]["why"] == "hook_failed");

    // The hook would agree by now, but nobody has said so: the timer leaves the release alone, a newer one is taken.
    hook(&world, "test -f $POSTURE_FEED_RELEASE_DIR/manifest.json")?;
    let mut running = headend.start()?;
    let polled = async || known(&world).await.is_ok_and(|seen| seen["report"]["report"]["next_poll"].is_string());
    wait_until(DEADLINE, "the timer's poll is reported", polled).await?;
    runs(&world, "1")?;
    ensure!(known(&world).await?["state"] == "failing", "waiting does not heal");
    publish_next(&world).await?;
    running.signal(Signal::HUP)?;
    let healed = async || known(&world).await.is_ok_and(|seen| seen["state"] == "current");
    wait_until(DEADLINE, "the newer release is taken", healed).await?;
    runs(&world, "3")?;
    ensure!(status(&world).await?["held"] == Value::Null);
    running.signal(Signal::TERM)?;
    ensure!(running.end(DEADLINE).await?.success());
    Ok(())
}

#[tokio::test]
async fn an_operator_goes_back_and_only_a_newer_release_ends_that() -> Result<()> {
    let world = updated().await?;
    let headend = world.headend(0);
    headend.configure("[schedule]\njitter = \"0s\"\n")?;
    for release in ["2", "3"] {
        publish_next(&world).await?;
        headend.client(["update"]).await?.success()?;
        runs(&world, release)?;
    }
    headend.client(["rollback", "4"]).await?.failed_with(2)?;
    headend.client(["rollback", "1"]).await?.success()?;
    runs(&world, "1")?;
    shows_edition(&headend.client(["status"]).await?.success()?.stdout, &Edition::before())?;
    ensure!(known(&world).await?["report"]["report"]["serial"] == 1);

    let mut running = headend.start()?;
    let polled = async || known(&world).await.is_ok_and(|seen| seen["report"]["report"]["next_poll"].is_string());
    wait_until(DEADLINE, "the timer's poll is reported", polled).await?;
    runs(&world, "1")?;
    // What an operator does meanwhile counts: the timer keeps nothing in memory.
    headend.client(["update"]).await?.success()?;
    runs(&world, "3")?;
    headend.client(["rollback"]).await?.success()?;
    runs(&world, "2")?;
    publish_next(&world).await?;
    running.signal(Signal::HUP)?;
    wait_until(DEADLINE, "release 4 runs", async || runs(&world, "4").is_ok()).await?;
    running.signal(Signal::TERM)?;
    ensure!(running.end(DEADLINE).await?.success());
    Ok(())
}

#[tokio::test]
async fn default_policies_are_the_administrators_once_they_are_there() -> Result<()> {
    let world = updated().await?;
    let headend = world.headend(0);
    headend.configure("[schedule]\njitter = \"0s\"\n")?;
    let folder = headend.data().join("policy/conditions/conditions/defaults");
    let (deleted, edited) = (folder.join("policies.xml"), folder.join("requirements.xml"));
    ensure!(deleted.is_file() && edited.is_file(), "{}", folder.display());
    std::fs::remove_file(&deleted)?;
    std::fs::write(&edited, "edited")?;
    let untouched = |when: &str| -> Result<()> {
        ensure!(!deleted.exists(), "the deleted one is back after {when}");
        ensure!(std::fs::read_to_string(&edited)? == "edited", "the edited one is undone after {when}");
        Ok(())
    };
    publish_next(&world).await?;
    headend.client(["update"]).await?.success()?;
    untouched("an update")?;
    for (release, again) in [("3", "the first start"), ("4", "a restart")] {
        publish_next(&world).await?;
        let mut running = headend.start()?;
        wait_until(DEADLINE, "the timer takes the release", async || runs(&world, release).is_ok()).await?;
        running.signal(Signal::TERM)?;
        ensure!(running.end(DEADLINE).await?.success());
        untouched(again)?;
    }
    headend.client(["update"]).await?.success()?;
    headend.client(["rollback"]).await?.success()?;
    untouched("a rollback")
}

#[tokio::test]
async fn a_token_that_the_server_does_not_know_stops_the_report_alone() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    let headend = world.headend(0);
    let secret = std::fs::read_to_string(headend.token_file())?;
    let wrong = world.directory().join("wrong-token");
    std::fs::write(&wrong, "pf_of_somebody_else\n")?;
    headend.configure(&format!("[headend]\ntoken_file = {wrong:?}\n"))?;
    let updated = headend.client(["update", "--log-format", "json", "-vv"]).await?.success()?;
    runs(&world, "1")?;
    let line = updated.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = line.into_iter().find(|line| line["reason"] == "unauthorized").with_context(|| updated.to_string())?;
    ensure!(line["message"].as_str().is_some_and(|message| message.contains("feed-server headend add")), "{line}");
    ensure!(!updated.stderr.contains("pf_of_somebody_else"), "the token is in the log: {updated}");
    ensure!(known(&world).await?["state"] == "silent");

    headend.configure("")?;
    let updated = headend.client(["update", "-vv"]).await?.success()?;
    ensure!(!updated.to_string().contains(secret.trim()), "the token is in the log: {updated}");
    ensure!(known(&world).await?["state"] == "current");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_away_or_older_than_it_was_takes_nothing_away() -> Result<()> {
    let mut world = updated().await?;
    world.stop_server().await?;
    let backup = world.directory().join("backup");
    copy(&world.data(), &backup)?;
    let away = world.headend(0).client(["update"]).await?.failed_with(10)?;
    ensure!(away.stderr.contains("reason: connect"), "{away}");
    runs(&world, "1")?;

    world.start_server().await?;
    publish_next(&world).await?;
    world.headend(0).client(["update"]).await?.success()?;
    runs(&world, "2")?;

    // The operator restores a backup from before release 2, so the server answers with metadata that was seen before.
    world.stop_server().await?;
    std::fs::remove_dir_all(world.data())?;
    copy(&backup, &world.data())?;
    world.start_server().await?;
    let older = world.headend(0).client(["update"]).await?.failed_with(12)?;
    ensure!(older.stderr.contains("reason: rollback"), "{older}");
    runs(&world, "2")?;
    ensure!(known(&world).await?["report"]["report"]["last_failure"]["reason"] == "rollback");
    // A number that was never used ends it. (Versions of metadata are seconds: one that was used before is nothing new, though
    // the metadata is other.)
    let taken = async || {
        publish_next(&world).await.is_ok()
            && world.headend(0).client(["update"]).await.is_ok_and(|update| update.code() == Some(0))
            && status(&world).await.is_ok_and(|status| status["serial"].as_u64() > Some(2))
    };
    wait_until(DEADLINE, "a release that was never seen is taken", taken).await
}

#[tokio::test]
async fn any_web_server_may_carry_the_tree_but_not_an_older_one() -> Result<()> {
    let world = updated().await?;
    let tree = world.data().join("tree");
    let (old, new) = (world.directory().join("old"), world.directory().join("new"));
    copy(&tree, &old)?;
    publish_next(&world).await?;
    copy(&tree, &new)?;
    let headend = world.headend(0);
    let update_from = async |directory: &Path| {
        let server = LabUpstream::builder().directory(directory).start()?;
        let ca = world.directory().join("static-ca.pem");
        server.write_ca(&ca)?;
        let url = server.url_of("");
        headend.configure(&format!("[server]\nurl = {:?}\ntrust_anchors = [{ca:?}]\n", url.as_str()))?;
        headend.client(["update"]).await
    };
    update_from(&new).await?.success()?;
    runs(&world, "2")?;
    // Every byte of it is signed and unexpired: whoever answers in the server's place cannot sign, but can keep copies.
    let replayed = update_from(&old).await?.failed_with(12)?;
    ensure!(replayed.stderr.contains("reason: rollback"), "{replayed}");
    runs(&world, "2")
}

#[tokio::test]
async fn a_byte_that_flipped_on_the_server_is_not_applied() -> Result<()> {
    // Nothing that was prepared of the payloads stands in for them.
    let world = updated_in(World::builder().set("increments", "max_payload", "1KiB")).await?;
    publish_next(&world).await?;
    let headend = world.headend(0);
    let before = status(&world).await?;
    let targets = world.data().join("tree/repo/targets");
    // Of both releases' conditions; a new file each, since the tree shares its bytes with the store.
    let mut whole = Vec::new();
    for entry in std::fs::read_dir(&targets)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("-conditions.tar") {
            let mut bytes = std::fs::read(&path)?;
            whole.push((path.clone(), bytes.clone()));
            bytes[1000] ^= 1;
            std::fs::remove_file(&path)?;
            std::fs::write(&path, bytes)?;
        }
    }
    ensure!(whole.len() == 2, "{whole:?}");
    let refused = headend.client(["update"]).await?.failed_with(14)?;
    ensure!(refused.stderr.contains("reason: digest_mismatch"), "{refused}");
    runs(&world, "1")?;
    let after = status(&world).await?;
    ensure!(after["releases"] == before["releases"] && after["versions"] == before["versions"], "{after}");
    ensure!(after["last_status"]["reason"] == "digest_mismatch", "{after}");
    for (path, bytes) in whole {
        std::fs::write(&path, bytes)?;
    }
    headend.client(["update"]).await?.success()?;
    runs(&world, "2")
}

#[tokio::test]
async fn prometheus_accepts_a_headends_metrics_and_they_outlive_restarts() -> Result<()> {
    let world = updated().await?;
    let headend = world.headend(0);
    let textfile = world.directory().join("feed.prom");
    headend.configure(&format!("[metrics]\ntextfile = {textfile:?}\n[schedule]\njitter = \"0s\"\n"))?;
    headend.client(["update"]).await?.success()?;
    let read = || -> Result<Metrics> {
        let text = std::fs::read_to_string(&textfile)?;
        peers::promtool_check(&text)?;
        Metrics::parse(&text)
    };
    let polls =
        |metrics: &Metrics, result: &str| metrics.value("posture_feed_client_poll_total", &[("result", result)]);
    let metrics = read()?;
    for reason in Reason::ALL {
        ensure!(polls(&metrics, reason.as_str()) == Some(0.0), "{reason} is not there at 0");
    }
    ensure!(polls(&metrics, "ok") == Some(1.0) && polls(&metrics, "unchanged") == Some(1.0));
    let received = |metrics: &Metrics| -> f64 {
        let of = |encoding| metrics.value("posture_feed_client_received_bytes_total", &[("encoding", encoding)]);
        ["identity", "zstd", "dcz"].into_iter().filter_map(of).sum()
    };
    let received_before = received(&metrics);
    ensure!(received_before > 0.0);
    let mut running = headend.start()?;
    wait_until(DEADLINE, "the timer's poll is counted", async || {
        std::fs::read_to_string(&textfile)
            .is_ok_and(|text| text.contains("posture_feed_client_poll_total{result=\"unchanged\"} 2"))
    })
    .await?;
    running.signal(Signal::TERM)?;
    ensure!(running.end(DEADLINE).await?.success());
    let metrics = read()?;
    ensure!(received(&metrics) == received_before, "a poll that finds nothing new brings no content");
    ensure!(metrics.value("posture_feed_client_release_serial", &[]) == Some(1.0));
    ensure!(metrics.value("posture_feed_client_next_run_timestamp_seconds", &[]).is_some());
    let conditions = Edition::before().versions[&bundles::Component::Conditions].to_string();
    let labels = [("component", "conditions"), ("version", conditions.as_str())];
    ensure!(metrics.value("posture_feed_client_component_info", &labels) == Some(1.0));
    Ok(())
}

#[tokio::test]
async fn between_polls_a_headend_holds_no_connection() -> Result<()> {
    let world = updated().await?;
    let headend = world.headend(0);
    headend.configure("[schedule]\njitter = \"0s\"\n")?;
    publish_next(&world).await?;
    let mut running = headend.start()?;
    let polled = async || known(&world).await.is_ok_and(|seen| seen["report"]["report"]["serial"] == 2);
    wait_until(DEADLINE, "the headend has polled", polled).await?;
    // The server would wait for longer than this before it closes.
    wait_until(DEADLINE, "the headend has closed its connection", async || {
        connections(running.id()).is_ok_and(|connections| connections == 0)
    })
    .await?;
    ensure!(running.ended()?.is_none(), "{}", running.tail());
    Ok(())
}

/// How many connections a process holds.
fn connections(id: u32) -> Result<usize> {
    let entries = std::fs::read_dir(format!("/proc/{id}/fd"))?;
    let held: BTreeSet<String> = entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    // proc_net_tcp(5): the inode is the tenth field.
    let table = std::fs::read_to_string(format!("/proc/{id}/net/tcp"))?;
    Ok(table.lines().filter(|line| line.split_whitespace().nth(9).is_some_and(|inode| held.contains(inode))).count())
}

#[tokio::test]
async fn one_client_at_a_time_works_on_a_data_directory() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    let headend = world.headend(0);
    let (begun, go) = (world.directory().join("begun"), world.directory().join("go"));
    let script = format!("touch {}; until test -e {}; do :; done", begun.display(), go.display());
    let path = hook(&world, &script)?;
    headend.configure(&format!("[apply]\nhook = {path:?}\n[schedule]\njitter = \"0s\"\n"))?;
    let mut running = headend.start()?;
    wait_until(DEADLINE, "the hook is asked", async || begun.exists()).await?;
    let root = headend.root_file();
    let server = world.server_url()?;
    let enroll =
        ["enroll".as_ref(), "--server".as_ref(), OsStr::new(server.as_str()), "--root".as_ref(), root.as_ref()];
    for refused in [
        headend.client(["update"]).await?,
        headend.client(["rollback"]).await?,
        headend.client(["run"]).await?,
        headend.client(enroll).await?,
    ] {
        let refused = refused.failed_with(16)?;
        ensure!(refused.stderr.contains("reason: busy"), "{refused}");
    }
    ensure!(status(&world).await?["last_status"]["status"] == "running");
    std::fs::write(&go, "")?;
    let done = async || status(&world).await.is_ok_and(|status| status["last_status"]["status"] == "successful");
    wait_until(DEADLINE, "the update is done", done).await?;
    running.signal(Signal::TERM)?;
    ensure!(running.end(DEADLINE).await?.success());
    runs(&world, "1")
}

#[tokio::test]
async fn a_headend_trusts_the_servers_own_root_only_where_somebody_vouches_for_it() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    let headend = world.headend(0);
    let server = world.server_url()?;
    let enroll = async |more: &[&str]| {
        let arguments = ["enroll", "--server", server.as_str(), "--id", "vpn-1"];
        headend.client(arguments.iter().chain(more)).await
    };
    let root = std::fs::read(world.export_root(&world.directory().join("exported.json")).await?)?;
    let fingerprint = bundles::Digest::of(&root).to_string();
    let asked = enroll(&[]).await?.failed_with(2)?;
    ensure!(asked.stderr.contains(&fingerprint) && asked.stderr.contains("--fingerprint"), "{asked}");
    let wrong = enroll(&["--fingerprint", &"ab".repeat(32)]).await?.failed_with(12)?;
    ensure!(wrong.stderr.contains(&fingerprint), "{wrong}");
    ensure!(!headend.data().join("enrolment.json").exists(), "nothing was stored");
    enroll(&["--fingerprint", &fingerprint.to_ascii_uppercase()]).await?.success()?;
    headend.client(["update"]).await?.success()?;
    let shown = headend.client(["status"]).await?.success()?;
    ensure!(shown.stdout.contains(&fingerprint) && shown.stdout.contains("0 minutes ago"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_clock_that_went_backwards_is_said_wherever_somebody_looks_and_takes_nothing_away() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    let headend = world.headend(0);
    headend.client(["update"]).await?.success()?;
    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    let behind = headend.invocation(["update"]).with_clock_off("-3h").output().await?.success()?;
    ensure!(behind.stderr.contains("clock is behind"), "{behind}");
    runs(&world, "2")?;
    // Also when it is right again, until an update has found that it is.
    for offset in ["-3h", "+0"] {
        let shown = headend.invocation(["status"]).with_clock_off(offset).output().await?.success()?;
        ensure!(shown.stdout.contains("Clock             behind:"), "{shown}");
    }
    let listed = world.feed_server(["headend", "list"]).await?.success()?;
    ensure!(listed.stdout.contains("its clock went back behind"), "{listed}");

    headend.client(["update"]).await?.success()?;
    let shown = headend.client(["status"]).await?.success()?;
    ensure!(!shown.stdout.contains("Clock  "), "{shown}");
    let listed = world.feed_server(["headend", "list"]).await?.success()?;
    ensure!(!listed.stdout.contains("its clock"), "{listed}");
    Ok(())
}

/// A copy that shares nothing with the original.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp -a {} {}: {status}", from.display(), to.display());
    Ok(())
}
