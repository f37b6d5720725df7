//! `feed-client run`: a timer around `update`. It keeps nothing in memory that matters: each poll reads state, enrolment
//! and configuration anew, so that every other command can be used while it runs.

use std::time::Duration;

use bundles::report::Failure;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Global, failed};
use crate::clock::Edge;
use crate::durable::StorageError;
use crate::lock::{Lock, LockError};
use crate::refusals::{Asker, Refusals};
use crate::settings::Settings;
use crate::update::{Trigger, UpdateError, Updater};
use crate::{mend, poll, service};

/// The timer looks at the wall clock this often: a machine that slept, or whose clock was set, must not oversleep.
const GLANCE: Duration = Duration::from_secs(30);

/// When somebody else is at work, what they do is done soon.
const BUSY_WAIT: Duration = Duration::from_secs(60);

pub(super) async fn run(global: &Global, edge: Edge) -> Result<(), Failure> {
    // The one thing that lives on from poll to poll: a disk that takes no note of a refusal must not lead to another one.
    let refusals = global.refusals(Asker::Timer, edge);
    let settings = global.settings(&refusals)?;
    let server = settings.remote().map_err(failed)?.server.clone();
    let _lock = Lock::take(&settings.paths.run_lock()).await.map_err(failed)?;
    let signals = Signals::listen()
        .map_err(|source| failed(StorageError { act: "listen for signals of", path: "this process".into(), source }))?;
    let next = poll::first_poll(edge.now(), settings.rhythm, edge.random());
    if let Err(failure) = note(&settings, next).await {
        // Each poll will find out, and report it: a full disk at boot must not end what keeps this headend up to date.
        tracing::warn!(reason = failure.reason.as_str(), "the next poll was not noted: {}", failure.message);
    }
    tracing::info!(%server, every = ?settings.rhythm.every, next_poll = %next, "Polling");
    service::ready();
    tokio::select! {
        () = poll(global, edge, &refusals, settings, next, signals) => {}
        () = service::keep_telling() => {}
    }
    service::stopping();
    tracing::info!("told to end; good-bye");
    Ok(())
}

async fn poll(
    global: &Global,
    edge: Edge,
    refusals: &Refusals,
    mut settings: Settings,
    mut next: Timestamp,
    mut signals: Signals,
) {
    // The state counts failures too, where it can be written.
    let mut failures = 0_u32;
    let mut settled = false;
    loop {
        let wait = poll::wait(edge.now(), next, settings.rhythm);
        if !wait.is_zero() {
            match signals.within(wait.min(GLANCE)).await {
                Some(Asked::End) => break,
                Some(Asked::Now) => tracing::info!("asked to poll now"),
                None => continue,
            }
        }
        // So that a new token, root or setting counts from the next poll on, and at once with SIGHUP.
        match global.settings(refusals) {
            Ok(read) => settings = read,
            Err(failure) => tracing::error!(
                reason = failure.reason.as_str(),
                "what is configured now is of no use, so the earlier configuration counts: {}",
                failure.message
            ),
        }
        if !settled {
            settings.rhythm = poll::after_start(settings.rhythm);
        }
        let updater = Updater { settings: &settings, edge, show_progress: false };
        // An update can be dropped anywhere, as it can be killed anywhere: the next one heals it.
        let ended = tokio::select! {
            ended = updater.update(Trigger::Schedule) => ended,
            () = signals.end() => break,
        };
        settled |= ended.is_ok();
        failures = if ended.is_ok() { 0 } else { failures.saturating_add(1) };
        next = next_after(&settings, edge, ended.err().as_ref(), failures);
    }
}

/// The update wrote it into the state; where it could not, the same rule is applied here.
fn next_after(settings: &Settings, edge: Edge, error: Option<&UpdateError>, failures: u32) -> Timestamp {
    let now = edge.now();
    if let Some(UpdateError::Lock(LockError::Busy { .. })) = error {
        tracing::info!("another feed-client is at work; polling again soon");
        return jiff::SignedDuration::try_from(BUSY_WAIT)
            .ok()
            .and_then(|wait| now.checked_add(wait).ok())
            .unwrap_or(now);
    }
    let state = mend::load(&settings.paths).ok();
    let noted = state.as_ref().and_then(|state| state.next_poll).filter(|next| *next > now);
    noted.unwrap_or_else(|| {
        let failures = state.map_or(failures, |state| state.failures_in_a_row.max(failures));
        poll::next_poll(now, settings.rhythm, error.map(|error| error.failed(failures)), edge.random())
    })
}

/// For `status`, until the first poll ends. The state is written under the lock only; whoever holds it is about to
/// write something newer.
async fn note(settings: &Settings, next: Timestamp) -> Result<(), Failure> {
    let _lock = match Lock::take(&settings.paths.lock()).await {
        Err(LockError::Busy { .. }) => return Ok(()),
        taken => taken.map_err(failed)?,
    };
    let mut state = mend::load(&settings.paths).map_err(failed)?;
    if state.rebuilt.as_ref().is_some_and(|rebuilt| rebuilt.at.is_none()) {
        // The first poll takes note of that.
        return Ok(());
    }
    state.next_poll = Some(next);
    state.save(&settings.paths).map_err(failed)
}

enum Asked {
    Now,
    End,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn within(&mut self, wait: Duration) -> Option<Asked> {
        tokio::select! {
            _ = self.hangup.recv() => Some(Asked::Now),
            _ = self.terminate.recv() => Some(Asked::End),
            _ = self.interrupt.recv() => Some(Asked::End),
            () = tokio::time::sleep(wait) => None,
        }
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
