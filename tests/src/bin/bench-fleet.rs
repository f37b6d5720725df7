//! Two hours of 10,000 headends' polls, replayed in two minutes, with a release in the middle; then all their reports at once.
//! Beside it nginx, which serves the same tree to the same fleet: archives whole, as any web server can. Run it with
//! `cargo run --release -p tests --bin bench-fleet`.
//!
//! Headends and server share the machine's processors, so that times hold what the headends themselves take.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bundles::fake::Edition;
use clap::Parser;
use tests::fleet::{Outcome, Plan, Shared, Taking, Times, Wire, connections_allowed, poll, replay, reports_at_once};
use tests::lab::LabUpstream;
use tests::peers::Nginx;
use tests::shared;
use tests::world::{DEADLINE, Member, World, wait_until};

/// What 99 of 100 polls may take (design, section 12).
const TIME_BAR: Duration = Duration::from_millis(100);

/// Memory that the server may hold at any time (design, section 12).
const MEMORY_BAR: u64 = 256 << 20;

/// Measures a server under a whole fleet's polls, beside nginx
#[derive(Debug, Parser)]
struct Arguments {
    /// How many headends poll
    #[arg(long, default_value_t = 10_000)]
    headends: usize,
    /// In how many seconds each of them polls once
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Leave nginx out
    #[arg(long)]
    alone: bool,
    /// Fail where a bar is not met
    #[arg(long)]
    strict: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tests::bench::exit(measure(&arguments).await, arguments.strict)
}

/// What a replay showed of a server.
struct Measured {
    outcome: Outcome,
    codings: String,
    /// Processor time and updates since the release was there with all that belongs to it.
    settled: (Duration, u64),
    peak: u64,
}

/// Whose processor time and memory are looked at.
trait Process {
    fn cpu(&self) -> Result<Duration>;
    fn peak(&self) -> Result<u64>;
}

impl Process for World {
    fn cpu(&self) -> Result<Duration> {
        self.server_cpu_time()
    }

    fn peak(&self) -> Result<u64> {
        self.server_peak_memory()
    }
}

impl Process for Nginx {
    fn cpu(&self) -> Result<Duration> {
        self.cpu_time()
    }

    fn peak(&self) -> Result<u64> {
        self.peak_memory()
    }
}

async fn measure(arguments: &Arguments) -> Result<bool> {
    let connections = connections_allowed()?;
    let length = Duration::from_secs(arguments.seconds.max(1));

    let world = world().await?;
    let members = world.fleet(arguments.headends).await?.members;
    let plan = Plan { server: address(&world)?, length, connections };
    let ours = run(plan, &members, &world, &world, Taking::Payloads).await?;
    let burst = reports_at_once(plan, &members, 2).await?;
    let after_burst = world.server_peak_memory()?;
    drop(world);

    let theirs = if arguments.alone {
        None
    } else {
        let world = self::world().await?;
        let nginx = Nginx::start_fast(&world.data().join("tree"), None, "location /api/ { return 204; }").await?;
        let plan = Plan { server: nginx.address(), ..plan };
        Some(run(plan, &members, &world, &nginx, Taking::Archives).await?)
    };

    println!(
        "| {} headends, each polls once in {} s, one release in the middle | feed-server | nginx, whole archives | bar | |",
        arguments.headends, arguments.seconds
    );
    println!("| --- | --- | --- | --- | --- |");
    let row = |what: &str, shown: &dyn Fn(&Measured) -> String, bar: Option<(String, bool)>| {
        let theirs = theirs.as_ref().map(shown).unwrap_or_default();
        let (bar, met) = bar.map_or((String::new(), ""), |(bar, met)| (bar, if met { "met" } else { "NOT met" }));
        println!("| {what} | {} | {theirs} | {bar} | {met} |", shown(&ours));
    };
    let no_failure = ours.outcome.failures + burst.failures == 0;
    let fast = ours.outcome.polls.rank(0.99) <= TIME_BAR;
    let small = ours.peak <= MEMORY_BAR;
    row("polls / updates", &|it| format!("{} / {}", it.outcome.polls.count(), it.outcome.updates), None);
    row("failures", &|it| it.outcome.failures.to_string(), Some(("0".to_owned(), no_failure)));
    row(
        "polls with their reports, p50 / p99 / max",
        &|it| ranks(&it.outcome.polls),
        Some((format!("p99 {}", ms(TIME_BAR)), fast)),
    );
    row("first answers (timestamp.json)", &|it| ranks(&it.outcome.answers), None);
    row("polls with an update", &|it| ranks(&it.outcome.update_polls), None);
    row("processor time per 1,000 updates", &per_thousand, None);
    row("peak memory", &|it| mib(it.peak), Some((mib(MEMORY_BAR), small)));
    row("bytes sent", &|it| megabytes(it.outcome.received), None);
    row("contents by coding", &|it| it.codings.clone(), None);
    row("connections made", &|it| it.outcome.connections.to_string(), None);
    println!();
    println!(
        "All {} reports at once: {:.2} s until the last is on disk, {} put off, {} failed; polls meanwhile {} ({}); peak \
         memory {}.",
        arguments.headends,
        burst.took.as_secs_f64(),
        burst.put_off,
        burst.failures,
        ranks(&burst.beside),
        burst.beside.count(),
        mib(after_burst),
    );
    Ok(no_failure && fast && small)
}

/// A server with the first release and everything that belongs to it.
async fn world() -> Result<World> {
    let lab = LabUpstream::builder().options(shared::realistic());
    let world = World::builder().upstream(lab).build().await?;
    world.sync().await?.success()?;
    complete(&world, 1).await?;
    Ok(world)
}

/// Waits until a release is there with its zips, whose names are the last that is signed for it.
async fn complete(world: &World, serial: u64) -> Result<()> {
    world.released(serial).await?;
    let bundle = format!("offline/posture-bundle-{serial}.zip");
    let is_there = async || world.get(&bundle).await.is_ok_and(|answer| answer.status().is_success());
    wait_until(DEADLINE, "the release's bundle is served", is_there).await
}

fn address(world: &World) -> Result<SocketAddr> {
    let url = world.server_url()?;
    url.socket_addrs(|| None)?.first().copied().context("the server has an address")
}

async fn run(
    plan: Plan,
    members: &[Member],
    world: &World,
    process: &impl Process,
    taking: Taking,
) -> Result<Measured> {
    let shared = Arc::new(Shared::new(taking));
    let someone = members.first().context("a fleet has headends")?;
    let held = poll(&mut Wire::new(plan.server, Arc::default()), someone, &shared, None).await?.held;
    ensure!(held.serial() == 1, "release {} is served before the replay", held.serial());
    shared.count_anew();

    let updated = Arc::new(AtomicU64::new(0));
    let releasing = async {
        tokio::time::sleep(plan.length / 2).await;
        world.upstream().publish(Edition::after())?;
        world.sync().await?.success()?;
        complete(world, 2).await?;
        anyhow::Ok((process.cpu()?, updated.load(Ordering::Relaxed)))
    };
    let (outcome, settled) = tokio::join!(replay(plan, members, &shared, &held, &updated), releasing);
    let (outcome, settled) = (outcome?, settled?);
    let cpu = process.cpu()?.saturating_sub(settled.0);
    let updates = updated.load(Ordering::Relaxed).saturating_sub(settled.1);
    Ok(Measured { outcome, codings: shared.codings(), settled: (cpu, updates), peak: process.peak()? })
}

fn per_thousand(measured: &Measured) -> String {
    let (cpu, updates) = measured.settled;
    if updates == 0 {
        return "–".to_owned();
    }
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let each = cpu.as_secs_f64() / updates as f64;
    format!("{:.2} s (of {updates})", each * 1_000.0)
}

fn ranks(times: &Times) -> String {
    format!("{} / {} / {}", ms(times.rank(0.5)), ms(times.rank(0.99)), ms(times.rank(1.0)))
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
