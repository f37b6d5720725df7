//! What a headend's update between two releases costs on the line, beside what else brings the same files, in one run. Run it
//! with `cargo run --release -p tests --bin bench-update`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Feed, Options, RealChart};
use bundles::{Component, FileName, Limits, Manifest, archive};
use clap::Parser;
use tests::lab::LabUpstream;
use tests::shared;
use tests::wire::{Exchange, WireTap};
use tests::world::{World, wait_for};
use url::Url;

/// Of the changed archives' bytes: what the payloads' answers may have (design, section 12).
const CONTENT_BAR: f64 = 0.03;

/// Of the changed archives' bytes: what all answers of an update may have, their heads counted.
const WIRE_BAR: f64 = 0.10;

/// How long increments may take to be prepared.
const PATIENCE: Duration = Duration::from_mins(10);

/// Measures an update between the two real versions of the macOS and Linux antimalware charts, beside other ways
#[derive(Debug, Parser)]
struct Arguments {
    /// Show every answer
    #[arg(long)]
    answers: bool,
    /// Fail where a bar is not met
    #[arg(long)]
    strict: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) if arguments.strict => ExitCode::FAILURE,
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One way to bring what changed.
struct Way {
    name: String,
    /// Bytes that told the content, and all bytes that came, where the two can be told apart.
    content: u64,
    all: Option<u64>,
    time: Option<Duration>,
}

async fn measure(arguments: &Arguments) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let charts = antimalware();
    let changed = changed(&charts);
    let (old, new) = (files(&changed, &charts, &Edition::before())?, files(&changed, &charts, &Edition::after())?);
    let whole: u64 = new.values().map(|file| file.archive.len() as u64).sum();

    let mut ways = Vec::new();
    for behind in [1, 12] {
        let (exchanges, time) = headend(folder.path(), &charts, &changed, behind).await?;
        if arguments.answers {
            show(&exchanges);
        }
        let answers = exchanges.iter().filter(|it| it.method == "GET");
        let content = answers.clone().filter(|it| it.path.contains("/targets/") && !it.path.ends_with(".json"));
        ways.push(Way {
            name: format!("feed-client, {behind} release{} behind", if behind == 1 { "" } else { "s" }),
            content: content.map(|it| it.body_bytes as u64).sum(),
            all: Some(exchanges.iter().map(|it| (it.head_bytes + it.body_bytes) as u64).sum()),
            time: Some(time),
        });
    }
    ways.extend(others(folder.path(), &old, &new)?);

    println!(
        "| update of {} ({whole} bytes of archives) | content | of whole | all answers | of whole | time | bars |",
        names(&new)
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut is_met = true;
    for way in &ways {
        let ours = way.name.starts_with("feed-client");
        let (content, all) = (share(way.content, whole), way.all.map(|all| share(all, whole)));
        let met = content <= CONTENT_BAR && all.is_none_or(|all| all <= WIRE_BAR);
        // The bar is for the release before; what comes from further behind stands beside it.
        let verdict = if !ours || way.name.contains("12") {
            ""
        } else if met {
            "3 %, 10 %: met"
        } else {
            "3 %, 10 %: NOT met"
        };
        is_met &= verdict.is_empty() || met;
        println!(
            "| {} | {} | {:.2} % | {} | {} | {} | {verdict} |",
            way.name,
            way.content,
            content * 100.0,
            way.all.map_or_else(String::new, |all| all.to_string()),
            all.map_or_else(String::new, |all| format!("{:.2} %", all * 100.0)),
            way.time.map_or_else(String::new, |time| format!("{:.0} ms", time.as_secs_f64() * 1e3)),
        );
    }
    Ok(is_met)
}

/// The charts that stand for the bar; made-up ones where the real data is absent.
fn antimalware() -> Vec<RealChart> {
    let charts = shared::charts().unwrap_or_else(|absent| {
        eprintln!("(made-up macOS and Linux charts: {absent})");
        Vec::new()
    });
    charts.into_iter().filter(|chart| chart.member.as_str().contains("ANTIMALWARE")).collect()
}

/// The components that change; the others stay as they are.
fn changed(charts: &[RealChart]) -> Vec<Component> {
    if charts.is_empty() {
        return vec![Component::AvAsChartMacosx, Component::AvAsChartLinux];
    }
    charts.iter().map(|chart| chart.component.clone()).collect()
}

/// A changed file in one of its versions.
struct Changed {
    archive: Vec<u8>,
    payload: Vec<u8>,
}

fn files(changed: &[Component], charts: &[RealChart], edition: &Edition) -> Result<BTreeMap<FileName, Changed>> {
    let mut edition = edition.clone();
    edition.versions.retain(|component, _| changed.contains(component));
    let feed = Feed::make(&edition, &options(charts));
    let mut files = BTreeMap::new();
    for (name, archive) in feed.files {
        let mut payload = Vec::new();
        archive::open(&mut std::io::Cursor::new(&archive), &name, &Limits::default(), &mut payload)?;
        files.insert(name, Changed { archive, payload });
    }
    Ok(files)
}

fn options(charts: &[RealChart]) -> Options {
    Options { charts: charts.to_vec(), ..Options::default() }
}

/// The feed of which the changed components are those of `edition`, and all others those of the first.
fn publish(directory: &Path, base: &Url, charts: &[RealChart], changed: &[Component], edition: &Edition) -> Result<()> {
    let mut feed = Feed::make(&Edition::before(), &options(charts));
    let newer = Feed::make(edition, &options(charts));
    for (component, version) in &mut feed.edition.versions {
        if changed.contains(component) {
            version.clone_from(&newer.edition.versions[component]);
        }
    }
    let is_changed = |name: &FileName| {
        changed.iter().any(|component| match component {
            Component::AvAsChartMacosx => name.as_str().contains("macosx"),
            Component::AvAsChartLinux => name.as_str().contains("linux"),
            _ => false,
        })
    };
    for (name, archive) in &mut feed.files {
        if is_changed(name) {
            archive.clone_from(&newer.files[name]);
        }
        write(&directory.join(name.as_str()), archive)?;
    }
    write(&directory.join(feed.index_name.as_str()), &feed.index(base))
}

/// By rename, so that nobody reads half a file.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes)?;
    Ok(fs::rename(beside, path)?)
}

/// An update of a headend that is that many releases behind: what went over the line, and how long it took.
async fn headend(
    folder: &Path,
    charts: &[RealChart],
    changed: &[Component],
    behind: u64,
) -> Result<(Vec<Exchange>, Duration)> {
    let feed = folder.join(format!("feed-{behind}"));
    fs::create_dir(&feed)?;
    let mut edition = Edition::before();
    let world = World::builder().upstream(LabUpstream::builder().directory(&feed)).headends(1).build().await?;
    let base = world.upstream().url();
    publish(&feed, &base, charts, changed, &edition)?;
    world.sync().await?.success()?;
    world.released(1).await?;
    world.enroll(0).await?;
    let tap = WireTap::before(&world.server_url()?).await?;
    let headend = world.headend(0);
    let (tap_url, root, token) = (tap.url()?, headend.root_file(), headend.token_file());
    let enroll: [&std::ffi::OsStr; 9] = [
        "enroll".as_ref(),
        "--server".as_ref(),
        tap_url.as_str().as_ref(),
        "--root".as_ref(),
        root.as_ref(),
        "--id".as_ref(),
        headend.id().as_ref(),
        "--token-file".as_ref(),
        token.as_ref(),
    ];
    headend.client(enroll).await?.success()?;
    headend.client(["update"]).await?.success()?;
    // Some releases with other changes in between; the last one is the vendor's second version where one release lies
    // between the two.
    for serial in 2..=behind + 1 {
        edition = edition.next();
        publish(&feed, &base, charts, changed, &edition)?;
        world.sync().await?.success()?;
        world.released(serial).await?;
    }
    prepared(&world, behind + 1).await?;
    tap.take()?;
    let began = Instant::now();
    headend.client(["update"]).await?.success()?;
    let time = began.elapsed();
    Ok((tap.take()?, time))
}

/// Waits until other forms of everything are there: a headend that comes at once gets the whole. gzip is made last.
async fn prepared(world: &World, serial: u64) -> Result<()> {
    let show = ["release", "show", &serial.to_string(), "--json"];
    let manifest: Manifest = world.feed_server(show).await?.success()?.json()?;
    let payloads = manifest.components.iter().flat_map(|component| &component.files).map(|file| &file.payload);
    let urls: Vec<Url> = payloads
        .map(|payload| {
            let path = format!("repo/targets/{}", payload.target_name()?.served_as(&payload.sha256));
            Ok(world.server_url()?.join(&path)?)
        })
        .collect::<Result<_>>()?;
    wait_for(PATIENCE, "increments are prepared", async || {
        let is_packed = |url: &Url| {
            let mut curl = Command::new("curl");
            let asked = curl.args(["-sI", "-H", "Accept-Encoding: gzip"]).arg(url.as_str()).output();
            asked.is_ok_and(|head| {
                String::from_utf8_lossy(&head.stdout).to_ascii_lowercase().contains("content-encoding: gzip")
            })
        };
        urls.iter().all(is_packed).then_some(())
    })
    .await
}

fn show(exchanges: &[Exchange]) {
    println!("| answer | status | coding | head | body |\n| --- | --- | --- | --- | --- |");
    for it in exchanges {
        let path: String = it.path.chars().rev().take(48).collect::<Vec<_>>().into_iter().rev().collect();
        println!("| {} {path} | {} | {} | {} | {} |", it.method, it.status, it.encoding, it.head_bytes, it.body_bytes);
    }
    println!();
}

/// What else brings the same files to whoever has the older ones.
fn others(folder: &Path, old: &BTreeMap<FileName, Changed>, new: &BTreeMap<FileName, Changed>) -> Result<Vec<Way>> {
    let [olds, news] = ["old", "new"].map(|name| folder.join(name));
    for (directory, files) in [(&olds, old), (&news, new)] {
        fs::create_dir(directory)?;
        for (name, file) in files {
            fs::write(directory.join(name.as_str()), &file.archive)?;
            fs::write(directory.join(name.as_str()).with_extension("tar"), &file.payload)?;
        }
    }
    let mut ways = vec![Way {
        name: "whole archives".to_owned(),
        content: new.values().map(|file| file.archive.len() as u64).sum(),
        all: None,
        time: None,
    }];
    for extension in ["gz", "tar"] {
        let (mut content, began) = (0, Instant::now());
        for path in with_extension(&news, extension)? {
            let name = path.file_name().context("a file has a name")?;
            let patch = folder.join("patch.zst");
            let from = olds.join(name);
            run(Command::new("zstd")
                .args(["-19", "-q", "-f", "--patch-from"])
                .arg(from)
                .arg(&path)
                .arg("-o")
                .arg(&patch))?;
            content += fs::metadata(&patch)?.len();
        }
        let what = if extension == "gz" { "archives" } else { "opened tars" };
        ways.push(Way {
            name: format!("zstd -19 --patch-from, {what}"),
            content,
            all: None,
            time: Some(began.elapsed()),
        });
    }
    ways.push(rsync(&olds, &news, folder)?);
    Ok(ways)
}

/// rsync over the opened tars, its own protocol's bytes.
fn rsync(olds: &Path, news: &Path, folder: &Path) -> Result<Way> {
    let copy = folder.join("copy");
    fs::create_dir(&copy)?;
    for path in with_extension(olds, "tar")? {
        fs::copy(&path, copy.join(path.file_name().context("a file has a name")?))?;
    }
    let began = Instant::now();
    let mut command = Command::new("rsync");
    command
        .args(["--no-whole-file", "--checksum", "--compress", "--stats"])
        .args(with_extension(news, "tar")?)
        .arg(&copy);
    let output = command.output().context("rsync is needed here")?;
    ensure!(output.status.success(), "rsync: {}", String::from_utf8_lossy(&output.stderr));
    let stats = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |label: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(label))?;
        line.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u64>().ok()
    };
    Ok(Way {
        name: "rsync --compress, opened tars".to_owned(),
        content: number("Literal data:").context("rsync's statistics")?,
        all: Some(number("Total bytes sent:").context("rsync's statistics")?),
        time: Some(began.elapsed()),
    })
}

fn with_extension(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<_> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    Ok(paths)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.with_context(|| format!("{program} is needed here"))?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

fn names(files: &BTreeMap<FileName, Changed>) -> String {
    files.keys().map(FileName::as_str).collect::<Vec<_>>().join(", ")
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn share(bytes: u64, whole: u64) -> f64 {
    bytes as f64 / whole.max(1) as f64
}
