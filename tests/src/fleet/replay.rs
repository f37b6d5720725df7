//! A fleet's polls, replayed in less time than they take in life.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::StatusCode;
use hyper::header::{ETAG, IF_NONE_MATCH};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Times;
use super::headend::{Held, Polled, Shared, poll, try_report};
use super::wire::{Ask, Traffic, Wire};
use crate::world::Member;

/// Failures that are told one by one; they are counted all the same.
const TOLD: u64 = 5;

/// As often a report is sent once more where the server asked for that.
const TRIES: u32 = 10;

/// How long a headend keeps its connection after a poll.
const IDLE: Duration = Duration::from_secs(10);

/// Between two polls while reports come in.
const BESIDE_PAUSE: Duration = Duration::from_millis(5);

/// What is to be replayed.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The server.
    pub server: SocketAddr,
    /// In so long every headend polls once.
    pub length: Duration,
    /// Connections that may be open at once.
    pub connections: usize,
}

/// How a replay went.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Polls that did not come to their end.
    pub failures: u64,
    /// Polls that brought a release.
    pub updates: usize,
    /// Whole polls, from the first question to the acknowledged report.
    pub polls: Times,
    /// The answers to the first question.
    pub answers: Times,
    /// Whole polls that brought a release.
    pub update_polls: Times,
    /// Bytes that the server sent, heads included.
    pub received: u64,
    /// Connections that were made.
    pub connections: u64,
}

/// Lets every headend poll once, evenly spread. All hold `held` at first. Counts updates in `updated` as they happen.
///
/// # Errors
/// The machine does not do its part; failures of the server's are counted.
pub async fn replay(
    plan: Plan,
    members: &[Member],
    shared: &Arc<Shared>,
    held: &Held,
    updated: &Arc<AtomicU64>,
) -> Result<Outcome> {
    let traffic = Arc::<Traffic>::default();
    let open = Arc::new(Semaphore::new(plan.connections));
    let began = tokio::time::Instant::now();
    let mut fleet = JoinSet::new();
    for (number, member) in members.iter().cloned().enumerate() {
        // Each has its own place in the interval, and is off it by up to as much as its neighbours are away.
        #[allow(clippy::cast_precision_loss, reason = "a part of a replay")]
        let place = (number as f64 + rand::random::<f64>()) / members.len() as f64;
        let due = began + plan.length.mul_f64(place.min(1.0));
        let (shared, held, open, updated) = (Arc::clone(shared), held.clone(), Arc::clone(&open), Arc::clone(updated));
        let mut wire = Wire::new(plan.server, Arc::clone(&traffic));
        fleet.spawn(async move {
            tokio::time::sleep_until(due).await;
            let _open = open.acquire_owned().await;
            let polled = poll(&mut wire, &member, &shared, Some(&held)).await;
            if polled.as_ref().is_ok_and(|polled| polled.is_update) {
                updated.fetch_add(1, Ordering::Relaxed);
            }
            // As a headend does, which asks for nothing more.
            tokio::time::sleep(IDLE).await;
            polled
        });
    }
    let mut polls = Vec::with_capacity(members.len());
    let mut failures = 0;
    while let Some(polled) = fleet.join_next().await {
        match polled? {
            Ok(polled) => polls.push(polled),
            Err(error) => {
                failures += 1;
                if failures <= TOLD {
                    eprintln!("a poll failed: {error:#}");
                }
            }
        }
    }
    let updates = || polls.iter().filter(|polled| polled.is_update);
    let whole = |polled: &Polled| polled.whole;
    Ok(Outcome {
        failures,
        updates: updates().count(),
        polls: polls.iter().map(whole).collect(),
        answers: polls.iter().map(|polled| polled.first).collect(),
        update_polls: updates().map(whole).collect(),
        received: traffic.received.load(Ordering::Relaxed),
        connections: traffic.connections.load(Ordering::Relaxed),
    })
}

/// Reports of a whole fleet at once.
#[derive(Debug, Clone)]
pub struct AtOnce {
    /// From the first one to the last acknowledgement.
    pub took: Duration,
    /// Answers that asked to come again.
    pub put_off: u64,
    /// Reports that were not taken in the end.
    pub failures: u64,
    /// Polls of others meanwhile: what is held already.
    pub beside: Times,
}

/// Lets every headend report in the same moment, while somebody polls.
///
/// # Errors
/// The machine does not do its part, or the one who polls is not answered.
pub async fn reports_at_once(plan: Plan, members: &[Member], serial: u64) -> Result<AtOnce> {
    let traffic = Arc::<Traffic>::default();
    let open = Arc::new(Semaphore::new(plan.connections));
    let put_off = Arc::new(AtomicU64::new(0));
    // Connected before they begin: it is the reports that are to come at once.
    let mut fleet = JoinSet::new();
    let begin = Arc::new(tokio::sync::Barrier::new(members.len().min(plan.connections) + 1));
    for (number, member) in members.iter().cloned().enumerate() {
        let (open, begin, put_off) = (Arc::clone(&open), Arc::clone(&begin), Arc::clone(&put_off));
        let mut wire = Wire::new(plan.server, Arc::clone(&traffic));
        fleet.spawn(async move {
            let _open = open.acquire_owned().await;
            if number < plan.connections {
                wire.ask(&Ask::get("/healthz")).await?;
                begin.wait().await;
            }
            for _ in 0..TRIES {
                match try_report(&mut wire, &member, serial).await? {
                    StatusCode::NO_CONTENT => return Ok(()),
                    StatusCode::SERVICE_UNAVAILABLE => {
                        put_off.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    status => anyhow::bail!("a report is answered with {status}"),
                }
            }
            anyhow::bail!("a report is put off {TRIES} times")
        });
    }
    let mut wire = Wire::new(plan.server, Arc::clone(&traffic));
    let path = "/repo/metadata/timestamp.json";
    let etag = wire.ask(&Ask::get(path)).await?.header(&ETAG).map(str::to_owned).unwrap_or_default();
    begin.wait().await;
    let began = Instant::now();
    let (mut beside, mut failures) = (Vec::new(), 0);
    let mut pause = tokio::time::interval(BESIDE_PAUSE);
    while !fleet.is_empty() {
        tokio::select! {
            biased;
            _ = pause.tick() => {
                let asked = Instant::now();
                let answer = wire.ask(&Ask::get(path).with(IF_NONE_MATCH, &etag)).await?;
                ensure!(answer.status == StatusCode::NOT_MODIFIED, "a poll is answered with {}", answer.status);
                beside.push(asked.elapsed());
            }
            Some(reported) = fleet.join_next() => {
                if let Err(error) = reported? {
                    failures += 1;
                    if failures <= TOLD {
                        eprintln!("a report failed: {error:#}");
                    }
                }
            }
        }
    }
    let put_off = put_off.load(Ordering::Relaxed);
    Ok(AtOnce { took: began.elapsed(), put_off, failures, beside: beside.into_iter().collect() })
}
