//! What a start puts right before anything is served.

use bundles::report::Failure;
use bundles::{Reason, Reasoned as _, Serial};
use jiff::Timestamp;

use crate::app::App;
use crate::store::StoreError;
use crate::store::imports::{ImportKind, ImportOutcome, ImportRecord};
use crate::store::records::{Outcome, RunRecord};

/// Why a run without an end failed.
#[must_use]
pub fn cut_off() -> Failure {
    let message = "the run was cut off by the end of the process; what it left unfinished, the next run takes over";
    Failure::new(Reason::Internal, message)
}

/// Gives an end to the runs that have none: the process that ran them is gone, since this one has the lock. A run whose
/// release was committed before it was cut off made that release: publishing it is what a start does. Returns how many
/// there were.
///
/// # Errors
/// The store cannot be read or written.
pub fn end_interrupted_runs(app: &App) -> Result<usize, StoreError> {
    let mut interrupted = 0;
    let runs = app.store.runs(usize::MAX)?;
    let mut next_started = None;
    for mut run in runs.iter().cloned() {
        let followed_at = next_started.replace(run.started);
        let is_cut_off = match &run.outcome {
            None => true,
            // A run that was told to stop leaves the commit that is under way to itself.
            Some(Outcome::Failed { failure }) => *failure == cut_off(),
            Some(Outcome::Released { .. } | Outcome::Unchanged) => false,
        };
        if !is_cut_off {
            continue;
        }
        match made_by(app, &run, followed_at, &runs)? {
            Some((serial, created)) => {
                run.ended = Some(created);
                run.outcome = Some(Outcome::Released { serial });
            }
            None if run.outcome.is_some() => continue,
            None => {
                // When it was cut off nobody knows; its start is the one time that is certain.
                run.ended = Some(run.started);
                run.outcome = Some(Outcome::Failed { failure: cut_off() });
            }
        }
        tracing::warn!(run = run.id, outcome = ?run.outcome, "an earlier update run was cut off");
        app.store.put_run(&run)?;
        // It ended under a process that could not count it any more.
        if let Some(outcome) = &run.outcome {
            app.metrics.sync.sync_total.with_label_values(&[outcome.label()]).inc();
        }
        interrupted += 1;
    }
    Ok(interrupted)
}

/// Why an import without an end failed.
#[must_use]
pub fn import_cut_off() -> Failure {
    let message = "the import was cut off by the end of the process and changed nothing; import the zip again";
    Failure::new(Reason::Internal, message)
}

/// Gives an end to the imports that have none, as [`end_interrupted_runs`] does. Returns how many there were.
///
/// # Errors
/// The store cannot be read or written.
pub fn end_interrupted_imports(app: &App) -> Result<usize, StoreError> {
    let mut interrupted = 0;
    for mut import in app.store.imports(usize::MAX)? {
        let is_cut_off = match &import.outcome {
            None => true,
            // One that was told to stop leaves the commit that is under way to itself.
            Some(outcome) => outcome.failure().is_some_and(|failure| *failure == import_cut_off()),
        };
        if !is_cut_off {
            continue;
        }
        let outcome = match brought_by(app, &import)? {
            Some(serial) => ImportOutcome::Imported { serial },
            None if import.outcome.is_some() => continue,
            None => ImportOutcome::Failed { failure: import_cut_off() },
        };
        tracing::warn!(import = import.id, ?outcome, "an earlier import was cut off");
        app.metrics.imports.import_total.with_label_values(&[outcome.label()]).inc();
        // When it was cut off nobody knows; its start is the one time that is certain.
        import.ended = Some(import.started);
        import.outcome = Some(outcome);
        app.store.put_import(&import)?;
        interrupted += 1;
    }
    Ok(interrupted)
}

/// The release that an import brought before it was cut off.
fn brought_by(app: &App, import: &ImportRecord) -> Result<Option<Serial>, StoreError> {
    match import.kind {
        ImportKind::Bundle => {
            let Some(verified) = &import.verified else { return Ok(None) };
            let is_new = verified.highest_before.is_none_or(|highest| highest < verified.serial);
            Ok((is_new && app.store.highest_serial()? >= Some(verified.serial)).then_some(verified.serial))
        }
        ImportKind::VendorZip => {
            let releases = app.store.releases(usize::MAX)?.into_iter().map(|release| release.manifest);
            let made = |release: &bundles::Manifest| {
                release.created >= import.started && release.source.sha256 == import.sha256 && import.sha256.is_some()
            };
            Ok(releases.filter(made).map(|release| release.serial).min())
        }
    }
}

/// The release that a run made before it was cut off: made between its start and that of the run after it, and by no
/// other. Releases that are no longer retained are nobody's.
fn made_by(
    app: &App,
    run: &RunRecord,
    followed_at: Option<Timestamp>,
    runs: &[RunRecord],
) -> Result<Option<(Serial, Timestamp)>, StoreError> {
    let made = |run: &RunRecord| match run.outcome {
        Some(Outcome::Released { serial }) => Some(serial),
        Some(Outcome::Unchanged | Outcome::Failed { .. }) | None => None,
    };
    let taken = |serial| runs.iter().any(|other| made(other) == Some(serial));
    let releases = app.store.releases(usize::MAX)?;
    let since = releases.iter().map(|release| (release.manifest.serial, release.since()));
    let mut made = since.filter(|(_, at)| *at >= run.started && followed_at.is_none_or(|next| *at <= next));
    Ok(made.find(|(serial, _)| !taken(*serial)))
}

/// Publishes what the store holds, so that whatever an earlier process left half done is whole. That something cannot
/// be published stops no start: what is served already must not go away for it, and the next run tries again.
pub async fn publish(app: &App) {
    // Fewer may be retained than when the last run ended.
    if let Err(error) = crate::release::retain(&app.store, app.config.data.retain_releases) {
        let reason = error.reason().as_str();
        tracing::warn!(reason, error = error.whole_message(), "what is old stays; the next run tries again");
    }
    if let Err(error) = app.publisher.publish(app.now()).await {
        let reason = error.reason().as_str();
        tracing::error!(
            reason,
            error = error.whole_message(),
            "what is new cannot be published; the next run tries again"
        );
    }
}

#[cfg(test)]
mod tests;
