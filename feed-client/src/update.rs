//! One attempt to be up to date, from the lock to the report. It composes the steps; each of them knows nothing of the
//! others. Every step leaves the disk so that the next attempt, after whatever end of this one, goes on from there.

mod attempt;
mod error;
mod idle;
mod import;
mod supplier;

use std::sync::Arc;
use std::time::Instant;

use bundles::report::Failure;
use bundles::{Manifest, Reason, Reasoned as _, Serial};

pub use error::UpdateError;
pub use import::Imported;

use crate::apply::stage;
use crate::clock::Edge;
use crate::download::Partials;
use crate::lock::{Lock, LockError};
use crate::settings::Settings;
use crate::state::{HoldReason, State};
use crate::{apply, durable, mend, metrics, poll, report};
use attempt::Attempt;

/// Who wants the update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A person: held releases are tried again.
    Operator,
    /// The timer of `feed-client run`, which then also needs a next time.
    Schedule,
}

/// How an attempt ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A release runs now that did not before.
    Applied {
        /// Which one.
        serial: Serial,
        /// Which one ran before.
        previous: Option<Serial>,
        /// Bytes of payloads fetched for it, as they came, or of archives read from a bundle.
        bytes: u64,
    },
    /// The newest release runs already.
    Unchanged {
        /// Which one.
        serial: Serial,
    },
    /// The newest release is held back.
    Held {
        /// Which one.
        serial: Serial,
        /// Why.
        why: HoldReason,
    },
}

impl Outcome {
    /// The release that runs after it, or is held back.
    #[must_use]
    pub fn serial(&self) -> Serial {
        match self {
            Self::Applied { serial, .. } | Self::Unchanged { serial } | Self::Held { serial, .. } => *serial,
        }
    }

    /// The label of `poll_total`.
    #[must_use]
    pub fn result(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "ok",
            Self::Unchanged { .. } | Self::Held { why: HoldReason::Rollback, .. } => "unchanged",
            // The headend still does not run what it should: its console must not turn green by waiting.
            Self::Held { why: HoldReason::HookFailed, .. } => Reason::HookFailed.as_str(),
            Self::Held { why: HoldReason::StateLost, .. } => Reason::Storage.as_str(),
        }
    }
}

/// Makes attempts.
#[derive(Debug)]
pub struct Updater<'a> {
    /// What to work with.
    pub settings: &'a Settings,
    /// Time and randomness.
    pub edge: Edge,
    /// Whether somebody watches.
    pub show_progress: bool,
}

impl Updater<'_> {
    /// One attempt: refresh, plan, download, stage, activate, prune; then state, metrics and report, whatever came of it.
    ///
    /// # Errors
    /// Why there is no newer release here than before, though there may be one. What ran before still runs.
    pub async fn update(&self, trigger: Trigger) -> Result<Outcome, UpdateError> {
        let mut attempt = match self.begin(trigger).await {
            Ok(attempt) => attempt,
            Err(error) => {
                self.tell_unbegun(&error).await;
                return Err(error);
            }
        };
        let run_id = format!("{:08x}", (self.edge.random() * f64::from(u32::MAX)) as u32);
        let began = Instant::now();
        let server = self.settings.remote.as_ref().map(|remote| remote.server.as_str());
        tracing::info!(run_id, server, "Starting posture update");

        let result = attempt.run(trigger, self.edge.now()).await;
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(outcome) => {
                let bytes = if let Outcome::Applied { bytes, .. } = outcome { *bytes } else { 0 };
                let (result, serial) = (outcome.result(), outcome.serial().get());
                tracing::info!(run_id, result, duration_ms, bytes, serial, "Completed posture update");
            }
            Err(error) => {
                let reason = error.reason().as_str();
                tracing::error!(run_id, reason, duration_ms, "Posture update failed: {}", error.whole_message());
                // What came of it may be what fills the disk, which the state needs now.
                if let Err(error) = stage::clear(&self.settings.paths) {
                    tracing::warn!("an unfinished release stays until the next attempt: {}", error.whole_message());
                }
            }
        }
        if let Some(remote) = &self.settings.remote {
            attempt.state.received.add(&remote.http.take_received());
        }
        if let Ok(Outcome::Applied { .. }) = &result {
            attempt.state.last_transfer = attempt.transfer.take();
        }
        let ended = self.end(&mut attempt.state, trigger, &result).await;
        // The attempt's own failure says more than the failure to take note of it.
        let outcome = result?;
        ended?;
        Ok(outcome)
    }

    /// Goes back to an older release that is here, and holds the newer ones.
    ///
    /// # Errors
    /// There is none such, or the hook refuses it: then the newer one runs on.
    pub async fn roll_back(&self, asked: Option<Serial>) -> Result<Outcome, UpdateError> {
        let mut attempt = self.begin(Trigger::Operator).await?;
        let result = attempt.run_back(asked).await;
        attempt.state.running_since = None;
        let saved = attempt.state.save(&self.settings.paths);
        self.tell(&mut attempt.state).await;
        let outcome = result?;
        saved?;
        Ok(outcome)
    }

    async fn begin(&self, trigger: Trigger) -> Result<Attempt<'_>, UpdateError> {
        let paths = &self.settings.paths;
        let lock = Lock::take(&paths.lock()).await?;
        let apply_lock = match paths.apply_lock() {
            Some(path) => Some(Lock::take(&path).await?),
            None => None,
        };
        let mut state = mend::load(paths)?;
        // Before anything is written: a killed run may have filled the disk with it.
        stage::clear(paths)?;
        let now = self.edge.now();
        mend::take_note(&mut state, paths, now)?;
        state.running_since = Some(now);
        if trigger == Trigger::Schedule {
            state.next_poll = None;
        }
        if state.save(paths).is_err() {
            // Downloads that broke off are kept to save time, and not at the price of a full disk.
            Partials::of(paths).clear()?;
            state.save(paths)?;
        }
        let (settings, show_progress) = (self.settings, self.show_progress);
        Ok(Attempt { settings, show_progress, state, transfer: None, locks: Arc::new((lock, apply_lock)) })
    }

    async fn end(
        &self,
        state: &mut State,
        trigger: Trigger,
        result: &Result<Outcome, UpdateError>,
    ) -> Result<(), UpdateError> {
        let now = self.edge.now();
        state.last_attempt = state.running_since.take().or(Some(now));
        match result {
            Ok(Outcome::Held { why: HoldReason::HookFailed, serial }) => {
                state.count(Reason::HookFailed.as_str());
                state.failures_in_a_row = 0;
                // What the hook said stays to be read; what went wrong otherwise since then is over.
                if state.last_failure.as_ref().is_none_or(|failure| failure.reason != Reason::HookFailed) {
                    let what = format!("release {serial} is held: the hook refused it");
                    state.last_failure = Some(Failure::new(Reason::HookFailed, what));
                }
            }
            Ok(Outcome::Held { why: HoldReason::StateLost, serial }) => {
                state.count(Reason::Storage.as_str());
                let what = format!(
                    "release {serial} is here and does not run; whether an operator went back or the hook refused it is lost with \
                     the state file: `feed-client update` tries it again"
                );
                state.last_failure = Some(Failure::new(Reason::Storage, what));
                state.failures_in_a_row = 0;
            }
            Ok(outcome) => {
                state.count(outcome.result());
                state.last_success = Some(now);
                state.last_failure = None;
                state.failures_in_a_row = 0;
            }
            Err(error) => {
                state.count(error.reason().as_str());
                state.last_failure = Some(Failure::of(error));
                state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
            }
        }
        if trigger == Trigger::Schedule {
            let failed = result.as_ref().err().map(|error| error.failed(state.failures_in_a_row));
            state.next_poll = Some(poll::next_poll(now, self.settings.rhythm, failed, self.edge.random()));
        }
        let saved = state.save(&self.settings.paths);
        if let (Err(error), Ok(_)) = (&saved, result) {
            state.last_failure = Some(Failure::of(error));
        }
        self.tell(state).await;
        Ok(saved?)
    }

    /// Metrics and report: neither can make an attempt fail, nor a failed one worse.
    async fn tell(&self, state: &mut State) {
        let running = apply::running(&self.settings.paths).ok().flatten();
        self.write_metrics(state, running.as_ref());
        let refused = self.report(state, running.as_ref()).await.err();
        // Most attempts end without this second write.
        if state.last_report_failure != refused {
            state.last_report_failure = refused;
            if let Err(error) = state.save(&self.settings.paths) {
                tracing::warn!("how the report went was not noted: {}", error.whole_message());
            }
        }
    }

    fn write_metrics(&self, state: &State, running: Option<&Manifest>) {
        let Some(textfile) = &self.settings.config.metrics.textfile else { return };
        let text = metrics::render(state, running, &self.settings.rhythm);
        if let Err(error) = durable::write(textfile, text.as_bytes(), durable::Readers::Anyone) {
            tracing::warn!("metrics were not written: {}", error.whole_message());
        }
    }

    /// An attempt that cannot even begin, on a full or read-only disk mostly, leaves no trace here: all the more the
    /// operator has to learn of it from the server.
    async fn tell_unbegun(&self, error: &UpdateError) {
        if let UpdateError::Lock(LockError::Busy { .. }) = error {
            // Whoever is at work reports.
            return;
        }
        let paths = &self.settings.paths;
        let state = State {
            last_attempt: Some(self.edge.now()),
            last_failure: Some(Failure::of(error)),
            ..mend::load(paths).unwrap_or_default()
        };
        // There may be nowhere to note how this went; the log has it.
        let _ = self.report(&state, apply::running(paths).ok().flatten().as_ref()).await;
    }

    async fn report(&self, state: &State, running: Option<&Manifest>) -> Result<(), Failure> {
        let mut sent = report::send(self.settings, state, running).await;
        if let Some(pause) = sent.as_ref().err().and_then(|error| error.pause(self.edge.random())) {
            tracing::info!(
                seconds = pause.as_secs(),
                "the server has no time for the report now; waiting to send it again"
            );
            tokio::time::sleep(pause).await;
            sent = report::send(self.settings, state, running).await;
        }
        sent.map_err(|error| {
            tracing::warn!(reason = error.reason().as_str(), "no report was made: {}", error.whole_message());
            Failure::of(&error)
        })
    }
}
