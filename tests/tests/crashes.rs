//! Both programs are killed at every point they name, one after the other. Nothing that was acknowledged is lost, what
//! was served or run before is served or run still, and the next run heals.

use std::io::{BufRead as _, Write as _};

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use tests::peers;
use tests::world::{CRASHES_ELSEWHERE, Signal, World, archive_digests, shows_edition};

async fn points(output: tests::world::Output) -> Result<Vec<String>> {
    let points: Vec<_> = output.success()?.stdout.lines().map(str::to_owned).collect();
    ensure!(points.len() > 5, "{points:?}");
    Ok(points)
}

/// The release that the tree on disk shows to each kind of reader, checked to be whole.
async fn served_release(world: &World) -> Result<u64> {
    let root = world.export_root(&world.directory().join("root.json")).await?;
    let scratch = tempfile::tempdir()?;
    let targets = peers::python_tuf(&world.server_url()?.join("repo")?, &root, &scratch.path().join("online"))?;
    let serial = targets
        .keys()
        .find_map(|name| name.strip_prefix("release-")?.strip_suffix(".json")?.parse().ok())
        .context("a manifest is among the targets")?;

    let index = peers::curl(&world.server_url()?.join("web/secure/spa/posture-update.xml")?, None)?;
    let index = String::from_utf8(index)?;
    let base = world.server_url()?.join(&format!("web/secure/spa/r/{serial}/"))?;
    let digests = archive_digests(&world.upstream().feed().context("a fake feed")?);
    for name in digests.keys() {
        let locator = base.join(name)?;
        ensure!(index.contains(locator.as_str()), "the vendor's layout is of another release than {serial}:\n{index}");
        let digest = bundles::Digest::of(&peers::curl(&locator, None)?).to_string();
        ensure!(targets.iter().any(|(path, signed)| path.ends_with(name) && *signed == digest), "{locator}");
    }
    Ok(serial)
}

#[tokio::test]
async fn the_server_survives_a_kill_at_every_point() -> Result<()> {
    // Two releases retained: so that the third and later ones come by the points of cleaning up as well.
    let mut world = World::builder().headends(1).set("data", "retain_releases", 2).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    let points = points(world.feed_server(["crash-points"]).await?).await?;
    let is_other = |point: &String| CRASHES_ELSEWHERE.iter().any(|other| point.starts_with(other));
    let points: Vec<_> = points.into_iter().filter(|point| !is_other(point)).collect();
    let mut edition = world.upstream().edition().context("a fake feed")?;
    let mut serial = 1;
    // Once in a command without a server, once in a server that is told to sync.
    let rounds = points.iter().map(|point| (point, false)).chain(points.iter().map(|point| (point, true)));
    for (point, serving) in rounds {
        world.stop_server().await?;
        edition = edition.next();
        world.upstream().publish(edition.clone())?;
        world.crash_at(point);
        // Starting is publishing too: a server may come by the point before it listens.
        if serving && world.start_server().await.is_ok() {
            let output = world.feed_server(["sync"]).await?;
            ensure!(!output.status.success(), "the server dies at {point}, and its command says {output}");
        }
        if serving {
            let status = world.server_ended().await?;
            ensure!(status.code().is_none(), "{point} is never come by: the server ended with {status}");
        } else {
            world.feed_server(["sync"]).await?.crashed().with_context(|| format!("{point} is never come by"))?;
        }
        world.crash_nowhere();

        // What the kill left is one release or the other, whole.
        world.set("upstream", "kind", "none")?;
        world.start_server().await?;
        let found = served_release(&world).await.with_context(|| format!("after a kill at {point}"))?;
        ensure!(
            found == serial || found == serial + 1,
            "after a kill at {point}: release {found}, not {serial} or the next"
        );
        world.headend(0).client(["update"]).await?.success().with_context(|| format!("after a kill at {point}"))?;
        world.stop_server().await?;

        // And the next run heals.
        world.set("upstream", "kind", "vendor")?;
        world.start_server().await?;
        world.sync().await?.success().with_context(|| format!("after a kill at {point}"))?;
        serial += 1;
        world.released(serial).await.with_context(|| format!("after a kill at {point}"))?;
        ensure!(served_release(&world).await? == serial, "after a kill at {point}");
        shows_edition(&world.feed_server(["status"]).await?.success()?.stdout, &edition)?;
        world.headend(0).client(["update"]).await?.success()?;
        shows_edition(&world.headend(0).client(["status"]).await?.success()?.stdout, &edition)?;
        let headends = world.feed_server(["headend", "list"]).await?.success()?.stdout;
        ensure!(headends.contains("headend-1"), "after a kill at {point} the headend is forgotten: {headends}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cooldown_is_kept_as_soon_as_it_is_known() -> Result<()> {
    let mut world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.upstream().break_with(tests::lab::Fault::RateLimited)?;
    let points = points(world.feed_server(["crash-points"]).await?).await?;
    let points: Vec<_> = points.iter().filter(|point| point.starts_with("manners.")).collect();
    ensure!(points.len() == 2, "{points:?}");
    for point in points {
        world.stop_server().await?;
        world.crash_at(point);
        world.feed_server(["sync", "--ignore-cooldown"]).await?.crashed().with_context(|| point.clone())?;
        world.crash_nowhere();
        world.start_server().await?;
        let output = world.sync().await?;
        let kept = output.stderr.contains("(cooldown)");
        ensure!(kept == (point == "manners.kept"), "after a kill at {point}: {output}");
        ensure!(output.code() == Some(13), "{output}");
        world.feed_server(["sync", "--ignore-cooldown"]).await?.failed_with(13)?;
        // The next point begins without one.
        world.upstream().mend()?;
        world.feed_server(["sync", "--ignore-cooldown"]).await?.success()?;
        world.upstream().break_with(tests::lab::Fault::RateLimited)?;
    }
    Ok(())
}

/// Promise 8, however little time there was to note the refusal.
#[tokio::test]
async fn a_refused_password_is_known_after_a_kill_right_after_the_refusal() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let proxy = listener.local_addr()?.to_string();
    let (knocked, knocks) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> Result<()> {
        for stream in listener.incoming() {
            let mut stream = std::io::BufReader::new(stream?);
            let mut line = String::new();
            while stream.read_line(&mut line)? > 2 {
                line.clear();
            }
            let refusal = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
            stream.get_mut().write_all(refusal)?;
            knocked.send(())?;
        }
        Ok(())
    });
    for point in ["manners.before_keep", "manners.kept"] {
        let mut world = World::builder().stopped().build().await?;
        let password = world.directory().join("password");
        std::fs::write(&password, "wrong")?;
        std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let settings = [
            ("url", format!("http://{proxy}")),
            ("username", "u".to_owned()),
            ("password_file", "password".to_owned()),
        ];
        world.set("upstream", "proxy", settings.into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
        world.crash_at(point);
        world.feed_server(["sync"]).await?.crashed().context(point)?;
        world.crash_nowhere();
        let status = world.feed_server(["status", "--json"]).await?.success()?.stdout;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        let known = status.pointer("/proxy_password_refused/proxy").and_then(serde_json::Value::as_str);
        ensure!(known == Some(format!("http://u@{proxy}").as_str()), "after a kill at {point}: {status}");
        ensure!(knocks.try_iter().count() == 1, "after a kill at {point}");
    }
    Ok(())
}

/// Not at a point of our choosing, but in the midst of a download, from outside, as the kernel does it.
#[tokio::test]
async fn a_serving_server_survives_a_kill_during_a_download() -> Result<()> {
    let mut world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.upstream().publish(Edition::after())?;
    let gate = world.upstream().gate("/web/secure/spa/avchart-win.tar.gz", 100);
    let sync = world.invocation(["sync"]);
    let sync = tokio::spawn(async move { sync.output().await });
    gate.reached(tests::world::DEADLINE).await?;
    world.kill_server().await?;
    gate.release();
    let output = sync.await??;
    ensure!(!output.status.success(), "the command says that its server is gone: {output}");
    world.set("upstream", "kind", "none")?;
    world.start_server().await?;
    ensure!(served_release(&world).await? == 1);
    let staging = std::fs::read_dir(world.data().join("staging"))?.count();
    ensure!(staging == 0, "{staging} files are left in staging");
    world.stop_server().await?;
    world.set("upstream", "kind", "vendor")?;
    world.start_server().await?;
    world.sync().await?.success()?;
    world.released(2).await?;
    world.headend(0).client(["update"]).await?.success()?;
    shows_edition(&world.headend(0).client(["status"]).await?.success()?.stdout, &Edition::after())
}

#[tokio::test]
async fn a_headend_survives_a_kill_at_every_point() -> Result<()> {
    let mut world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    let points = of_updates(points(world.headend(0).client(["crash-points"]).await?).await?);
    let mut edition = world.upstream().edition().context("a fake feed")?;
    let hook = world.directory().join("hook");
    std::fs::write(&hook, "#!/bin/sh\nexit 0\n")?;
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    world.headend(0).configure(&format!("[apply]\nhook = {hook:?}\nkeep_releases = 2\n"))?;
    world.enroll_all().await?;

    let mut come_by = Vec::new();
    // The first round of points is met by a first apply (default policies), the second by later ones (pruning).
    for point in points.iter().chain(&points) {
        if point == "client.refresh.root_stored" {
            // There is a root to be stored only where another one follows.
            world.feed_server(["keys", "rotate", "timestamp"]).await?.success()?;
        }
        let before = world.headend(0).current();
        world.headend_mut(0).crash_at(point);
        let output = world.headend(0).client(["update"]).await?;
        world.headend_mut(0).crash_nowhere();
        if output.code().is_none() {
            come_by.push(point.clone());
        }
        // `current` leads to one whole release or the other, never to none where there was one.
        let after = world.headend(0).current();
        ensure!(before.is_none() || after.is_some(), "a kill at {point} leaves no release running");
        world.headend(0).client(["status"]).await?.success().with_context(|| format!("after a kill at {point}"))?;

        world.headend(0).client(["update"]).await?.success().with_context(|| format!("after a kill at {point}"))?;
        let status = world.headend(0).client(["status"]).await?.success()?.stdout;
        shows_edition(&status, &edition).with_context(|| format!("after a kill at {point}"))?;
        let policies = std::fs::read_dir(world.headend(0).data().join("policy"))?.count();
        ensure!(policies > 0, "after a kill at {point}: default policies are missing");

        edition = edition.next();
        world.upstream().publish(edition.clone())?;
        world.sync().await?.success()?;
    }
    for point in &points {
        // What comes with a headend's first update alone, whichever point that was to be killed at.
        let of_the_first = point.starts_with("client.defaults") || point == "client.offline_root.stored";
        // What comes whole, which nothing does as soon as the server has prepared less; feed-client's own tests kill it there.
        let of_the_whole = point == "client.download.whole";
        ensure!(come_by.contains(point) || of_the_first || of_the_whole, "{point} is never come by");
    }
    Ok(())
}

/// The points that updates pass; those of imports are met where bundles are carried.
fn of_updates(points: Vec<String>) -> Vec<String> {
    let is_of_imports = |point: &String| point.starts_with("client.import.") || point.starts_with("client.receipt.");
    points.into_iter().filter(|point| !is_of_imports(point)).collect()
}

/// Defaults are made by the first apply, so each of their points needs a headend of its own.
#[tokio::test]
async fn default_policies_are_made_once_wherever_the_first_apply_is_killed() -> Result<()> {
    let first = World::builder().headends(1).build().await?;
    let points = of_updates(points(first.headend(0).client(["crash-points"]).await?).await?);
    drop(first);
    let points: Vec<_> = points.iter().filter(|point| point.starts_with("client.")).collect();
    let mut world = World::builder().headends(points.len()).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    for (number, point) in points.iter().enumerate() {
        world.headend_mut(number).crash_at(point);
        let output = world.headend(number).client(["update"]).await?;
        world.headend_mut(number).crash_nowhere();
        world.headend(number).client(["update"]).await?.success()?;
        let policy = world.headend(number).data().join("policy");
        let made: Vec<_> = walkdir::WalkDir::new(&policy)
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .map(walkdir::DirEntry::into_path)
            .collect();
        ensure!(made.len() >= 2, "after a kill at {point}: {made:?}; {output}");
        // One is deleted, one edited: both stay so.
        std::fs::remove_file(&made[0])?;
        std::fs::write(&made[1], "edited")?;
    }
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    for (number, point) in points.iter().enumerate() {
        let headend = world.headend(number);
        headend.client(["update"]).await?.success()?;
        headend.client(["rollback"]).await?.success()?;
        headend.client(["update"]).await?.success()?;
        let files: Vec<_> = walkdir::WalkDir::new(headend.data().join("policy"))
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .collect();
        let edited = files.iter().filter(|file| std::fs::read(file.path()).is_ok_and(|text| text == b"edited")).count();
        ensure!(edited == 1, "after a kill at {point}: the edit is gone");
        let again = headend.client(["update"]).await?.success()?;
        ensure!(again.stdout.contains("up to date"), "{again}");
    }
    Ok(())
}

/// SIGKILL from outside while a client runs as a service; started again, it goes on.
#[tokio::test]
async fn a_running_client_that_is_killed_goes_on_when_started_again() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    let mut running = world.headend(0).start()?;
    let applied = async || world.headend(0).current().is_some();
    tests::world::wait_until(tests::world::DEADLINE, "a release runs", applied).await?;
    running.signal(Signal::KILL)?;
    running.end(tests::world::DEADLINE).await?;
    world.upstream().publish(Edition::after())?;
    world.sync().await?.success()?;
    let mut again = world.headend(0).start()?;
    let newer = async || world.headend(0).current().is_some_and(|path| path.ends_with("releases/2"));
    tests::world::wait_until(tests::world::DEADLINE, "release 2 runs", newer).await?;
    again.signal(Signal::TERM)?;
    again.end(tests::world::DEADLINE).await?;
    Ok(())
}
