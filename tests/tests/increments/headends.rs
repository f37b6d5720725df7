//! Headends whose increments go wrong: cut off, damaged, of a server that is killed. Nothing wrong is applied, the next run heals
//! or this one does, and it is said.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bundles::report::{Report, Transfer};
use bundles::{Digest, FileName, increment};
use serde_json::Value;
use tests::bench::rows;
use tests::lab::LabUpstream;
use tests::peers::Nginx;
use tests::wire::WireTap;
use tests::wire::meddler::{Fate, Meddler};
use tests::world::{DEADLINE, Metrics, World, wait_until};

use super::{Repository, get, get_with, prepared};

/// What changes from release to release, and how its increments are known.
const CONDITIONS: &str = "-conditions.tar";

/// Makes something else of an increment.
type Wrong = Box<dyn Fn(&[u8]) -> Fate + Send + Sync>;

/// A server behind whoever meddles; that many headends run release 1, and everything of release 2 is prepared.
async fn one_release_behind(headends: usize) -> Result<(World, Meddler)> {
    let world = World::builder().headends(headends).build().await?;
    let meddler = Meddler::before(&world.server_url()?).await?;
    world.sync().await?.success()?;
    world.released(1).await?;
    for number in 0..headends {
        follow(&world, number, &meddler).await?;
    }
    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    world.released(2).await?;
    prepared(&world).await?;
    Ok((world, meddler))
}

async fn follow(world: &World, number: usize, meddler: &Meddler) -> Result<()> {
    let headend = world.headend(number);
    headend.configure(&format!("[metrics]\ntextfile = {:?}\n", textfile(world, number)))?;
    world.enroll_by(number, &meddler.url()?).await?;
    headend.client(["update"]).await?.success().map(drop)
}

fn textfile(world: &World, number: usize) -> std::path::PathBuf {
    world.directory().join(format!("headend-{number}.prom"))
}

fn runs(world: &World, number: usize, serial: u64) -> Result<()> {
    let current = world.headend(number).current().context("a release runs")?;
    ensure!(current.ends_with(format!("releases/{serial}")), "{} runs", current.display());
    Ok(())
}

/// How the release came that a headend runs, as it says itself and as it told the server.
async fn transfer(world: &World, number: usize) -> Result<Transfer> {
    let headend = world.headend(number);
    let status: Value = headend.client(["status", "--json"]).await?.success()?.json()?;
    let says: Transfer = serde_json::from_value(status["last_transfer"].clone())?;
    let known: Value = world.feed_server(["headend", "list", "--json"]).await?.success()?.json()?;
    let of_it = known.as_array().context("a list")?.iter().find(|known| known["id"] == headend.id());
    let report = of_it.context("the server knows it")?["report"]["report"].clone();
    let told = serde_json::from_value::<Report>(report)?.transfer.context("a report says how a release came")?;
    ensure!(told == says, "{told:?} was told, and {says:?} is so");
    Ok(says)
}

fn same_files(one: &Path, other: &Path) -> Result<()> {
    let diff = std::process::Command::new("diff").arg("-r").args([one, other]).output()?;
    ensure!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
    Ok(())
}

/// That an update came to its end whole, after what came packed for one payload was refused.
async fn refused_and_whole(world: &World, number: usize, what: &str, reasons: &[&str]) -> Result<()> {
    let output = world.headend(number).client(["update"]).await?.success().with_context(|| what.to_owned())?;
    ensure!(output.stderr.contains("came packed and was refused, so it is fetched whole"), "{what}: {output}");
    runs(world, number, 2)?;
    let came = transfer(world, number).await?;
    ensure!(came.fallbacks == 1 && came.whole == 1, "{what}: {came:?}");
    let [refused] = &came.refused[..] else { anyhow::bail!("{what}: {came:?}") };
    ensure!(reasons.contains(&refused.reason.as_str()) && refused.message.len() > 20, "{what}: {came:?}");
    let metrics = Metrics::parse(&std::fs::read_to_string(textfile(world, number))?)?;
    ensure!(metrics.value("posture_feed_client_increment_fallback_total", &[]) == Some(1.0), "{what}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_increment_is_never_applied() -> Result<()> {
    let (world, meddler) = one_release_behind(6).await?;
    // One that nobody meddles with: what the others run must be the same.
    world.headend(5).client(["update"]).await?.success()?;
    let came = transfer(&world, 5).await?;
    ensure!(came.increments > 2 && (came.whole, came.fallbacks) == (0, 0), "{came:?}");
    let right = world.headend(5).current().context("a release runs")?;

    let repository = Repository::now(&world)?;
    let new =
        repository.payloads()?.into_iter().find(|(path, _)| path.ends_with(CONDITIONS)).context("it is served")?;
    let new = get(&world, &new.0, &[])?.body;
    let others = increment::increment(b"something else", &new)?;
    let cases: [(&str, Wrong, &[&str]); 5] = [
        (
            "a flipped bit",
            Box::new(|body| {
                let mut body = body.to_vec();
                let at = body.len() - 2;
                body[at] ^= 0x10;
                Fate::Body(body)
            }),
            &["bad_archive", "digest_mismatch", "truncated"],
        ),
        ("one for another base", Box::new(move |_| Fate::Body(others.clone())), &["digest_mismatch"]),
        ("half of one", Box::new(|body| Fate::Body(body[..body.len() / 2].to_vec())), &["truncated"]),
        (
            "an endless one",
            Box::new(|body| Fate::Endless(body.to_vec(), body[increment::HEADER_BYTES..].to_vec())),
            &["bad_archive", "too_large"],
        ),
        (
            "a bomb",
            Box::new(|body| {
                // For the right base, whose digest the header holds; zeros need none.
                let mut bomb = body[..increment::HEADER_BYTES].to_vec();
                bomb.extend(increment::zstd(&vec![0; 64 << 20]).unwrap_or_default());
                Fate::Body(bomb)
            }),
            &["too_large"],
        ),
    ];
    for (number, (what, wrong, reasons)) in cases.into_iter().enumerate() {
        meddler.meddle(move |path, coding, body| match coding {
            "dcz" if path.ends_with(CONDITIONS) => wrong(body),
            _ => Fate::Pass,
        });
        refused_and_whole(&world, number, what, reasons).await?;
        same_files(&right, &world.headend(number).current().context("a release runs")?)?;
    }
    Ok(())
}

/// Bytes that no compression makes smaller.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let digests =
        (0_u64..).flat_map(|number| *Digest::of(&[seed.to_le_bytes(), number.to_le_bytes()].concat()).as_bytes());
    digests.take(length).collect()
}

#[tokio::test]
async fn an_increment_that_rots_on_the_server_is_never_applied() -> Result<()> {
    // So much is new that its increment is not held in memory, where nothing rots.
    let feed = tempfile::tempdir()?;
    let world = World::builder().upstream(LabUpstream::builder().directory(feed.path())).headends(2).build().await?;
    let meddler = Meddler::before(&world.server_url()?).await?;
    let publish = |edition: u64| -> Result<()> {
        let content = (0..=edition).flat_map(|part| noise(part, 150_000)).collect::<Vec<u8>>();
        let name: FileName = "conditions.tar.gz".parse()?;
        let archives = BTreeMap::from([(name, rows::archive(&content)?)]);
        for (name, archive) in &archives {
            std::fs::write(feed.path().join(name.as_str()), archive)?;
        }
        Ok(std::fs::write(
            feed.path().join("posture-update.xml"),
            rows::index(&archives, &world.upstream().url(), edition + 1)?,
        )?)
    };
    publish(0)?;
    world.sync().await?.success()?;
    world.released(1).await?;
    let payload = || -> Result<String> {
        Ok(Repository::now(&world)?.payloads()?.into_iter().next().context("there is a payload")?.0)
    };
    let old = get(&world, &payload()?, &[])?.body;
    for number in [0, 1] {
        follow(&world, number, &meddler).await?;
    }
    publish(1)?;
    world.sync().await?.success()?;
    world.released(2).await?;
    let is_there =
        async || payload().and_then(|path| get_with(&world, &path, &old)).is_ok_and(|it| it.coding() == "dcz");
    wait_until(DEADLINE, "the increment is prepared", is_there).await?;
    let increment = get_with(&world, &payload()?, &old)?.body;
    let rotten = world.data().join("prepared");
    let sha256 = Digest::of(&increment).to_string();
    let rotten = rotten.join(&sha256[..2]).join(&sha256);
    let mut bytes = std::fs::read(&rotten).with_context(|| rotten.display().to_string())?;
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&rotten, &bytes)?;
    refused_and_whole(&world, 0, "a flipped bit", &["bad_archive", "digest_mismatch"]).await?;
    // What is not there at all is not offered.
    std::fs::remove_file(&rotten)?;
    world.headend(1).client(["update"]).await?.success()?;
    runs(&world, 1, 2)?;
    let came = transfer(&world, 1).await?;
    ensure!((came.whole + came.compressed, came.fallbacks) == (1, 0), "{came:?}");
    let current = |number: usize| world.headend(number).current().context("a release runs");
    same_files(&current(0)?, &current(1)?)
}

#[tokio::test]
async fn a_client_that_is_killed_in_an_increment_heals() -> Result<()> {
    let points = ["client.download.partial", "client.download.done", "client.stage.unpacked", "client.stage.renamed"];
    let (mut world, _meddler) = one_release_behind(points.len()).await?;
    for (number, point) in points.iter().enumerate() {
        world.headend_mut(number).crash_at(point);
        world
            .headend(number)
            .client(["update"])
            .await?
            .crashed()
            .with_context(|| format!("{point} is never come by"))?;
        world.headend_mut(number).crash_nowhere();
        runs(&world, number, 1)?;
        world
            .headend(number)
            .client(["update"])
            .await?
            .success()
            .with_context(|| format!("after a kill at {point}"))?;
        runs(&world, number, 2)?;
        let came = transfer(&world, number).await?;
        ensure!((came.whole, came.fallbacks) == (0, 0), "after a kill at {point}: {came:?}");
        let current = world.headend(number).current().context("a release runs")?;
        same_files(&world.headend(0).current().context("a release runs")?, &current)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_killed_in_an_increment_is_asked_again() -> Result<()> {
    let (mut world, meddler) = one_release_behind(1).await?;
    meddler.meddle(|path, coding, _| match coding {
        "dcz" if path.ends_with(CONDITIONS) => Fate::Hold(increment::HEADER_BYTES + 10),
        _ => Fate::Pass,
    });
    let update = world.headend(0).invocation(["update"]);
    let update = tokio::spawn(async move { update.output().await });
    meddler.holding(DEADLINE).await?;
    world.kill_server().await?;
    let output = update.await??;
    ensure!(!output.status.success(), "its server is gone: {output}");
    runs(&world, 0, 1)?;

    meddler.meddle(|_, _, _| Fate::Pass);
    world.start_server().await?;
    world.headend(0).client(["update"]).await?.success()?;
    runs(&world, 0, 2)?;
    let came = transfer(&world, 0).await?;
    ensure!(came.fallbacks == 0, "{came:?}");
    Ok(())
}

#[tokio::test]
async fn a_poll_after_a_timestamp_that_came_packed_is_one_request() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    let tap = WireTap::before(&world.server_url()?).await?;
    let headend = world.headend(0);
    for serial in [1, 2] {
        if serial > 1 {
            world.upstream().publish_next()?;
        }
        world.sync().await?.success()?;
        world.released(serial).await?;
        prepared(&world).await?;
        if serial == 1 {
            world.enroll_by(0, &tap.url()?).await?;
        }
        tap.take()?;
        headend.client(["update"]).await?.success()?;
        runs(&world, 0, serial)?;
        let answers = tap.take()?;
        let timestamp = answers.iter().find(|it| it.path.ends_with("timestamp.json")).context("it is asked for")?;
        ensure!((timestamp.status, timestamp.encoding.as_str()) == (200, "zstd"), "{timestamp:?}");

        headend.client(["update"]).await?.success()?;
        let answers = tap.take()?;
        let seen: Vec<_> = answers.iter().map(|it| (it.method.as_str(), it.status, it.body_bytes)).collect();
        ensure!(seen == [("GET", 304, 0), ("PUT", 204, 0)], "{answers:?}");
    }
    Ok(())
}

#[tokio::test]
async fn twelve_releases_behind_everything_that_is_new_comes_by_increments() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    let tap = WireTap::before(&world.server_url()?).await?;
    world.sync().await?.success()?;
    world.released(1).await?;
    world.enroll_by(0, &tap.url()?).await?;
    world.headend(0).client(["update"]).await?.success()?;
    for serial in 2..=13 {
        world.upstream().publish_next()?;
        world.sync().await?.success()?;
        world.released(serial).await?;
    }
    prepared(&world).await?;
    tap.take()?;
    world.headend(0).client(["update"]).await?.success()?;
    runs(&world, 0, 13)?;
    let answers = tap.take()?;
    let fetched = answers.iter().filter(|it| it.status == 200 && !it.path.ends_with("timestamp.json"));
    let fetched: Vec<_> = fetched.map(|it| (it.path.as_str(), it.encoding.as_str())).collect();
    ensure!(fetched.len() > 5 && fetched.iter().all(|(_, encoding)| *encoding == "dcz"), "{fetched:?}");
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_takes_a_prefix_away_passes_increments() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    let server = world.server_url()?;
    let nginx =
        Nginx::start_fast(world.directory(), None, &format!("location /feed/ {{ proxy_pass {server}; }}")).await?;
    world.sync().await?.success()?;
    world.released(1).await?;
    world.enroll_by(0, &format!("http://{}/feed", nginx.address()).parse()?).await?;
    let headend = world.headend(0);
    headend.client(["update"]).await?.success()?;
    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    world.released(2).await?;
    prepared(&world).await?;
    headend.client(["update"]).await?.success()?;
    runs(&world, 0, 2)?;
    let came = transfer(&world, 0).await?;
    ensure!(came.increments > 2 && (came.whole, came.fallbacks) == (0, 0), "{came:?}");
    // And a poll that finds nothing new is one request there, too.
    let polls = async || -> Result<f64> {
        let labels = [("route", "/repo/metadata/{file}"), ("method", "GET")];
        let metrics = world.metrics().await?;
        let of_metadata = metrics.all("posture_feed_http_requests_total");
        let is_one = |sample: &&tests::world::Sample| labels.iter().all(|(name, value)| sample.labels[*name] == *value);
        Ok(of_metadata.filter(is_one).map(|sample| sample.value).sum())
    };
    let before = polls().await?;
    headend.client(["update"]).await?.success()?;
    ensure!(polls().await? == before + 1.0);
    Ok(())
}
