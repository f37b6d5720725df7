//! Polls while others hold connections: 2,000 that asked once and are idle, and 500 that dribble the heads of requests byte by byte and
//! come back as soon as the server ends them (slow loris). Beside it the same polls with nobody else, in turns.
//! Run it with `cargo run --release -p tests --bin bench-slowloris`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::world::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What clients poll.
const POLL: &[u8] = b"GET /repo/metadata/timestamp.json HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n";

/// What is asked for once and then held.
const HOLD: &[u8] = b"GET /repo/metadata/timestamp.json HTTP/1.1\r\nhost: lab\r\n\r\n";

/// What never becomes whole.
const DRIBBLE: &[u8] =
    b"GET /repo/metadata/timestamp.json HTTP/1.1\r\nhost: lab\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Between two bytes of each that dribbles.
const BETWEEN_BYTES: Duration = Duration::from_millis(500);

/// Measures polls beside those who hold connections
#[derive(Debug, Parser)]
struct Arguments {
    /// Connections that are idle
    #[arg(long, default_value_t = 2_000)]
    idle: usize,
    /// Connections that dribble
    #[arg(long, default_value_t = 500)]
    dribbling: usize,
    /// Polls in each round
    #[arg(long, default_value_t = 4_000)]
    polls: usize,
    /// How many polls go on at once, each on a connection of its own
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Rounds of each kind, in turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    tests::bench::exit(measure(&Arguments::parse()).await, false)
}

async fn measure(arguments: &Arguments) -> Result<bool> {
    // This process holds the other end of every connection.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
    println!("| polls, each on a new connection | p50 | p99 | max | failed |");
    println!("| --- | --- | --- | --- | --- |");
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.released(1).await?;
    let address = world.server_url()?.socket_addrs(|| None)?[0];
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut failed = [0, 0];
    for _ in 0..arguments.rounds.max(1) {
        failed[0] += poll(address, arguments, &mut alone).await?;
        let others = Others::connect(address, arguments).await?;
        failed[1] += poll(address, arguments, &mut beside).await?;
        drop(others);
    }
    let others = format!("beside {} idle and {} that dribble", arguments.idle, arguments.dribbling);
    for (what, times, failed) in [("alone", &mut alone, failed[0]), (others.as_str(), &mut beside, failed[1])] {
        times.sort_unstable();
        println!("| {what} | {} | {} | {} | {failed} |", shown(times, 0.5), shown(times, 0.99), shown(times, 1.0));
    }
    let ratio = at(&beside, 0.99).as_secs_f64() / at(&alone, 0.99).as_secs_f64();
    println!(
        "\np99 beside them is {ratio:.2} times that alone; peak memory {} MiB.",
        world.server_peak_memory()? >> 20
    );
    ensure!(failed == [0, 0], "polls failed: {failed:?}");
    Ok(true)
}

/// Polls, and how many of them failed.
async fn poll(address: SocketAddr, arguments: &Arguments, times: &mut Vec<Duration>) -> Result<usize> {
    let mut polling = JoinSet::new();
    for _ in 0..arguments.at_once.max(1) {
        let polls = arguments.polls / arguments.at_once.max(1);
        polling.spawn(async move {
            let mut times = Vec::with_capacity(polls);
            for _ in 0..polls {
                let began = Instant::now();
                if once(address).await.is_ok() {
                    times.push(began.elapsed());
                }
            }
            (polls, times)
        });
    }
    let mut failed = 0;
    while let Some(done) = polling.join_next().await {
        let (polls, done) = done?;
        failed += polls - done.len();
        times.extend(done);
    }
    Ok(failed)
}

async fn once(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(POLL).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Those who hold connections, until this is dropped.
struct Others {
    _idle: Vec<TcpStream>,
    _dribbling: JoinSet<()>,
}

impl Others {
    async fn connect(address: SocketAddr, arguments: &Arguments) -> Result<Self> {
        let mut idle = Vec::new();
        for _ in 0..arguments.idle {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(HOLD).await?;
            let mut answer = [0; 4096];
            ensure!(stream.read(&mut answer).await? > 0, "an idle connection is to be answered first");
            idle.push(stream);
        }
        let mut dribbling = JoinSet::new();
        let (sender, mut connected) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..arguments.dribbling {
            let sender = sender.clone();
            dribbling.spawn(async move {
                loop {
                    drop(dribble(address, &sender).await);
                }
            });
        }
        for _ in 0..arguments.dribbling {
            connected.recv().await.context("all of them connect")?;
        }
        Ok(Self { _idle: idle, _dribbling: dribbling })
    }
}

async fn dribble(address: SocketAddr, connected: &tokio::sync::mpsc::UnboundedSender<()>) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut between = tokio::time::interval(BETWEEN_BYTES);
    for (number, byte) in DRIBBLE.iter().cycle().enumerate() {
        between.tick().await;
        stream.write_all(&[*byte]).await?;
        if number == 0 {
            let _ = connected.send(());
        }
    }
    Ok(())
}

fn at(sorted: &[Duration], part: f64) -> Duration {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of some thousands"
    )]
    let index = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or_default()
}

fn shown(sorted: &[Duration], part: f64) -> String {
    format!("{:.1} ms", at(sorted, part).as_secs_f64() * 1e3)
}
