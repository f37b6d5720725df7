//! One update run: look at upstream, make a release of what is new, publish it. Same state in, same act out; a run that
//! was killed anywhere is healed by the next one.

use std::sync::Arc;
use std::time::Instant;

use bundles::index::Reading;
use bundles::report::Failure;
use bundles::{Digest, Manifest, Reasoned, Serial};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::follow::{self, Following};
use super::password::PasswordWatch;
use super::sources::{self, Asked, Look};
use super::vouching;
use crate::app::runs::{Progress, Request, Running};
use crate::app::{App, Role, internal};
use crate::store::StoreError;
use crate::store::evidence::{self, ChainRecord};
use crate::store::records::{Outcome, RunRecord, Trigger};
use crate::sync::checked::Validator;
use crate::sync::{self, CheckedFeed, Known, Looked, SyncError};
use crate::upstream::{Setup, Vendor, Watch};
use crate::{crash, release};

/// Names this program to upstream, whose operators may want to know who asks.
pub const USER_AGENT: &str = concat!("posture-feed/", env!("CARGO_PKG_VERSION"));

/// Runs an update and records how it went; `stop` cuts it off.
pub async fn run(app: &Arc<App>, request: Request, running: Running<'_>, stop: &CancellationToken) -> RunRecord {
    let began = Instant::now();
    let progress = Arc::clone(running.progress());
    let mut record = RunRecord::begun(request.run, progress.started, request.trigger);
    tracing::info!(run = request.run, trigger = ?request.trigger, "Starting posture update");

    let warned = app.warned();
    let mut seen = Seen::default();
    let attempt = async {
        // Again, for the store may have had no room for it at the start.
        end_interrupted(app).await;
        put(app, &record).await?;
        attempt(app, request, &progress, &mut seen).await
    };
    let outcome = tokio::select! {
        result = attempt => match result {
            Ok(Taken::Released(serial)) => Outcome::Released { serial },
            Ok(Taken::Nothing) => Outcome::Unchanged,
            Ok(Taken::Held(message)) => Outcome::Held { message },
            Err(failure) => Outcome::Failed { failure },
        },
        () = stop.cancelled() => Outcome::Failed { failure: super::startup::cut_off() },
    };

    record.clock_offset = seen.clock_offset;
    record.chains = seen.chains;
    record.reading = seen.reading;
    record.source_url = seen.source_url;
    record.received_bytes = progress.received();
    record.ended = Some(app.now());
    record.outcome = Some(outcome);
    crash::point("run.before_record");
    if let Err(failure) = put(app, &record).await {
        tracing::error!(
            run = record.id,
            reason = failure.reason.as_str(),
            error = failure.message,
            "a run is not recorded"
        );
    }
    report(app, &record, began.elapsed());
    // Before whoever waits for the run hears of its end, so that the log is complete by then.
    app.tell_warnings_after(&warned);
    // And so is the tidying up: a command that needs no server ends with the answer.
    if !stop.is_cancelled() {
        collect(app).await;
    }
    running.end(record.clone());
    record
}

/// Tells of a run that could not begin, since the store gave it no number. It is not recorded, for the same reason.
pub(super) fn not_begun(app: &App, trigger: Trigger, failure: Failure) -> RunRecord {
    let now = app.now();
    // Behind the last number that is known to be used; 0 where none is.
    let id = app.runs.last().map_or(0, |last| if last.id == 0 { 0 } else { last.id + 1 });
    let outcome = Some(Outcome::Failed { failure });
    let record = RunRecord { ended: Some(now), outcome, ..RunRecord::begun(id, now, trigger) };
    report(app, &record, std::time::Duration::ZERO);
    app.runs.set_last(record.clone());
    record
}

fn report(app: &App, record: &RunRecord, took: std::time::Duration) {
    let Some(outcome) = &record.outcome else { return };
    app.metrics.sync.sync_total.with_label_values(&[outcome.label()]).inc();
    app.metrics.sync.sync_duration_seconds.0.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    let (run, seconds, bytes) = (record.id, took.as_secs_f64(), record.received_bytes);
    match outcome {
        Outcome::Released { serial } => {
            tracing::info!(run, seconds, bytes, serial = serial.get(), result = "ok", "Completed posture update");
        }
        Outcome::Unchanged => {
            let serial = app.published.load().serial().map(Serial::get);
            tracing::info!(run, seconds, bytes, serial, result = "unchanged", "Completed posture update");
        }
        Outcome::Held { message } => {
            tracing::warn!(run, seconds, bytes, result = "held", "Completed posture update: {message}");
        }
        Outcome::Failed { failure } => {
            let reason = failure.reason.as_str();
            tracing::error!(run, seconds, bytes, reason, error = failure.message, "Posture update failed");
        }
    }
}

/// Tells earlier runs and imports their end, where a start could not.
pub(super) async fn end_interrupted(app: &Arc<App>) {
    let ending = Arc::clone(app);
    match tokio::task::spawn_blocking(move || super::startup::end_interrupted(&ending)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => untidy(&error),
        Err(error) => untidy(&internal(&error)),
    }
}

/// What an attempt saw of upstream, however it ended.
#[derive(Debug, Default)]
struct Seen {
    clock_offset: Option<i64>,
    chains: Vec<ChainRecord>,
    reading: Option<Reading>,
    source_url: Option<String>,
}

/// What came of something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A release.
    Released(Serial),
    /// Nothing: it is what the newest release has.
    Nothing,
    /// Nothing, since it is held back; the sentence about it.
    Held(String),
}

/// What came of it, published.
async fn attempt(app: &Arc<App>, request: Request, progress: &Progress, seen: &mut Seen) -> Result<Taken, Failure> {
    // Made for each run: it reads the trust anchors' files, which may have changed since the last one.
    let watch = Arc::new(PasswordWatch::new(app));
    let setup = Setup { watch: Arc::clone(&watch) as Arc<dyn Watch>, ..Setup::default() };
    let vendor = Vendor::open(&app.config.upstream, USER_AGENT, setup).map_err(|error| Failure::of(&error))?;
    let way = Way { app, request, vendor: &vendor, watch: &watch };
    let made = match app.role() {
        Role::Origin => mirror_vendor(way, progress, seen).await?,
        Role::Relay => follow_server(way, progress, seen).await?,
    };

    retain(app).await;
    // Also where nothing is new, for then it does nothing: a run that was killed, or a disk that was full, may have left
    // a release half published.
    app.publisher.publish(app.now()).await.map_err(|error| Failure::of(&error))?;
    Ok(made)
}

/// How upstream is reached in a run.
#[derive(Clone, Copy)]
struct Way<'a> {
    app: &'a Arc<App>,
    request: Request,
    vendor: &'a Vendor,
    watch: &'a PasswordWatch,
}

impl Way<'_> {
    /// Looks at upstream's URLs, and notes what was seen of them.
    async fn ask<L: Look>(self, look: &L, seen: &mut Seen) -> Result<L::Found, Failure> {
        let ending = self.watch.ending();
        let asked = sources::ask(self.app, self.request, self.vendor, self.watch, look).await;
        drop(ending);
        let sources = self.vendor.sources();
        seen.chains = evidence::presented(self.vendor.verifier(), sources.iter().filter_map(Url::host_str));
        let Asked { looked, fallback } = asked?;
        seen.source_url = fallback;
        Ok(looked)
    }
}

/// A look at the vendor's feed.
struct Feed<'a> {
    app: &'a App,
    known: &'a Known,
    progress: &'a Progress,
}

impl Look for Feed<'_> {
    type Found = Looked;
    type Error = SyncError;

    async fn look(&self, vendor: &Vendor) -> Result<Looked, SyncError> {
        let (staging, limits) = (&self.app.store.staging, &self.app.config.limits);
        sync::look(vendor, self.known.clone(), staging, limits, self.progress).await
    }
}

/// An origin's run.
async fn mirror_vendor(way: Way<'_>, progress: &Progress, seen: &mut Seen) -> Result<Taken, Failure> {
    let app = way.app;
    let (known, newest) = known(app)?;
    match way.ask(&Feed { app, known: &known, progress }, seen).await? {
        Looked::Unchanged { clock_offset, reading, validators, .. } => {
            (seen.clock_offset, seen.reading) = (clock_offset, reading);
            remember(app, validators).await?;
            Ok(Taken::Nothing)
        }
        Looked::Feed(mut feed) => {
            feed.source.vouched_by = vouching::for_web(way.vendor.verifier(), feed.source.url.as_deref());
            (seen.clock_offset, seen.reading) = (feed.clock_offset, feed.reading);
            take(app, *feed, newest, way.request.wishes.accept_version_rollback).await
        }
    }
}

/// The run of a relay that follows another feed-server.
async fn follow_server(way: Way<'_>, progress: &Progress, seen: &mut Seen) -> Result<Taken, Failure> {
    let standing = follow::standing(way.app).await?;
    let brought = way.ask(&Following::new(way.app, &standing, progress), seen).await?;
    seen.clock_offset = brought.clock_offset();
    follow::take(way.app, brought).await
}

pub(super) fn known(app: &App) -> Result<(Known, Option<Manifest>), Failure> {
    let of = |error: StoreError| Failure::of(&error);
    let newest = app.store.newest_release().map_err(of)?.map(|release| release.manifest);
    let blobs = Arc::clone(&app.store.blobs);
    let known = Known {
        validators: app.store.validators().map_err(of)?,
        // What cannot be known to be here is fetched again.
        blobs: Arc::new(move |digest: &Digest| blobs.contains(digest).unwrap_or(false)),
        newest: newest.clone(),
    };
    Ok((known, newest))
}

/// Makes a release of a feed that passed every check, where it holds anything new and that is not held back. What is held
/// back is kept all the same, so that it is not fetched again by each run, and is here when releases are resumed.
pub(super) async fn take(
    app: &Arc<App>,
    feed: CheckedFeed,
    newest: Option<Manifest>,
    accept_version_rollback: bool,
) -> Result<Taken, Failure> {
    let (app, now) = (Arc::clone(app), app.now());
    let take = move || -> Result<Taken, Failure> {
        let of = |error: StoreError| Failure::of(&error);
        let store = &app.store;
        // Until the release is there: whoever holds releases from now on knows that none comes after.
        let mut settled = app.settled().map_err(of)?;
        let highest = store.highest_serial().map_err(of)?;
        let planned = release::plan(&feed, newest.as_ref(), highest, now, accept_version_rollback)
            .map_err(|error| Failure::of(&error))?;
        let held = planned.as_ref().and_then(|manifest| settled.holding().keeps_back(manifest.files()));
        match (planned, held) {
            (None, _) => release::unchanged(store, feed).map(|()| Taken::Nothing),
            (Some(_), Some(message)) => {
                return release::unchanged(store, feed).map(|()| Taken::Held(message)).map_err(of);
            }
            (Some(manifest), None) => {
                release::commit(store, feed, &manifest).map(|()| Taken::Released(manifest.serial))
            }
        }
        .and_then(|taken| settled.end_withdrawal().map(|()| taken))
        .map_err(of)
    };
    tokio::task::spawn_blocking(take).await.map_err(|error| internal(&error))?
}

/// What to send as conditions next time; upstream has what the newest release has, and so nothing that was withdrawn.
async fn remember(app: &Arc<App>, mut validators: Vec<Validator>) -> Result<(), Failure> {
    let app = Arc::clone(app);
    // In the store's order, so that the same ones are not written again.
    validators.sort_by(|one, other| one.url.cmp(&other.url));
    let remember = move || -> Result<(), StoreError> {
        app.settled()?.end_withdrawal()?;
        let store = &app.store;
        if store.validators()? == validators {
            return Ok(());
        }
        store.commit(store.validators_batch(&validators)?)
    };
    let remembered = tokio::task::spawn_blocking(remember).await.map_err(|error| internal(&error))?;
    remembered.map_err(|error| Failure::of(&error))
}

async fn put(app: &App, record: &RunRecord) -> Result<(), Failure> {
    let (store, record) = (app.store.clone(), record.clone());
    let put = tokio::task::spawn_blocking(move || store.put_run(&record)).await.map_err(|error| internal(&error))?;
    put.map_err(|error| Failure::of(&error))
}

/// Forgets releases beyond those retained; what is published next no longer names them.
pub(super) async fn retain(app: &Arc<App>) {
    let (store, keep) = (app.store.clone(), app.config.data.retain_releases);
    let retained = tokio::task::spawn_blocking(move || release::retain(&store, keep));
    match retained.await {
        Ok(Ok(forgotten)) => {
            for serial in forgotten {
                tracing::info!(serial = serial.get(), "a release is no longer retained");
            }
        }
        Ok(Err(error)) => untidy(&error),
        Err(error) => untidy(&internal(&error)),
    }
}

/// Removes content that nothing names.
pub(super) async fn collect(app: &Arc<App>) {
    let collecting = Arc::clone(app);
    let collected =
        tokio::task::spawn_blocking(move || release::collect(&collecting.store, &collecting.publisher.in_use()));
    match collected.await {
        Ok(Ok(removed)) if removed > 0 => tracing::info!(removed, "removed content that nothing names"),
        Ok(Ok(_)) => {}
        Ok(Err(error)) => untidy(&error),
        Err(error) => untidy(&internal(&error)),
    }
}

/// What cannot be tidied fails no run: the next one tries again.
pub(super) fn untidy(error: &dyn Reasoned) {
    let reason = error.reason().as_str();
    tracing::warn!(reason, error = error.whole_message(), "something is left undone; the next run tries again");
}
