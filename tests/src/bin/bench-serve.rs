//! Idle polls, small files and downloads of an archive, beside nginx with the same files, the same headers and as many
//! processes as this machine has processors. `wrk` asks both in turns; it takes its part of the processors, of each alike.
//! Run it with `cargo run --release -p tests --bin bench-serve`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use bundles::fake::Options;
use clap::Parser;
use tests::lab::LabUpstream;
use tests::peers::Nginx;
use tests::peers::nginx::Tls;
use tests::world::World;
use url::Url;

/// Of nginx's requests in a second, for idle polls over 64 connections (design, section 12).
const POLLS_BAR: f64 = 0.9;

/// Of the bytes that nginx sends in a second, for downloads over 8 connections (design, section 12).
const DOWNLOADS_BAR: f64 = 0.8;

/// What clients poll.
const TIMESTAMP: &str = "/repo/metadata/timestamp.json";

/// Measures what a server answers in a second, beside nginx
#[derive(Debug, Parser)]
struct Arguments {
    /// For how many seconds each server is asked at a time
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Size of the archive, in megabytes
    #[arg(long, default_value_t = 20)]
    megabytes: u64,
    /// Fail where a bar is not met
    #[arg(long)]
    strict: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tests::bench::exit(measure(&arguments).await, arguments.strict)
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// What the client holds already: a 304.
    Held,
    /// The same file, as whoever comes for the first time.
    Small,
    /// The archive.
    Archive,
}

async fn measure(arguments: &Arguments) -> Result<bool> {
    println!("| asked for | connections | TLS | feed-server | nginx | ratio | bar | |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut all_met = true;
    for with_tls in [false, true] {
        let options = Options { padding: arguments.megabytes * 1_000_000, ..Options::small() };
        let lab = LabUpstream::builder().options(options);
        let world = World::builder().upstream(lab);
        let world = if with_tls { world.tls() } else { world };
        let world = world.build().await?;
        world.sync().await?.success()?;
        world.released(1).await?;
        let ours = world.server_url()?;
        let nginx = nginx(&world, with_tls).await?;
        let theirs = Url::parse(&format!("{}://{}/", ours.scheme(), nginx.address()))?;
        let largest = largest(&world.data().join("tree/repo/targets"))?;
        for (asked, connections) in [
            (Asked::Held, 1),
            (Asked::Held, 64),
            (Asked::Held, 512),
            (Asked::Small, 1),
            (Asked::Small, 64),
            (Asked::Small, 512),
            (Asked::Archive, 8),
        ] {
            let (mut mine, mut others) = (Vec::new(), Vec::new());
            for _ in 0..arguments.rounds.max(1) {
                mine.push(ask(&ours, asked, &largest, connections, arguments.seconds)?);
                others.push(ask(&theirs, asked, &largest, connections, arguments.seconds)?);
            }
            let (mine, others) = (median(&mut mine), median(&mut others));
            let ratio = mine / others;
            let bar = match (asked, connections, with_tls) {
                (Asked::Held, 64, false) => Some(POLLS_BAR),
                (Asked::Archive, _, false) => Some(DOWNLOADS_BAR),
                _ => None,
            };
            let is_met = bar.is_none_or(|bar| ratio >= bar);
            all_met &= is_met;
            let (what, shown): (_, fn(f64) -> String) = match asked {
                Asked::Held => ("`timestamp.json`, held (304)", |rate| format!("{rate:.0}/s")),
                Asked::Small => ("`timestamp.json`", |rate| format!("{rate:.0}/s")),
                Asked::Archive => ("an archive", |rate| format!("{:.0} MB/s", rate / 1e6)),
            };
            println!(
                "| {what} | {connections} | {} | {} | {} | {ratio:.2} | {} | {} |",
                if with_tls { "yes" } else { "no" },
                shown(mine),
                shown(others),
                bar.map(|bar| bar.to_string()).unwrap_or_default(),
                bar.map(|_| if is_met { "met" } else { "NOT met" }).unwrap_or_default(),
            );
        }
    }
    Ok(all_met)
}

/// nginx over the same tree, with the headers that say the same.
async fn nginx(world: &World, with_tls: bool) -> Result<Nginx> {
    let headers = "default_type application/octet-stream;\n\
                   location /repo/metadata/timestamp.json {\n\
                   default_type application/json;\n\
                   add_header Cache-Control no-cache;\n\
                   add_header Vary \"accept-encoding, available-dictionary\";\n}\n\
                   location /repo/targets/ { add_header Cache-Control \"max-age=31536000, immutable\"; }";
    let tree = world.data().join("tree");
    let read = |name: &str| std::fs::read_to_string(world.directory().join(name)).context(name.to_owned());
    if with_tls {
        let (chain, key) = (read("tls.pem")?, read("tls.key")?);
        let tls = Tls { chain: &chain, key: &key, protocols: "TLSv1.2 TLSv1.3" };
        return Nginx::start_fast(&tree, Some(tls), headers).await;
    }
    Nginx::start_fast(&tree, None, headers).await
}

/// The URL path of the largest target.
fn largest(targets: &Path) -> Result<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(targets)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // As it is: zips and payloads have forms of their own.
        if name.ends_with(".gz") {
            files.push((entry.metadata()?.len(), name));
        }
    }
    let (_, name) = files.into_iter().max().context("a release has archives")?;
    Ok(format!("/repo/targets/{name}"))
}

/// Requests, or bytes of archives, that a server answers in a second.
fn ask(server: &Url, asked: Asked, largest: &str, connections: u32, seconds: u32) -> Result<f64> {
    let path = if asked == Asked::Archive { largest } else { TIMESTAMP };
    let url = server.join(path)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", &connections.min(2).to_string(), "--connections", &connections.to_string()]).args([
        "--duration",
        &format!("{seconds}s"),
        "--timeout",
        "30s",
    ]);
    if asked == Asked::Held {
        let etag = etag(&url)?;
        wrk.args(["--header", &format!("If-None-Match: {etag}")]);
    }
    let output = wrk.arg(url.as_str()).output().context("wrk is missing; run tests/bench, which installs it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "not everything was answered: {said}");
    let label = if asked == Asked::Archive { "Transfer/sec:" } else { "Requests/sec:" };
    let value = said.lines().find_map(|line| line.trim().strip_prefix(label)).context("wrk says how much")?;
    number(value.trim())
}

/// The tag of what a server has now.
fn etag(url: &Url) -> Result<String> {
    let output = Command::new("curl").args(["-sk", "-D", "-", "-o", "/dev/null"]).arg(url.as_str()).output()?;
    let head = String::from_utf8_lossy(&output.stdout).into_owned();
    let etag = head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("etag"));
    Ok(etag.with_context(|| format!("an ETag: {head}"))?.1.trim().to_owned())
}

/// `12345.67`, or `1.23GB` with wrk's units, which are powers of 1,024.
fn number(text: &str) -> Result<f64> {
    let (digits, unit) = text.split_at(text.find(|it: char| it.is_ascii_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "B" => 1.0,
        "KB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        other => bail!("wrk counts in {other}"),
    };
    Ok(digits.parse::<f64>().with_context(|| text.to_owned())? * factor)
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
