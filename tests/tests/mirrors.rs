//! Relays that follow another feed-server over the network: what they hand on is what its origin signed, byte for byte; and
//! whatever becomes of the server that they follow, what they serve stays.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bundles::Digest;
use bundles::fake::Edition;
use tempfile::TempDir;
use tests::lab::{Fault, LabUpstream, Raw};
use tests::peers::{self, Squid};
use tests::world::{CRASHES_ELSEWHERE, DEADLINE, World, shows_edition, wait_until};

const PASSWORD: &str = "quokka:narwhal@7f3";

/// An origin that answers by TLS and has its first release, and its online root.
async fn origin() -> Result<(World, PathBuf)> {
    let origin = World::builder().tls().build().await?;
    origin.sync().await?.success()?;
    let root = origin.export_root(&origin.directory().join("online-root.json")).await?;
    Ok((origin, root))
}

fn ca_of(world: &World) -> Result<PathBuf> {
    world.server_ca().context("it answers by TLS")
}

async fn release_next(origin: &World, serial: u64) -> Result<Edition> {
    origin.upstream().publish_next()?;
    origin.sync().await?.success()?;
    origin.released(serial).await?;
    origin.upstream().edition().context("a fake feed")
}

async fn bytes(world: &World, path: &str) -> Result<Vec<u8>> {
    let url = world.server_url()?.join(path)?;
    let ca = world.server_ca();
    tokio::task::spawn_blocking(move || peers::curl(&url, ca.as_deref())).await?
}

/// What both serve, compared by digest; a zip's digest is what people compare.
async fn serves_what(relay: &World, origin: &World) -> Result<()> {
    for path in [
        "repo/metadata/timestamp.json",
        "offline/metadata/timestamp.json",
        "repo/metadata/1.root.json",
        "offline/metadata/1.root.json",
        "offline/posture-offline.zip",
        "offline/posture-bundle.zip",
    ] {
        let (served, signed) = (bytes(relay, path).await?, bytes(origin, path).await?);
        ensure!(Digest::of(&served) == Digest::of(&signed), "{path} is another one");
    }
    Ok(())
}

/// The relay's repositories as python-tuf reads them: every target, by its digest. Both have the same manifest.
async fn python_tuf_reads(relay: &World) -> Result<()> {
    let online = relay.export_root(&relay.directory().join("r-online.json")).await?;
    let offline = relay.export_offline_root(&relay.directory().join("r-offline.json")).await?;
    let url = relay.server_url()?;
    let read = tokio::task::spawn_blocking(move || -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let of_online = peers::python_tuf(&url.join("repo")?, &online, &scratch.path().join("online"))?;
        let of_offline = peers::python_tuf(&url.join("offline")?, &offline, &scratch.path().join("offline"))?;
        let manifest = |targets: &peers::Digests| targets.get("stable.json").cloned();
        ensure!(manifest(&of_online).is_some() && manifest(&of_online) == manifest(&of_offline), "{of_online:?}");
        Ok(())
    });
    read.await?
}

/// How often the origin was asked for anything of its repositories, by its own count.
async fn asked(origin: &World) -> Result<f64> {
    let metrics = origin.metrics().await?;
    let of_repositories = |route: &String| route.starts_with("/repo") || route.starts_with("/offline");
    let requests = metrics.all("posture_feed_http_requests_total");
    Ok(requests.filter(|one| one.labels.get("route").is_some_and(of_repositories)).map(|one| one.value).sum())
}

#[tokio::test]
async fn a_relay_hands_on_what_its_origin_signed() -> Result<()> {
    let (origin, root) = origin().await?;
    let builder = World::builder().following(&origin.server_url()?, &ca_of(&origin)?, &root);
    let relay = builder.headends(1).build().await?;
    let run = relay.sync().await?.success()?;
    relay.released(1).await.with_context(|| run.to_string())?;
    serves_what(&relay, &origin).await?;
    python_tuf_reads(&relay).await?;
    relay.enroll_all().await?;
    relay.headend(0).client(["update"]).await?.success()?;
    shows_edition(&relay.headend(0).client(["status"]).await?.success()?.stdout, &Edition::before())?;
    ensure!(!relay.data().join("keys").exists(), "a relay has no keys");
    let status = relay.feed_server(["status"]).await?.success()?.stdout;
    ensure!(status.contains("Follows") && status.contains(origin.server_url()?.as_str()), "{status}");

    // What has not changed costs one small question.
    let before = asked(&origin).await?;
    let again = relay.sync().await?.success()?;
    ensure!(again.stdout.contains("up to date"), "{again}");
    let one_more = asked(&origin).await? - before;
    ensure!((one_more - 1.0).abs() < 0.5, "{one_more} requests");

    let edition = release_next(&origin, 2).await?;
    relay.sync().await?.success()?;
    relay.released(2).await?;
    serves_what(&relay, &origin).await?;
    relay.headend(0).client(["update"]).await?.success()?;
    shows_edition(&relay.headend(0).client(["status"]).await?.success()?.stdout, &edition)?;
    let index = String::from_utf8(bytes(&relay, "web/secure/spa/posture-update.xml").await?)?;
    let own = relay.server_url()?.join("web/secure/spa/r/2/")?;
    ensure!(index.contains(own.as_str()), "the vendor's layout is the relay's own: {index}");
    Ok(())
}

#[tokio::test]
async fn the_offline_root_alone_brings_the_offline_repository() -> Result<()> {
    let (origin, _) = origin().await?;
    let root = origin.export_offline_root(&origin.directory().join("offline-root.json")).await?;
    let relay = World::builder().following(&origin.server_url()?, &ca_of(&origin)?, &root).build().await?;
    relay.sync().await?.success()?;
    let path = "offline/metadata/timestamp.json";
    ensure!(bytes(&relay, path).await? == bytes(&origin, path).await?);
    ensure!(relay.get("repo/metadata/timestamp.json").await?.status() == 404);
    let again = relay.sync().await?.success()?;
    ensure!(again.stdout.contains("up to date"), "{again}");
    Ok(())
}

#[tokio::test]
async fn a_relay_follows_through_a_proxy_that_wants_a_password() -> Result<()> {
    let (origin, root) = origin().await?;
    let squid = Squid::builder().password("relay", PASSWORD).start().await?;
    let builder = World::builder().following(&origin.server_url()?, &ca_of(&origin)?, &root);
    let builder = builder.proxy(&format!("http://{}", squid.address())).proxy_login("relay", PASSWORD);
    let mut relay = builder.build().await?;
    relay.sync().await?.success()?;
    relay.released(1).await?;
    relay.stop_server().await?;
    let target = origin.server_url()?.authority().to_owned();
    let through = async || {
        squid.access_log().is_ok_and(|log| !log.is_empty() && log.iter().all(|access| access.target == target))
    };
    wait_until(DEADLINE, "squid logs tunnels to the origin alone", through).await
}

#[tokio::test]
async fn a_relay_of_a_relay_serves_the_same_bytes() -> Result<()> {
    let (origin, root) = origin().await?;
    let middle = World::builder().following(&origin.server_url()?, &ca_of(&origin)?, &root).tls().build().await?;
    middle.sync().await?.success()?;
    let builder = World::builder().following(&middle.server_url()?, &ca_of(&middle)?, &root);
    let last = builder.headends(1).build().await?;
    last.sync().await?.success()?;
    serves_what(&last, &origin).await?;
    python_tuf_reads(&last).await?;
    last.enroll_all().await?;
    last.headend(0).client(["update"]).await?.success()?;

    let edition = release_next(&origin, 2).await?;
    middle.sync().await?.success()?;
    last.sync().await?.success()?;
    serves_what(&last, &origin).await?;
    last.headend(0).client(["update"]).await?.success()?;
    shows_edition(&last.headend(0).client(["status"]).await?.success()?.stdout, &edition)
}

/// A server that serves a copy of an origin's tree, and a relay that follows it: what it serves can be changed by hand.
struct Copied {
    origin: World,
    tree: TempDir,
    server: LabUpstream,
    relay: World,
}

impl Copied {
    async fn new() -> Result<Self> {
        let (origin, root) = origin().await?;
        let tree = tempfile::tempdir()?;
        let server = LabUpstream::builder().directory(tree.path()).start()?;
        let ca = origin.directory().join("copied-ca.pem");
        server.write_ca(&ca)?;
        let relay = World::builder().following(&server.url_of("/"), &ca, &root).build().await?;
        let copied = Self { origin, tree, server, relay };
        copied.copy(&["repo", "offline"])?;
        Ok(copied)
    }

    /// Makes the copy of these folders what the origin serves now.
    fn copy(&self, folders: &[&str]) -> Result<()> {
        folders.iter().try_for_each(|folder| {
            let (from, to) = (self.origin.data().join("tree").join(folder), self.tree.path().join(folder));
            if to.exists() {
                std::fs::remove_dir_all(&to)?;
            }
            copy(&from, &to)
        })
    }

    /// What the relay serves, to be compared with what it serves later.
    async fn served(&self) -> Result<Vec<Vec<u8>>> {
        let paths = ["repo/metadata/timestamp.json", "offline/metadata/timestamp.json", "offline/posture-offline.zip"];
        let mut served = Vec::new();
        for path in paths {
            served.push(bytes(&self.relay, path).await?);
        }
        Ok(served)
    }

    /// Updates, which fails for that reason and changes nothing; what was said.
    async fn refuses(&self, reason: &str, code: i32) -> Result<String> {
        let before = self.served().await?;
        let refused = self.relay.sync().await?.failed_with(code)?;
        ensure!(refused.stderr.contains(&format!("({reason})")), "{refused}");
        ensure!(self.served().await? == before, "what is served has changed after {refused}");
        let staging = std::fs::read_dir(self.relay.data().join("staging"))?.count();
        ensure!(staging == 0, "{staging} files are left in staging after {refused}");
        Ok(refused.stderr)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn whatever_becomes_of_the_followed_server_what_is_served_stays() -> Result<()> {
    let copied = Copied::new().await?;
    copied.relay.sync().await?.success()?;
    let first = tempfile::tempdir()?;
    copy(copied.tree.path(), first.path())?;

    copied.server.break_with(Fault::Away)?;
    copied.refuses("connect", 10).await?;
    copied.server.mend()?;

    // A byte of an archive, and then one of the release's manifest.
    release_next(&copied.origin, 2).await?;
    copied.copy(&["repo", "offline"])?;
    let new = new_targets(&copied.tree.path().join("repo/targets"), &first.path().join("repo/targets"))?;
    for ending in [".tar.gz", "stable.json"] {
        let path = new.iter().find(|path| path.to_string_lossy().ends_with(ending)).context(ending)?;
        let mut flipped = std::fs::read(path)?;
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        let url = format!("/repo/targets/{name}");
        copied.server.answer(&url, Raw::ok(flipped));
        let said = copied.refuses("digest_mismatch", 14).await?;
        ensure!(said.contains("changed on the way"), "{said}");
        copied.server.restore(&url);
    }
    copied.relay.sync().await?.success()?;
    copied.relay.released(2).await?;

    // The tree as it was before.
    std::fs::remove_dir_all(copied.tree.path().join("repo"))?;
    copy(&first.path().join("repo"), &copied.tree.path().join("repo"))?;
    let said = copied.refuses("rollback", 12).await?;
    ensure!(said.contains("replays old data"), "{said}");

    // Another origin's.
    let (stranger, _) = origin().await?;
    for folder in ["repo", "offline"] {
        std::fs::remove_dir_all(copied.tree.path().join(folder))?;
        copy(&stranger.data().join("tree").join(folder), &copied.tree.path().join(folder))?;
    }
    copied.refuses("signature", 12).await?;

    // And nothing that is one at all.
    copied.server.break_with(Fault::HtmlPage)?;
    copied.refuses("not_a_feed", 13).await?;
    copied.server.mend()?;
    copied.copy(&["repo", "offline"])?;
    let again = copied.relay.sync().await?.success()?;
    ensure!(again.stdout.contains("up to date"), "{again}");

    // A server that asks to be left alone is, as any upstream.
    copied.server.break_with(Fault::RateLimited)?;
    copied.refuses("rate_limited", 13).await?;
    copied.server.mend()?;
    copied.server.clear_requests();
    copied.refuses("cooldown", 13).await?;
    ensure!(copied.server.requests().is_empty(), "nothing is asked");
    Ok(())
}

/// Targets that are in one folder and not in the other.
fn new_targets(now: &Path, before: &Path) -> Result<Vec<PathBuf>> {
    let mut new = Vec::new();
    for entry in std::fs::read_dir(now)? {
        let entry = entry?;
        if !before.join(entry.file_name()).exists() {
            new.push(entry.path());
        }
    }
    Ok(new)
}

#[tokio::test]
async fn another_origins_root_takes_nothing() -> Result<()> {
    let (origin, _) = origin().await?;
    let (_stranger, root) = self::origin().await?;
    let relay = World::builder().following(&origin.server_url()?, &ca_of(&origin)?, &root).build().await?;
    let refused = relay.sync().await?.failed_with(12)?;
    ensure!(refused.stderr.contains("(signature)") && refused.stderr.contains("[upstream] root"), "{refused}");
    ensure!(relay.get("repo/metadata/timestamp.json").await?.status() == 404);
    Ok(())
}

#[tokio::test]
async fn a_server_that_stands_still_beyond_its_promise_is_named_and_what_is_served_stays() -> Result<()> {
    let mut copied = Copied::new().await?;
    copied.relay.sync().await?.success()?;
    copied.relay.stop_server().await?;
    copied.relay.clock_off("+8d");
    copied.relay.start_server().await?;
    let said = copied.refuses("freeze", 12).await?;
    ensure!(said.contains("stands still"), "{said}");
    // libfaketime takes its shared memory away only where its program ends in peace.
    copied.relay.stop_server().await?;

    // A clock that is wrong the other way: the release is from the future, by the clock of whoever never took one.
    let (origin, root) = origin().await?;
    let mut late = World::builder().following(&origin.server_url()?, &ca_of(&origin)?, &root).stopped().build().await?;
    late.clock_off("-3d");
    late.start_server().await?;
    let refused = late.sync().await?.failed_with(12)?;
    ensure!(refused.stderr.contains("(clock)") && refused.stderr.contains("NTP"), "{refused}");
    late.stop_server().await?;
    Ok(())
}

#[tokio::test]
async fn of_a_server_between_two_releases_no_mixture_is_served() -> Result<()> {
    let copied = Copied::new().await?;
    copied.relay.sync().await?.success()?;
    let offline = bytes(&copied.relay, "offline/metadata/timestamp.json").await?;
    release_next(&copied.origin, 2).await?;
    // The online repository has switched, the offline one has not.
    copied.copy(&["repo"])?;
    copied.relay.sync().await?.success()?;
    copied.relay.released(2).await?;
    ensure!(bytes(&copied.relay, "offline/metadata/timestamp.json").await? == offline, "offline stays at the old one");
    let root = copied.relay.export_offline_root(&copied.relay.directory().join("offline.json")).await?;
    let url = copied.relay.server_url()?.join("offline")?;
    let targets = tokio::task::spawn_blocking(move || {
        let scratch = tempfile::tempdir()?;
        peers::python_tuf(&url, &root, scratch.path())
    });
    let targets = targets.await??;
    ensure!(targets.contains_key("release-1.json"), "whole, and of the first release: {targets:?}");

    copied.copy(&["offline"])?;
    let run = copied.relay.sync().await?.success()?;
    ensure!(run.stdout.contains("up to date"), "{run}");
    ensure!(bytes(&copied.relay, "offline/metadata/timestamp.json").await? != offline, "offline has followed");
    python_tuf_reads(&copied.relay).await
}

#[tokio::test]
async fn a_relay_survives_a_kill_at_every_point() -> Result<()> {
    let (origin, root) = origin().await?;
    let builder = World::builder().following(&origin.server_url()?, &ca_of(&origin)?, &root).headends(1);
    let mut relay = builder.set("data", "retain_releases", 2).build().await?;
    relay.sync().await?.success()?;
    relay.enroll_all().await?;
    relay.headend(0).client(["update"]).await?.success()?;
    let points = relay.feed_server(["crash-points"]).await?.success()?.stdout;
    let is_other = |point: &str| CRASHES_ELSEWHERE.iter().any(|other| point.starts_with(other));
    let points: Vec<_> = points.lines().filter(|point| !is_other(point)).collect();
    ensure!(points.len() > 10, "{points:?}");
    let mut serial = 1;
    for point in points {
        let edition = release_next(&origin, serial + 1).await?;
        relay.stop_server().await?;
        relay.crash_at(point);
        relay.feed_server(["sync"]).await?.crashed().with_context(|| format!("{point} is never come by"))?;
        relay.crash_nowhere();
        relay.start_server().await?;
        let what = || format!("after a kill at {point}");
        record_agrees(&relay, serial).await.with_context(what)?;
        // One release or the other, whole, before the next run heals.
        relay.headend(0).client(["update"]).await?.success().with_context(what)?;
        python_tuf_reads(&relay).await.with_context(what)?;
        relay.sync().await?.success().with_context(what)?;
        serial += 1;
        relay.released(serial).await.with_context(what)?;
        serves_what(&relay, &origin).await.with_context(what)?;
        relay.headend(0).client(["update"]).await?.success().with_context(what)?;
        shows_edition(&relay.headend(0).client(["status"]).await?.success()?.stdout, &edition).with_context(what)?;
    }
    Ok(())
}

/// After a kill in the run that was to take the release after `before`: the run is told to have taken it where it is served.
async fn record_agrees(relay: &World, before: u64) -> Result<()> {
    let status: serde_json::Value = relay.feed_server(["status", "--json"]).await?.success()?.json()?;
    let (serial, result) = (&status["release"]["serial"], &status["runs"][0]["result"]);
    let expected = if *serial == before { "internal" } else { "ok" };
    ensure!(result == expected, "release {serial} is served, and the last run was {result}: {}", status["runs"][0]);
    Ok(())
}

/// Not a command by itself, but the server that others are asking meanwhile.
#[tokio::test]
async fn a_relay_that_serves_survives_a_kill_while_it_follows() -> Result<()> {
    let (origin, root) = origin().await?;
    let builder = World::builder().following(&origin.server_url()?, &ca_of(&origin)?, &root).headends(1);
    let mut relay = builder.build().await?;
    relay.sync().await?.success()?;
    relay.enroll_all().await?;
    // While files come, between blobs and catalog, before the tree, and after all of it. Those of the tree come by at every
    // start, too, so that no server would get to serve.
    for (before, point) in (1..).zip(["download.partial", "blobs.all", "catalog.committed", "run.before_record"]) {
        let what = || format!("after a kill at {point}");
        let edition = release_next(&origin, before + 1).await?;
        relay.stop_server().await?;
        relay.crash_at(point);
        relay.start_server().await?;
        relay.crash_nowhere();
        relay.headend(0).client(["update"]).await?.success().with_context(what)?;
        relay.sync().await?.failed_with(10).with_context(what)?;
        ensure!(relay.server_ended().await?.code().is_none(), "{point} is never come by");
        relay.start_server().await?;
        record_agrees(&relay, before).await.with_context(what)?;
        python_tuf_reads(&relay).await.with_context(what)?;
        relay.sync().await?.success().with_context(what)?;
        relay.released(before + 1).await.with_context(what)?;
        serves_what(&relay, &origin).await.with_context(what)?;
        relay.headend(0).client(["update"]).await?.success().with_context(what)?;
        shows_edition(&relay.headend(0).client(["status"]).await?.success()?.stdout, &edition).with_context(what)?;
    }
    Ok(())
}
