//! First contact with a feed that nobody here has seen: it is captured, replayed and mirrored, by the real programs.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bundles::fake::{Dialect, Edition, Options};
use serde_json::Value;
use tests::lab::{LabUpstream, Raw};
use tests::shared;
use tests::world::World;

/// Component, version, and digests of the archives, as release 1 has them.
async fn release(world: &World) -> Result<Vec<Value>> {
    let shown = world.feed_server(["release", "show", "1", "--json"]).await?.success()?;
    let release: Value = serde_json::from_str(&shown.stdout)?;
    let components = release["components"].as_array().with_context(|| release.to_string())?;
    Ok(components.clone())
}

async fn capture(world: &World, out: &Path, more: &[&str]) -> Result<String> {
    let out = out.to_str().context("a path that is text")?;
    let url = world.upstream().url();
    let arguments = [&["capture", url.as_str(), "--out", out], more].concat();
    Ok(world.feed_server(arguments).await?.success()?.stdout)
}

#[tokio::test]
async fn what_was_captured_is_replayed_and_mirrored_as_the_original() -> Result<()> {
    // Absolute locators, relative ones, and ones in CDATA.
    for dialect in [Dialect::Attributes, Dialect::Elements, Dialect::CData] {
        let upstream = LabUpstream::builder().options(Options::small()).dialect(dialect);
        let original = World::builder().upstream(upstream).build().await?;
        original.sync().await?.success()?;
        let file = original.directory().join("capture.zip");
        capture(&original, &file, &["--archives"]).await?;

        let replay = World::builder().upstream(LabUpstream::builder().capture(&file)).build().await?;
        replay.sync().await?.success()?;
        ensure!(release(&replay).await? == release(&original).await?, "{dialect:?}");
        // Headers are replayed as well: what has not changed is not sent again.
        replay.upstream().clear_requests();
        let again = replay.sync().await?.success()?.stdout;
        ensure!(again.contains("Already up to date"), "{again}");
        let requests = replay.upstream().requests();
        ensure!(requests.len() == 7 && requests.iter().all(|request| request.status == 304), "{requests:?}");
        let original_path = original.upstream().url().path().to_owned();
        ensure!(requests.iter().any(|request| request.path == original_path), "{requests:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_capture_of_answers_with_headers_of_their_own_is_replayed_verbatim() -> Result<()> {
    let original = World::builder().stopped().build().await?;
    let page = b"<feed><c url='osgroups.tar.gz'/></feed>".to_vec();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers =
        vec![header("ETag", "W/\"weak\""), header("X-Vendor", "yes"), header("Content-Type", "application/xml")];
    let path = original.upstream().url().path().to_owned();
    original.upstream().answer(&path, Raw { status: 200, headers, body: page.clone() });
    let file = original.directory().join("capture.zip");
    capture(&original, &file, &[]).await?;

    let replay = LabUpstream::builder().capture(&file).start()?;
    let verifier = certs::PinnedVerifier::new(replay.chain().anchors()?)?;
    let client =
        reqwest::Client::builder().tls_backend_preconfigured(certs::client_config(verifier)).no_proxy().build()?;
    let answer = client.get(replay.url()).send().await?;
    ensure!(
        answer.headers()["etag"] == "W/\"weak\"" && answer.headers()["x-vendor"] == "yes",
        "{:?}",
        answer.headers()
    );
    ensure!(answer.headers()["content-type"] == "application/xml", "{:?}", answer.headers());
    ensure!(answer.bytes().await? == page);
    let missing = client.get(replay.url_of("osgroups.tar.gz")).send().await?;
    ensure!(missing.status() == 404, "an archive that was not captured");
    Ok(())
}

#[tokio::test]
async fn an_unknown_dialect_is_mirrored_loudly() -> Result<()> {
    let upstream = LabUpstream::builder().options(Options::small()).dialect(Dialect::Listed);
    let world = World::builder().upstream(upstream).build().await?;
    world.sync().await?.success()?;
    let components = release(&world).await?;
    ensure!(components.len() == 5, "{components:?}");
    let digests = components.iter().filter(|c| c["version"].as_str().is_some_and(|v| v.starts_with("sha256:")));
    ensure!(digests.count() == 2, "what has no version inside has its digest: {components:?}");
    let status = world.feed_server(["status"]).await?.success()?.stdout;
    ensure!(status.contains("feed-server inspect") && status.contains("docs/first-contact.md"), "{status}");
    let warned = world.metrics().await?.value("posture_feed_warning", &[("kind", "unknown_dialect")]);
    ensure!(warned == Some(1.0), "{warned:?}");
    Ok(())
}

#[tokio::test]
async fn real_charts_in_an_index_without_versions_have_the_version_that_stands_in_them() -> Result<()> {
    let charts = match shared::charts() {
        Ok(charts) => charts,
        Err(absent) => {
            eprintln!("skipped: {absent}");
            return Ok(());
        }
    };
    let directory = tempfile::tempdir()?;
    let mut index = String::from("<?xml version=\"1.0\"?>\n<Charts>\n");
    for chart in &charts {
        let name = format!("{}.gz", chart.member);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&chart.second)?;
        std::fs::write(directory.path().join(&name), gzip.finish()?)?;
        index.push_str(&format!("  <Chart><File>{name}</File></Chart>\n"));
    }
    index.push_str("</Charts>\n");
    std::fs::write(directory.path().join("posture-update.xml"), index)?;
    let world = World::builder().upstream(LabUpstream::builder().directory(directory.path())).build().await?;
    world.sync().await?.success()?;
    let versions: Vec<_> =
        release(&world).await?.iter().map(|c| (c["component"].clone(), c["version"].clone())).collect();
    let expected = [("av-as-chart-macosx", "4.3.4325.0"), ("av-as-chart-linux", "4.3.3928.0")];
    ensure!(versions == expected.map(|(component, version)| (component.into(), version.into())), "{versions:?}");
    Ok(())
}

#[tokio::test]
async fn whom_a_run_may_ask_inspect_and_capture_may_ask_and_each_host_is_named_with_its_line() -> Result<()> {
    let world = World::builder().stopped().build().await?;
    let other = LabUpstream::builder().options(Options::small()).host("127.0.0.1").start()?;
    other.write_ca(&world.directory().join("other.pem"))?;
    let archive = other.url_of("osgroups.tar.gz");
    let index = format!("<feed><file version='1.0'>{archive}</file></feed>");
    world.upstream().answer(world.upstream().url().path(), Raw::ok(index));
    for (number, (key, value)) in [
        ("allowed_hosts", vec!["127.0.0.1"].into()),
        ("fallback_urls", vec![other.url_of("posture-update.xml").to_string()].into()),
        ("offline_zip_url", toml::Value::from(other.url_of("posture-offline.zip").to_string())),
    ]
    .into_iter()
    .enumerate()
    {
        let mut upstream = toml::Table::new();
        upstream.insert("url".to_owned(), world.upstream().url().as_str().into());
        upstream.insert("trust_anchors".to_owned(), vec!["lab-ca.pem", "other.pem"].into());
        upstream.insert(key.to_owned(), value);
        let config = toml::Table::from_iter([("upstream".to_owned(), upstream.into())]);
        std::fs::write(world.config(), toml::to_string(&config)?)?;
        let url = world.upstream().url();
        let shown = world.feed_server(["inspect", url.as_str(), "--archives"]).await?.success().context(key)?.stdout;
        let line = format!("127.0.0.1: 1 file from it; allowed by [upstream] {key} = ");
        ensure!(shown.contains(&line), "{line} is not in {shown}");
        capture(&world, &world.directory().join(format!("capture-{number}.zip")), &["--archives"])
            .await
            .context(key)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_page_about_first_contact_shows_commands_that_work() -> Result<()> {
    let page = std::fs::read_to_string(shared::workspace().join("docs/first-contact.md"))?;
    let upstream = LabUpstream::builder().options(Options::small()).edition(Edition::after());
    let world = World::builder().upstream(upstream).stopped().build().await?;
    let url = world.upstream().url();
    let mut verbs = BTreeSet::new();
    // Output that it shows begins with the program's name and a colon.
    for line in page.lines().filter_map(|line| line.strip_prefix("feed-server ")) {
        let here = |word: &str| {
            if word.starts_with("https://www.cisco.com/") {
                url.to_string()
            } else if word.ends_with(".zip") {
                world.directory().join(word).display().to_string()
            } else {
                word.to_owned()
            }
        };
        let command: Vec<String> = line.split(' ').map(here).collect();
        verbs.insert(command[0].clone());
        world.feed_server(&command).await?.success().with_context(|| line.to_owned())?;
    }
    ensure!(verbs.iter().eq(["capture", "doctor", "inspect"]), "{verbs:?}");
    ensure!(!world.data().exists(), "nothing on the page makes a data directory");
    Ok(())
}
