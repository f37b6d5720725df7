//! How the cost of a release grows: with the number of releases that are kept already (it should not), and with the size of an
//! archive (in proportion). Run it with `cargo run --release -p tests --bin bench-growth`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use bundles::fake::Options;
use clap::Parser;
use tests::lab::LabUpstream;
use tests::world::World;

/// Releases around a number of kept ones whose median counts.
const AROUND: usize = 5;

/// Measures releases as more of them are kept, and as archives become larger
#[derive(Debug, Parser)]
struct Arguments {
    /// How many releases are kept
    #[arg(long, value_delimiter = ',', default_values_t = [5, 24, 100])]
    kept: Vec<usize>,
    /// Sizes of an archive, in megabytes
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 400])]
    megabytes: Vec<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    // There is no bar to keep to.
    tests::bench::exit(measure(&Arguments::parse()).await.map(|()| true), false)
}

async fn measure(arguments: &Arguments) -> Result<()> {
    with_releases(&arguments.kept).await?;
    println!();
    with_size(&arguments.megabytes).await
}

/// One release after the other, each of which changes some rows of a chart.
async fn with_releases(kept: &[usize]) -> Result<()> {
    let most = kept.iter().copied().max().unwrap_or_default();
    let world = World::builder().set("data", "retain_releases", i64::try_from(most + AROUND)?).build().await?;
    let mut times = Vec::new();
    for serial in 1..=most + AROUND / 2 + 1 {
        if serial > 1 {
            world.upstream().publish_next()?;
        }
        times.push(release(&world, serial).await?);
    }
    println!("| releases kept | one more, sync into visible (median of {AROUND}) | ratio |");
    println!("| --- | --- | --- |");
    let mut first = None;
    for &kept in kept {
        let from = kept.saturating_sub(AROUND / 2).max(1);
        let time = median(&times[from..(from + AROUND).min(times.len())]);
        let first = *first.get_or_insert(time);
        println!("| {kept} | {:.0} ms | {:.2} |", ms(time), time.as_secs_f64() / first.as_secs_f64());
    }
    Ok(())
}

/// The first release of a feed with a large archive.
async fn with_size(megabytes: &[u64]) -> Result<()> {
    println!("| archive | sync into visible (median of 3) | for each 100 MB | peak memory |");
    println!("| --- | --- | --- | --- |");
    for &megabytes in megabytes {
        let (mut times, mut peak) = (Vec::new(), 0);
        for _ in 0..3 {
            let options = Options { padding: megabytes * 1_000_000, ..Options::small() };
            let world = World::builder().upstream(LabUpstream::builder().options(options)).build().await?;
            times.push(release(&world, 1).await?);
            peak = peak.max(world.server_peak_memory()?);
        }
        let time = median(&times);
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let each = ms(time) * 100.0 / megabytes as f64;
        println!("| {megabytes} MB | {:.0} ms | {each:.0} ms | {} MiB |", ms(time), peak >> 20);
    }
    Ok(())
}

/// Syncs until a release can be had.
async fn release(world: &World, serial: usize) -> Result<Duration> {
    let began = Instant::now();
    world.sync().await?.success()?;
    world.released(u64::try_from(serial)?).await?;
    Ok(began.elapsed())
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
