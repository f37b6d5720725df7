//! Sync of a feed with an archive of 100 MB into a visible release, beside `sha256sum` and `gzip -t` over the same archives,
//! in one run. Run it with `cargo run --release -p tests --bin bench-sync`.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Feed, Options};
use clap::Parser;
use tests::lab::LabUpstream;
use tests::world::World;

/// Peak memory that sync may take, whatever the archive's size (design, section 12).
const MEMORY_BAR: u64 = 128 << 20;
/// Times of `sha256sum` and `gzip -t` together that sync may take.
const TIME_BAR: f64 = 3.0;

/// Measures a sync beside what any tool must do with the same bytes
#[derive(Debug, Parser)]
struct Arguments {
    /// Size of the large archive, in megabytes
    #[arg(long, default_value_t = 100)]
    megabytes: u64,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Fail where a bar is not met
    #[arg(long)]
    strict: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tests::bench::exit(measure(&arguments).await, arguments.strict)
}

async fn measure(arguments: &Arguments) -> Result<bool> {
    let options = Options { padding: arguments.megabytes * 1_000_000, ..Options::small() };
    let files = tempfile::tempdir()?;
    let (mut syncs, mut tools, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let mut edition = Edition::before();
    for _ in 0..arguments.rounds.max(1) {
        let feed = Feed::make(&edition, &options);
        for (name, bytes) in &feed.files {
            std::fs::write(files.path().join(name.as_str()), bytes)?;
        }
        // A lab upstream that makes the same feed; the server begins with nothing.
        drop(feed);
        let lab = LabUpstream::builder().edition(edition.clone()).options(options.clone());
        let world = World::builder().upstream(lab).build().await?;
        let began = Instant::now();
        world.feed_server(["sync"]).await?.success()?;
        world.released(1).await?;
        syncs.push(began.elapsed());
        peaks.push(world.server_peak_memory()?);
        tools.push(over_all(files.path(), "sha256sum", &[])? + over_all(files.path(), "gzip", &["-t"])?);
        edition = edition.next();
    }
    let (sync, tools) = (median(&mut syncs), median(&mut tools));
    let peak = peaks.into_iter().max().unwrap_or(0);
    let ratio = sync.as_secs_f64() / tools.as_secs_f64();
    let met = |good: bool| if good { "met" } else { "NOT met" };
    println!(
        "| work ({} MB archive, median of {}) | time | ratio | bar | |",
        arguments.megabytes,
        arguments.rounds.max(1)
    );
    println!("| --- | --- | --- | --- | --- |");
    println!("| sha256sum + gzip -t | {:.2} s | 1.00 | | |", tools.as_secs_f64());
    println!(
        "| sync into a visible release | {:.2} s | {ratio:.2} | {TIME_BAR} | {} |",
        sync.as_secs_f64(),
        met(ratio <= TIME_BAR)
    );
    println!(
        "| peak memory of feed-server | {:.0} MiB | | {} MiB | {} |",
        peak as f64 / f64::from(1 << 20),
        MEMORY_BAR >> 20,
        met(peak <= MEMORY_BAR)
    );
    Ok(ratio <= TIME_BAR && peak <= MEMORY_BAR)
}

fn over_all(directory: &Path, program: &str, flags: &[&str]) -> Result<Duration> {
    let files: Vec<_> = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let began = Instant::now();
    let status =
        Command::new(program).args(flags).args(files).stdout(Stdio::null()).status().context(program.to_owned())?;
    ensure!(status.success(), "{program}: {status}");
    Ok(began.elapsed())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
