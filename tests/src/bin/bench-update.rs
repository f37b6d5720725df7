//! What a headend's update costs on the line, beside what else brings the same files, in one run: between the two real versions of
//! the macOS and Linux antimalware charts, from one and from twelve releases behind, and in a large feed of which little changes.
//! Content is what the answers with payloads hold, everything is all bytes of all answers: heads, metadata and the report's. Run it
//! with `cargo run --release -p tests --bin bench-update`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Feed, Options, RealChart};
use bundles::{Component, FileName, Manifest};
use clap::Parser;
use tests::bench::others::{Files, Of, Others, Version, Way};
use tests::bench::{self, rows};
use tests::lab::LabUpstream;
use tests::shared;
use tests::wire::{Exchange, WireTap};
use tests::world::{World, wait_for};
use url::Url;

/// Of the changed archives' bytes: what the payloads' answers may have (design, section 12).
const CONTENT_BAR: f64 = 0.03;

/// Of the changed archives' bytes: what all answers of an update may have, their heads counted (design, section 12).
const WIRE_BAR: f64 = 0.10;

/// Of what `zstd -19 --patch-from` makes of the opened tars: what one increment may have, and this many bytes more (design,
/// section 12).
const PATCH_BAR: (f64, f64) = (1.1, 64.0);

/// How long increments may take to be prepared.
const PATIENCE: Duration = Duration::from_mins(10);

/// Measures a headend's updates beside other ways to bring the same files
#[derive(Debug, Parser)]
struct Arguments {
    /// Show every answer
    #[arg(long)]
    answers: bool,
    /// Size of the large feed's opened archives together, in megabytes; 0 leaves it out
    #[arg(long, default_value_t = 100)]
    megabytes: u64,
    /// Fail where a bar is not met
    #[arg(long)]
    strict: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    bench::exit(measure(&arguments).await, arguments.strict)
}

async fn measure(arguments: &Arguments) -> Result<bool> {
    let charts = antimalware();
    let mut is_met = true;
    for behind in [1, 12] {
        let title = format!("the real charts, {behind} release{} behind", if behind == 1 { "" } else { "s" });
        let feed = Charts::new(charts.clone());
        // The bars are for the release before; what comes from further behind stands beside it.
        is_met &= case(arguments, &title, &feed, behind, behind == 1).await?;
    }
    if arguments.megabytes > 0 {
        let title = format!("a feed that opens to {} MB in ten tars, 1 % of the rows changed", arguments.megabytes);
        is_met &= case(arguments, &title, &Rows(arguments.megabytes * 1_000_000), 1, false).await?;
    }
    Ok(is_met)
}

/// A feed in its editions, counted from 0.
trait Source {
    /// The archives.
    fn archives(&self, edition: u64) -> Result<BTreeMap<FileName, Vec<u8>>>;

    /// The index of these, at that URL.
    fn index(&self, archives: &BTreeMap<FileName, Vec<u8>>, edition: u64, base: &Url) -> Result<Vec<u8>>;
}

/// A small feed, of which the real charts change and all else stays.
struct Charts {
    options: Options,
    /// What changes.
    changed: Vec<Component>,
}

impl Charts {
    fn new(charts: Vec<RealChart>) -> Self {
        let changed = match charts.is_empty() {
            true => vec![Component::AvAsChartMacosx, Component::AvAsChartLinux],
            false => charts.iter().map(|chart| chart.component.clone()).collect(),
        };
        Self { options: Options { charts, ..Options::default() }, changed }
    }

    /// The feed of which the changed components are those of that edition, and all others those of the first.
    fn feed(&self, edition: u64) -> Feed {
        let mut wanted = Edition::before();
        for _ in 0..edition {
            wanted = wanted.next();
        }
        let newer = Feed::make(&wanted, &self.options);
        // Without the others' versions, only the files of those that change are made.
        wanted.versions.retain(|component, _| self.changed.contains(component));
        let changed = Feed::make(&wanted, &self.options).files;
        let mut feed = Feed::make(&Edition::before(), &self.options);
        feed.files.extend(changed);
        for component in &self.changed {
            if let Some(version) = newer.edition.versions.get(component) {
                feed.edition.versions.insert(component.clone(), version.clone());
            }
        }
        feed
    }
}

impl Source for Charts {
    fn archives(&self, edition: u64) -> Result<BTreeMap<FileName, Vec<u8>>> {
        Ok(self.feed(edition).files)
    }

    fn index(&self, _: &BTreeMap<FileName, Vec<u8>>, edition: u64, base: &Url) -> Result<Vec<u8>> {
        Ok(self.feed(edition).index(base))
    }
}

/// The large feed, which opens to that many bytes.
struct Rows(u64);

impl Source for Rows {
    fn archives(&self, edition: u64) -> Result<BTreeMap<FileName, Vec<u8>>> {
        rows::archives(self.0, edition)
    }

    fn index(&self, archives: &BTreeMap<FileName, Vec<u8>>, edition: u64, base: &Url) -> Result<Vec<u8>> {
        rows::index(archives, base, edition)
    }
}

/// Measures one update and prints its table. Whether its bars are met.
async fn case(arguments: &Arguments, title: &str, source: &dyn Source, behind: u64, has_bars: bool) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let (olds, news) = (source.archives(0)?, source.archives(behind)?);
    let changed = |name: &FileName| olds.get(name) != news.get(name);
    let versions = |archives: &BTreeMap<FileName, Vec<u8>>| -> Result<Files> {
        let changed = archives.iter().filter(|(name, _)| changed(name));
        changed.map(|(name, archive)| Ok((name.clone(), Version::open(name, archive.clone())?))).collect()
    };
    let (old, new) = (versions(&olds)?, versions(&news)?);
    ensure!(old.len() == new.len() && !new.is_empty(), "the same files change");
    let whole: u64 = new.values().map(|file| file.archive.len() as u64).sum();

    let (exchanges, time) = headend(&folder.path().join("feed"), source, behind).await?;
    if arguments.answers {
        show(&exchanges);
    }
    let payloads: Vec<&Exchange> = exchanges.iter().filter(|it| new.keys().any(|name| is_payload(it, name))).collect();
    let ours = Way {
        name: "feed-client".to_owned(),
        content: payloads.iter().map(|it| it.body_bytes as u64).sum(),
        all: Some(exchanges.iter().map(Exchange::answer_bytes).sum()),
        time: Some(time),
    };
    let others = Others::new(folder.path(), &old, &new).await?;
    let mut is_met = table(title, &new, whole, &ours, &others.all().await?, has_bars);
    is_met &= increments(&payloads, &others.patches(Of::Tars)?)? || !has_bars;
    Ok(is_met)
}

fn table(title: &str, new: &Files, whole: u64, ours: &Way, others: &[Way], has_bars: bool) -> bool {
    let payloads: usize = new.values().map(|file| file.payload.len()).sum();
    println!("### Update: {title}\n");
    println!("{} archives changed: {whole} bytes, which open to {payloads}.\n", new.len());
    println!(
        "| brought by | content | of whole | everything | of whole | time | bars |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    let mut is_met = true;
    for (number, way) in [ours].into_iter().chain(others).enumerate() {
        let (content, all) = (share(way.content, whole), way.all.map(|all| share(all, whole)));
        let met = content <= CONTENT_BAR && all.is_none_or(|all| all <= WIRE_BAR);
        let verdict = match (has_bars && number == 0, met) {
            (false, _) => "",
            (true, true) => "3 %, 10 %: met",
            (true, false) => "3 %, 10 %: NOT met",
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
    println!();
    is_met
}

/// Each increment beside the patch that the `zstd` program makes of the same tars; whether all keep to the bar.
#[allow(clippy::cast_precision_loss, reason = "increments are small")]
fn increments(payloads: &[&Exchange], patches: &BTreeMap<FileName, u64>) -> Result<bool> {
    println!("| one increment | bytes | zstd -19 --patch-from | bar: 1.1 × and 64 bytes |\n| --- | --- | --- | --- |");
    let mut is_met = true;
    for (name, patch) in patches {
        let answer = payloads.iter().find(|it| is_payload(it, name)).with_context(|| format!("{name} was fetched"))?;
        let met = answer.encoding == "dcz" && answer.body_bytes as f64 <= *patch as f64 * PATCH_BAR.0 + PATCH_BAR.1;
        is_met &= met;
        println!(
            "| {name}, {} | {} | {patch} | {} |",
            answer.encoding,
            answer.body_bytes,
            if met { "met" } else { "NOT met" }
        );
    }
    println!();
    Ok(is_met)
}

/// Whether it is about what this archive opens to.
fn is_payload(exchange: &Exchange, archive: &FileName) -> bool {
    let payload = archive.as_str().trim_end_matches(".gz");
    exchange.method == "GET" && exchange.path.ends_with(&format!("-{payload}"))
}

/// The charts that stand for the bar; made-up ones where the real data is absent.
fn antimalware() -> Vec<RealChart> {
    let charts = shared::charts().unwrap_or_else(|absent| {
        eprintln!("(made-up macOS and Linux charts: {absent})");
        Vec::new()
    });
    charts.into_iter().filter(|chart| chart.member.as_str().contains("ANTIMALWARE")).collect()
}

fn publish(directory: &Path, source: &dyn Source, edition: u64, base: &Url) -> Result<()> {
    let archives = source.archives(edition)?;
    for (name, archive) in &archives {
        write(&directory.join(name.as_str()), archive)?;
    }
    write(&directory.join("posture-update.xml"), &source.index(&archives, edition, base)?)
}

/// By rename, so that nobody reads half a file.
fn write(path: &PathBuf, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes)?;
    Ok(fs::rename(beside, path)?)
}

/// An update of a headend that is that many releases behind: what went over the line, and how long it took.
async fn headend(feed: &Path, source: &dyn Source, behind: u64) -> Result<(Vec<Exchange>, Duration)> {
    fs::create_dir(feed)?;
    let world = World::builder().upstream(LabUpstream::builder().directory(feed)).headends(1).build().await?;
    let base = world.upstream().url();
    publish(feed, source, 0, &base)?;
    world.sync().await?.success()?;
    world.released(1).await?;
    let tap = WireTap::before(&world.server_url()?).await?;
    let headend = world.headend(0);
    world.enroll_by(0, &tap.url()?).await?;
    headend.client(["update"]).await?.success()?;
    // Some releases with other changes in between; the last one is the vendor's second version where one release lies
    // between the two.
    for edition in 1..=behind {
        publish(feed, source, edition, &base)?;
        world.sync().await?.success()?;
        world.released(edition + 1).await?;
    }
    prepared(&world, behind + 1).await?;
    tap.take()?;
    let began = Instant::now();
    headend.client(["update"]).await?.success()?;
    let time = began.elapsed();
    Ok((tap.take()?, time))
}

/// Waits until other forms of everything are there: a headend that comes at once gets the whole. gzip is made last, and of no
/// payload later than of the last one; a payload that was here before may have it already, and the timestamp never has.
async fn prepared(world: &World, serial: u64) -> Result<()> {
    let show = ["release", "show", &serial.to_string(), "--json"];
    let manifest: Manifest = world.feed_server(show).await?.success()?.json()?;
    let payloads = manifest.components.iter().flat_map(|component| &component.files).map(|file| &file.payload);
    let mut urls = vec![world.server_url()?.join("repo/metadata/timestamp.json")?];
    for payload in payloads {
        let path = format!("repo/targets/{}", payload.target_name()?.served_as(&payload.sha256));
        urls.push(world.server_url()?.join(&path)?);
    }
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

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn share(bytes: u64, whole: u64) -> f64 {
    bytes as f64 / whole.max(1) as f64
}
