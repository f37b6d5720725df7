//! One import: a zip comes into staging, is checked, and what it brings is published. Same zip in, same state out; one that
//! was killed anywhere is healed by the next start, and by the same zip once more.

mod bundle;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bundles::Reason;
use bundles::report::Failure;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::update::Taken;
use crate::app::imports::{Import, ImportProgress, ImportStep, Piece, is_for_this_role};
use crate::app::runs::{RunningImport, Wishes};
use crate::app::{App, internal};
use crate::store::free_bytes;
use crate::store::imports::{BroughtBy, ImportKind, ImportOutcome, ImportRecord};
use crate::sync::intake::{self, Intake, IntakeError, ReceivedZip};
use crate::{clock, crash};

/// How long nothing may come of a zip before it counts as cut off: an upload holds up update runs meanwhile. A slow line
/// sends something every few seconds, and a stick that has to spin up takes some ten.
const STALL: Duration = Duration::from_secs(60);

/// Pieces between whoever brings the zip and the disk, once more: of some hundred KiB each.
const PIECES: usize = 8;

/// Room that is left free for the catalog, which writes ahead, and for metadata.
const SPARE_BYTES: u64 = 32 << 20;

/// Imports a zip and records how it went; `stop` cuts it off.
pub async fn run(app: &Arc<App>, import: Import, running: RunningImport<'_>, stop: &CancellationToken) {
    let began = Instant::now();
    let progress = Arc::clone(running.progress());
    let Import { id, brought, mut pieces, answer } = import;
    let from = brought.from;
    let mut record = ImportRecord::begun(id, progress.started, brought.by, brought.kind, brought.name);
    tracing::info!(import = id, by = %record.by, name = record.name, "Starting import");

    let received = async {
        // Again, for the store may have had no room for it at the start.
        super::update::end_interrupted(app).await;
        put(app, &record, from.clone()).await?;
        is_for_this_role(app.role(), record.kind)?;
        refuse_held(app).await?;
        receive(app, &progress, brought.length, &mut pieces).await
    };
    let received = tokio::select! {
        received = received => received,
        () = stop.cancelled() => Err(super::startup::import_cut_off()),
    };
    drop(pieces);
    record.length = progress.received();
    let outcome = match received {
        Ok(zip) => {
            record.sha256 = Some(zip.sha256());
            crash::point("import.received");
            let brought_in = bring_in(app, zip, &mut record, brought.wishes, &progress, stop).await;
            brought_in.unwrap_or_else(|failure| ImportOutcome::Failed { failure })
        }
        Err(failure) => ImportOutcome::Failed { failure },
    };

    record.ended = Some(app.now());
    record.outcome = Some(outcome);
    crash::point("import.before_record");
    if let Err(failure) = put(app, &record, from).await {
        let (reason, error) = (failure.reason.as_str(), failure.message);
        tracing::error!(import = id, reason, error, "an import is not recorded");
    }
    report(app, &record, began.elapsed());
    // Before whoever waits hears of the end: a command that needs no server ends with that.
    if !stop.is_cancelled() {
        super::update::collect(app).await;
    }
    running.end(record.clone());
    // Nobody may be waiting any more.
    let _ = answer.send(record);
}

fn report(app: &App, record: &ImportRecord, took: Duration) {
    let Some(outcome) = &record.outcome else { return };
    app.metrics.imports.import_total.with_label_values(&[outcome.label()]).inc();
    let (import, seconds, bytes, result) = (record.id, took.as_secs_f64(), record.length, outcome.label());
    let sha256 = record.sha256.map(|sha256| sha256.to_string());
    match outcome.failure() {
        None => {
            let serial = outcome.serial().map(bundles::Serial::get);
            tracing::info!(import, seconds, bytes, sha256, serial, result, "Completed import");
        }
        Some(failure) => {
            tracing::error!(import, seconds, bytes, sha256, reason = result, error = failure.message, "Import failed");
        }
    }
}

/// Notes what is known of an import that goes on.
async fn note(app: &App, record: &ImportRecord) -> Result<(), Failure> {
    let (store, record) = (app.store.clone(), record.clone());
    let put = tokio::task::spawn_blocking(move || store.put_import(&record)).await.map_err(|error| internal(&error))?;
    put.map_err(|error| Failure::of(&error))
}

/// Puts an import that begins or has ended, and that into the audit trail.
async fn put(app: &Arc<App>, record: &ImportRecord, from: Option<String>) -> Result<(), Failure> {
    let (app, record) = (Arc::clone(app), record.clone());
    let put =
        tokio::task::spawn_blocking(move || app.keep_import(&record, from)).await.map_err(|error| internal(&error))?;
    put.map_err(|error| Failure::of(&error))
}

/// Takes the pieces of a zip into staging.
async fn receive(
    app: &App,
    progress: &ImportProgress,
    announced: Option<u64>,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<ReceivedZip, Failure> {
    let limit = app.config.bundles.max_upload;
    let refused = |error: IntakeError| Failure::of(&error);
    intake::within(announced.unwrap_or_default(), limit).map_err(refused)?;
    has_room(app, announced.unwrap_or_default()).map_err(refused)?;

    let (sender, mut receiver) = mpsc::channel(PIECES);
    let staging = app.store.staging.clone();
    let writer = move || -> Result<ReceivedZip, IntakeError> {
        let mut intake = Intake::begin(&staging, limit)?;
        loop {
            match receiver.blocking_recv() {
                Some(Piece::Bytes(bytes)) => intake.take(&bytes)?,
                Some(Piece::End) => return intake.end(announced),
                Some(Piece::TooSlow) | None => return Err(intake.cut_short(announced)),
            }
        }
    };
    let writer = tokio::task::spawn_blocking(writer);
    let stalled = pump(progress, pieces, sender).await;
    // The writer first: where both failed, it is the disk that stopped the pieces.
    match (writer.await.map_err(|error| internal(&error))?, stalled) {
        (Err(IntakeError::CutShort { .. }), Err(stalled)) => Err(refused(stalled)),
        (written, Ok(()) | Err(_)) => written.map_err(refused),
    }
}

/// Hands the pieces to the writer, as long as any come.
async fn pump(
    progress: &ImportProgress,
    pieces: &mut mpsc::Receiver<Piece>,
    writer: mpsc::Sender<Piece>,
) -> Result<(), IntakeError> {
    let patience = clock::patience(STALL);
    loop {
        let Ok(piece) = tokio::time::timeout(patience, pieces.recv()).await else {
            return Err(IntakeError::Stalled { received: progress.received(), seconds: patience.as_secs() });
        };
        // Where the writer has gone, it says itself why.
        let Some(piece) = piece else { return Ok(()) };
        match &piece {
            Piece::Bytes(bytes) => progress.add(bytes.len() as u64),
            Piece::TooSlow => return Err(IntakeError::TooSlow { received: progress.received() }),
            Piece::End => {}
        }
        let is_end = matches!(piece, Piece::End);
        if writer.send(piece).await.is_err() || is_end {
            return Ok(());
        }
    }
}

/// Refuses what cannot fit before it fills the disk. A disk that cannot be measured is left to itself.
fn has_room(app: &App, bytes: u64) -> Result<(), IntakeError> {
    let needed = bytes.saturating_add(SPARE_BYTES);
    match free_bytes(app.store.directory()) {
        Ok(free) if free < needed => Err(IntakeError::NoRoom { needed, free }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// While somebody holds releases, nothing is even received.
async fn refuse_held(app: &Arc<App>) -> Result<(), Failure> {
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || app.refuse_imports()).await.map_err(|error| internal(&error))?
}

/// Takes what is in the zip, and publishes it.
async fn bring_in(
    app: &Arc<App>,
    zip: ReceivedZip,
    record: &mut ImportRecord,
    wishes: Wishes,
    progress: &Arc<ImportProgress>,
    stop: &CancellationToken,
) -> Result<ImportOutcome, Failure> {
    let outcome = match record.kind {
        ImportKind::Bundle => {
            let (app, progress, stop) = (Arc::clone(app), Arc::clone(progress), stop.clone());
            let mut taken = record.clone();
            let take = move || {
                let outcome = bundle::take(&app, zip, &mut taken, &progress, &stop);
                (outcome, taken)
            };
            // Not cut off from here: it looks itself whether it is to stop, and what it has done is recorded.
            let (outcome, taken) = tokio::task::spawn_blocking(take).await.map_err(|error| internal(&error))?;
            *record = taken;
            outcome?
        }
        ImportKind::VendorZip => return vendors(app, zip, record, wishes, progress, stop).await,
    };
    progress.begin(ImportStep::Publishing, 0);
    super::update::retain(app).await;
    tokio::select! {
        // Also where nothing is new: one that was killed, or a disk that was full, may have left it half published.
        published = app.publisher.publish(app.now()) => published.map_err(|error| Failure::of(&error))?,
        // What is taken is published by the next start.
        () = stop.cancelled() => return Ok(outcome),
    };
    Ok(outcome)
}

/// Makes a release of the vendor's zip, and publishes it.
async fn vendors(
    app: &Arc<App>,
    zip: ReceivedZip,
    record: &ImportRecord,
    wishes: Wishes,
    progress: &ImportProgress,
    stop: &CancellationToken,
) -> Result<ImportOutcome, Failure> {
    progress.begin(ImportStep::Checking, 0);
    // With its digest: by that a start after a kill finds the release that was made of it.
    note(app, record).await?;
    let given = record.name.as_deref().unwrap_or("posture-offline.zip");
    let who = match &record.by {
        BroughtBy::Operator { user: Some(user) } => format!("operator {user} on the server itself"),
        BroughtBy::Operator { user: None } => "operator on the server itself".to_owned(),
        BroughtBy::Token { name } => format!("operator with the token {name}"),
        BroughtBy::WatchedFolder => "whoever may write to the watched folder".to_owned(),
    };
    let made = tokio::select! {
        made = super::vendor_zip::take(app, zip, given, &who, wishes) => made?,
        () = stop.cancelled() => return Err(super::startup::import_cut_off()),
    };
    Ok(match made {
        Taken::Released(serial) => ImportOutcome::Imported { serial },
        Taken::Nothing => ImportOutcome::UpToDate { serial: app.newest().map(|newest| newest.serial) },
        Taken::Held(message) => ImportOutcome::Failed { failure: Failure::new(Reason::BadRequest, message) },
    })
}
