//! Import of a bundle of 1 GB by a running relay and by a headend, beside `unzip -t` of the same file, in one run. Run it with
//! `cargo run --release -p tests --bin bench-import`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Options};
use clap::Parser;
use tests::lab::LabUpstream;
use tests::peers;
use tests::world::{Invocation, World, wait_for};

/// Peak memory that an import may take, whatever the bundle's size.
const MEMORY_BAR: u64 = 128 << 20;

/// Ends a run that hangs; a slow disk needs minutes for some gigabytes.
const PATIENCE: Duration = Duration::from_mins(30);

/// Measures the import of a bundle beside what any tool must do with the same bytes
#[derive(Debug, Parser)]
struct Arguments {
    /// Size of the bundle, in megabytes
    #[arg(long, default_value_t = 1000)]
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

/// A time, and the most memory that was held at once, where it is ours to look at.
struct Measured {
    time: Duration,
    peak: Option<u64>,
}

async fn measure(arguments: &Arguments) -> Result<bool> {
    let origin = origin(arguments.megabytes).await?;
    let root = origin.offline_root().await?;
    let out = origin.directory().join("carried");
    run(&origin.invocation(["bundle", "build", "--out", path(&out)?]), &out.with_extension("log")).await?;
    let zip = out.join("posture-bundle-1.zip");
    let length = std::fs::metadata(&zip)?.len();

    // Once before anything is measured, so that each finds the file where the others do: in memory, where it fits.
    peers::unzip_test(&zip)?;
    let began = Instant::now();
    peers::unzip_test(&zip)?;
    let unzip = Measured { time: began.elapsed(), peak: None };

    let relay = World::builder().relay(&root).headends(1).build().await?;
    let log = relay.directory().join("import.log");
    let imported = run(&relay.invocation(["bundle", "import", path(&zip)?]), &log).await?;
    relay.released(1).await?;
    let on_relay = Measured { time: imported.time, peak: Some(relay.server_peak_memory()?) };

    let headend = relay.headend(0);
    headend.enroll_for_imports(&root).await?;
    let on_headend = run(&headend.invocation(["import", path(&zip)?]), &headend.log()).await?;
    ensure!(headend.current().is_some(), "nothing runs on the headend");

    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let megabytes = length as f64 / 1e6;
    println!("| work (bundle of {megabytes:.0} MB) | time | ratio | peak memory | bar | |");
    println!("| --- | --- | --- | --- | --- | --- |");
    row("unzip -t", &unzip, &unzip);
    row("import on a relay, in the running server", &on_relay, &unzip);
    row("import on a headend", &on_headend, &unzip);
    Ok([on_relay, on_headend].iter().all(|measured| measured.peak.is_some_and(|peak| peak <= MEMORY_BAR)))
}

fn row(work: &str, measured: &Measured, beside: &Measured) {
    let ratio = measured.time.as_secs_f64() / beside.time.as_secs_f64();
    let memory = measured.peak.map_or_else(String::new, |peak| {
        let met = if peak <= MEMORY_BAR { "met" } else { "NOT met" };
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let peak = peak as f64 / f64::from(1 << 20);
        format!("{peak:.0} MiB | {} MiB | {met}", MEMORY_BAR >> 20)
    });
    let memory = if memory.is_empty() { " | | ".to_owned() } else { memory };
    println!("| {work} | {:.1} s | {ratio:.2} | {memory} |", measured.time.as_secs_f64());
}

/// An origin whose one release is of that size.
async fn origin(megabytes: u64) -> Result<World> {
    let options = Options { padding: megabytes * 1_000_000, ..Options::small() };
    let lab = LabUpstream::builder().edition(Edition::before()).options(options);
    let origin = World::builder().upstream(lab).build().await?;
    run(&origin.invocation(["sync"]), &origin.directory().join("sync.log")).await?;
    origin.released(1).await?;
    Ok(origin)
}

/// Runs a command to its end, however long that takes, and looks at its memory meanwhile.
async fn run(command: &Invocation, log: &Path) -> Result<Measured> {
    let began = Instant::now();
    let mut running = command.start(log)?;
    let mut peak = None;
    let ended = wait_for(PATIENCE, "the command ends", async || {
        // Once it has ended, the system says no more; the most so far is what counts.
        peak = running.peak_memory().ok().or(peak);
        running.ended().transpose()
    });
    let status = ended.await??;
    let time = began.elapsed();
    ensure!(status.success(), "{}", running.tail());
    Ok(Measured { time, peak })
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("paths are UTF-8")
}
