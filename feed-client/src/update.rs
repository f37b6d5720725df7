//! One attempt to be up to date, from the lock to the report. It composes the steps; each of them knows nothing of the
//! others. Every step leaves the disk so that the next attempt, after whatever end of this one, goes on from there.

mod error;

use std::time::Instant;

use bundles::report::Failure;
use bundles::{Limits, Manifest, Reason, Reasoned as _, Serial};
use jiff::{SignedDuration, Timestamp};

pub use error::UpdateError;

use crate::apply::hook::{self, Occasion};
use crate::apply::stage::{self, Staging};
use crate::apply::{self, activate, defaults, prune, rollback};
use crate::clock::Edge;
use crate::crash;
use crate::download::{self, DownloadError};
use crate::lock::Lock;
use crate::plan::{self, From as Origin};
use crate::progress::Progress;
use crate::repository::{Repository, SignedManifest, Store};
use crate::settings::Settings;
use crate::state::{Activating, Hold, HoldReason, State};
use crate::{durable, metrics, poll, report};

/// A manifest that claims to be made later than this from now means that one of the two clocks is wrong; with this
/// machine's clock far behind, expired metadata would pass for fresh. A day is more than time zones set wrong amount to.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

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
        /// Bytes of payloads fetched for it.
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
        let (_lock, mut state) = self.begin(trigger).await?;
        let run_id = format!("{:08x}", (self.edge.random() * f64::from(u32::MAX)) as u32);
        let began = Instant::now();
        tracing::info!(run_id, server = %self.settings.server, "Starting posture update");

        let result = self.run(&mut state, trigger).await;
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
            }
        }
        let ended = self.end(&mut state, trigger, &result).await;
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
        let (_lock, mut state) = self.begin(Trigger::Operator).await?;
        let result = self.run_back(&mut state, asked).await;
        state.running_since = None;
        let saved = state.save(&self.settings.paths);
        self.tell(&state).await;
        let outcome = result?;
        saved?;
        Ok(outcome)
    }

    async fn run_back(&self, state: &mut State, asked: Option<Serial>) -> Result<Outcome, UpdateError> {
        let paths = &self.settings.paths;
        self.heal(state).await?;
        let current = apply::current(paths)?;
        let serial = rollback::choose(asked, current, &apply::releases(paths)?)?;
        self.activate(state, Activating { serial, previous: current, rollback: true, refused: false }).await?;
        tracing::info!(serial = serial.get(), "Went back; newer releases up to the newest one seen are held");
        Ok(Outcome::Applied { serial, previous: current, bytes: 0 })
    }

    async fn begin(&self, trigger: Trigger) -> Result<(Lock, State), UpdateError> {
        let paths = &self.settings.paths;
        let lock = Lock::take(&paths.lock()).await?;
        let mut state = State::load(paths)?;
        let now = self.edge.now();
        state.running_since = Some(now);
        if trigger == Trigger::Schedule {
            state.next_poll = None;
        }
        state.save(paths)?;
        Ok((lock, state))
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
                state.last_failure.get_or_insert_with(|| {
                    Failure::new(Reason::HookFailed, format!("release {serial} is held: the hook refused it"))
                });
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
            let failure = result.as_ref().err().map(bundles::Reasoned::reason);
            let (rhythm, failures) = (self.settings.rhythm, state.failures_in_a_row);
            state.next_poll = Some(poll::next_poll(now, rhythm, failure, failures, self.edge.random()));
        }
        let saved = state.save(&self.settings.paths);
        self.tell(state).await;
        Ok(saved?)
    }

    /// Metrics and report: neither can make an attempt fail, nor a failed one worse.
    async fn tell(&self, state: &State) {
        let running = apply::running(&self.settings.paths).ok().flatten();
        if let Some(textfile) = &self.settings.config.metrics.textfile {
            let text = metrics::render(state, running.as_ref(), &self.settings.rhythm);
            if let Err(error) = durable::write(textfile, text.as_bytes(), durable::Readers::Anyone) {
                tracing::warn!("metrics were not written: {}", error.whole_message());
            }
        }
        if let Err(error) = report::send(self.settings, state, running.as_ref()).await {
            tracing::warn!(reason = error.reason().as_str(), "no report was made: {}", error.whole_message());
        }
    }

    async fn run(&self, state: &mut State, trigger: Trigger) -> Result<Outcome, UpdateError> {
        let paths = &self.settings.paths;
        self.heal(state).await?;
        let now = self.edge.now();
        let store = Store::open(&paths.metadata(self.settings.side));
        let (http, location) = (&self.settings.http, &self.settings.location);
        let mut repository = Repository::refresh(http, location, &self.settings.pinned_root, &store, now).await?;
        state.root = Some(repository.root());
        let signed = repository.stable().await?;
        let newest = signed.manifest();
        let serial = newest.serial;
        check_floor(newest, state, now)?;
        state.saw(serial);
        state.save(paths)?;

        let current = apply::current(paths)?;
        if current == Some(serial) {
            return match apply::manifest(paths, serial) {
                Ok(Some(here)) if &here != newest => Err(UpdateError::SameNumber { serial }),
                Ok(Some(_)) => {
                    if trigger == Trigger::Operator && state.hold.take().is_some() {
                        state.save(paths)?;
                    }
                    Ok(Outcome::Unchanged { serial })
                }
                // Its manifest is damaged or gone, so the whole release is made again in place.
                Ok(None) | Err(_) => self.take(state, &mut repository, &signed, current).await,
            };
        }
        if let (Trigger::Schedule, Some(why)) = (trigger, state.holds(serial)) {
            tracing::info!(
                serial = serial.get(),
                ?why,
                "the newest release is held; `feed-client update` tries it again"
            );
            return Ok(Outcome::Held { serial, why });
        }
        self.take(state, &mut repository, &signed, current).await
    }

    /// Brings a release here and makes it the one that runs.
    async fn take(
        &self,
        state: &mut State,
        repository: &mut Repository,
        signed: &SignedManifest,
        current: Option<Serial>,
    ) -> Result<Outcome, UpdateError> {
        let paths = &self.settings.paths;
        let serial = signed.manifest().serial;
        // A killed run may have come as far as this, or the release is the one that was held.
        let here = {
            let (paths, manifest) = (paths.clone(), signed.manifest().clone());
            off_the_loop(move || apply::is_intact(&paths, &manifest)).await?
        };
        let bytes = if here { 0 } else { self.bring(repository, signed).await? };
        let previous = match current {
            // The release that runs was made again in place: what to go back to is the one before.
            Some(current) if current == serial => rollback::choose(None, Some(serial), &apply::releases(paths)?).ok(),
            current => current,
        };
        self.activate(state, Activating { serial, previous, rollback: false, refused: false }).await?;
        let keep = self.settings.config.apply.keep_releases;
        if let Err(error) = prune::prune(paths, serial, previous, keep) {
            // The release runs; what could not be removed is tried again with the next one.
            tracing::warn!("an old release was not removed: {}", error.whole_message());
        }
        Ok(Outcome::Applied { serial, previous: current, bytes })
    }

    async fn bring(&self, repository: &mut Repository, signed: &SignedManifest) -> Result<u64, UpdateError> {
        let paths = &self.settings.paths;
        let limits = Limits::default();
        let plan = plan::plan(signed.manifest(), &apply::kept_payloads(paths)?, &limits)?;
        let staging = Staging::begin(paths, signed)?;
        let total = plan.bytes_to_fetch();
        let progress = if self.show_progress { Progress::on_terminal(total) } else { Progress::hidden() };
        let mut bytes = 0;
        for payload in plan.payloads {
            let file = payload.file;
            let name = file.target_name().map_err(|_| plan::PlanError::Name { name: file.name.to_string() })?;
            let target = repository.target(&name).await?;
            // The manifest is signed too, but by what it is: a release. What its files are, the metadata says.
            if target.sha256() != file.sha256 || target.length() != file.length {
                return Err(DownloadError::Disagree { name }.into());
            }
            let into = staging.place_of(&file)?;
            if let Origin::Kept(from) = payload.from {
                let (file, into) = (file.clone(), into.clone());
                if off_the_loop(move || download::take_over(&file, &from, &into)).await?? {
                    continue;
                }
                tracing::warn!(payload = %target.name(), "a kept payload is damaged and is fetched again");
            }
            progress.on(file.name.as_str());
            let (http, location) = (&self.settings.http, &self.settings.location);
            download::fetch(http, location, &target, &into, &progress).await?;
            crash::point("client.download.done");
            bytes += target.length();
        }
        progress.finish();
        let (paths, signed) = (paths.clone(), signed.clone());
        off_the_loop(move || {
            staging.open(&limits)?;
            staging.finish(&paths, &signed)
        })
        .await??;
        Ok(bytes)
    }

    /// Switches, asks the hook, and keeps the switch or goes back. What is going on stands in the state before it
    /// happens, so that [`Self::heal`] can finish it.
    async fn activate(&self, state: &mut State, activating: Activating) -> Result<(), UpdateError> {
        let paths = &self.settings.paths;
        state.activating = Some(activating);
        state.save(paths)?;
        activate::switch(paths, Some(activating.serial))?;
        self.confirm(state, activating).await
    }

    /// The second half of a switch, from the hook on.
    async fn confirm(&self, state: &mut State, activating: Activating) -> Result<(), UpdateError> {
        let paths = &self.settings.paths;
        let serial = activating.serial;
        if let Some(program) = &self.settings.config.apply.hook {
            let release = paths.release(serial);
            let release = std::path::absolute(&release).unwrap_or(release);
            let occasion = Occasion { serial, release: &release, previous: activating.previous };
            if let Err(error) = hook::run(program, &occasion, hook::TIMEOUT).await {
                self.go_back(state, activating)?;
                let back_to = activating.previous;
                return Err(UpdateError::Hook { serial, back_to: back_to.into(), source: error });
            }
            crash::point("client.hook.after");
        }
        defaults::create_once(paths, serial, &self.settings.config.apply.defaults)?;
        state.activating = None;
        state.hold = activating.rollback.then(|| Hold {
            serial: state.highest_serial.max(activating.previous).unwrap_or(serial),
            why: HoldReason::Rollback,
        });
        state.save(paths)?;
        crash::point("client.activate.kept");
        Ok(())
    }

    fn go_back(&self, state: &mut State, activating: Activating) -> Result<(), UpdateError> {
        let paths = &self.settings.paths;
        // Decided before it is done: a kill in between must not ask the hook a second time and perhaps hear yes.
        state.activating = Some(Activating { refused: true, ..activating });
        if !activating.rollback {
            state.hold = Some(Hold { serial: activating.serial, why: HoldReason::HookFailed });
        }
        state.save(paths)?;
        activate::switch(paths, activating.previous)?;
        state.activating = None;
        state.save(paths)?;
        Ok(())
    }

    /// Finishes what a killed run left half done, before anything else and without the network.
    async fn heal(&self, state: &mut State) -> Result<(), UpdateError> {
        let paths = &self.settings.paths;
        stage::clear(paths)?;
        let Some(activating) = state.activating else { return Ok(()) };
        let switched = apply::current(paths)? == Some(activating.serial);
        tracing::warn!(
            serial = activating.serial.get(),
            switched,
            "an earlier run was killed while it switched; finishing"
        );
        if !switched {
            state.activating = None;
            return Ok(state.save(paths)?);
        }
        if activating.refused { self.go_back(state, activating) } else { self.confirm(state, activating).await }
    }
}

fn check_floor(newest: &Manifest, state: &State, now: Timestamp) -> Result<(), UpdateError> {
    let serial = newest.serial;
    if let Some(seen) = state.highest_serial.filter(|seen| serial < *seen) {
        return Err(UpdateError::OldRelease { serial, seen });
    }
    if newest.created.duration_since(now) > CLOCK_TOLERANCE {
        return Err(UpdateError::Clock { serial, created: newest.created, now });
    }
    Ok(())
}

/// Hashing, opening and syncing hundreds of megabytes would stop signals and timeouts from being looked at.
async fn off_the_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, UpdateError> {
    tokio::task::spawn_blocking(work).await.map_err(UpdateError::Worker)
}
