//! What a start puts right before anything is served.

use std::collections::HashSet;

use bundles::report::Failure;
use bundles::{Manifest, Reason, Reasoned as _, Serial};
use jiff::Timestamp;

use crate::app::App;
use crate::store::StoreError;
use crate::store::imports::{ImportKind, ImportOutcome, ImportRecord};
use crate::store::records::{Outcome, ReleaseRecord, RunRecord};

/// Why a run without an end failed.
#[must_use]
pub fn cut_off() -> Failure {
    let message = "the run was cut off by the end of the process; what it left unfinished, the next run takes over";
    Failure::new(Reason::Internal, message)
}

/// Gives an end to the runs and imports that have none: the process that they were of is gone, since this one has the lock.
/// One whose release was committed before it was cut off made that release: publishing it is what a start does. Returns
/// how many there were.
///
/// # Errors
/// The store cannot be read or written.
pub fn end_interrupted(app: &App) -> Result<usize, StoreError> {
    let (runs, imports) = (app.store.runs(usize::MAX)?, app.store.imports(usize::MAX)?);
    let mut acts = Acts::of(app, &runs, &imports)?;
    let mut interrupted = 0;
    // Imports first: what they brought is known by its number, what a run made by its time alone.
    for import in imports {
        interrupted += usize::from(end_import(app, import, &mut acts)?);
    }
    for run in runs {
        interrupted += usize::from(end_run(app, run, &mut acts)?);
    }
    Ok(interrupted)
}

fn end_run(app: &App, mut run: RunRecord, acts: &mut Acts) -> Result<bool, StoreError> {
    let is_cut_off = match &run.outcome {
        None => true,
        // A run that was told to stop leaves the commit that is under way to itself.
        Some(Outcome::Failed { failure }) => *failure == cut_off(),
        Some(Outcome::Released { .. } | Outcome::Unchanged | Outcome::Held { .. }) => false,
    };
    if !is_cut_off {
        return Ok(false);
    }
    match acts.credit(run.started, |_| true) {
        Some((serial, since)) => {
            run.ended = Some(since);
            run.outcome = Some(Outcome::Released { serial });
        }
        None if run.outcome.is_some() => return Ok(false),
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
    Ok(true)
}

/// Why an import without an end failed.
#[must_use]
pub fn import_cut_off() -> Failure {
    let message = "the import was cut off by the end of the process and changed nothing; import the zip again";
    Failure::new(Reason::Internal, message)
}

fn end_import(app: &App, mut import: ImportRecord, acts: &mut Acts) -> Result<bool, StoreError> {
    let is_cut_off = match &import.outcome {
        None => true,
        // One that was told to stop leaves the commit that is under way to itself.
        Some(outcome) => outcome.failure().is_some_and(|failure| *failure == import_cut_off()),
    };
    if !is_cut_off {
        return Ok(false);
    }
    let is_its = |release: &Manifest| match import.kind {
        ImportKind::Bundle => import.verified.as_ref().is_some_and(|verified| verified.serial == release.serial),
        ImportKind::VendorZip => import.sha256.is_some() && release.source.sha256 == import.sha256,
    };
    let outcome = match acts.credit(import.started, is_its) {
        Some((serial, _)) => ImportOutcome::Imported { serial },
        None if import.outcome.is_some() => return Ok(false),
        None => ImportOutcome::Failed { failure: import_cut_off() },
    };
    tracing::warn!(import = import.id, ?outcome, "an earlier import was cut off");
    app.metrics.imports.import_total.with_label_values(&[outcome.label()]).inc();
    // When it was cut off nobody knows; its start is the one time that is certain.
    import.ended = Some(import.started);
    import.outcome = Some(outcome);
    app.keep_import(&import, None)?;
    Ok(true)
}

/// Runs and imports, one at a time as they were, and the releases that none of them is known to have made.
struct Acts {
    starts: Vec<Timestamp>,
    /// Newest first. Those that are no longer retained are nobody's.
    unclaimed: Vec<ReleaseRecord>,
}

impl Acts {
    fn of(app: &App, runs: &[RunRecord], imports: &[ImportRecord]) -> Result<Self, StoreError> {
        let starts = runs.iter().map(|run| run.started).chain(imports.iter().map(|import| import.started)).collect();
        let made = runs.iter().filter_map(|run| match run.outcome {
            Some(Outcome::Released { serial }) => Some(serial),
            Some(Outcome::Unchanged | Outcome::Held { .. } | Outcome::Failed { .. }) | None => None,
        });
        let brought = imports.iter().filter_map(|import| match import.outcome {
            Some(ImportOutcome::Imported { serial }) => Some(serial),
            Some(ImportOutcome::Refreshed { .. } | ImportOutcome::UpToDate { .. } | ImportOutcome::Failed { .. })
            | None => None,
        });
        let claimed: HashSet<_> = made.chain(brought).collect();
        let releases = app.store.releases(usize::MAX)?.into_iter();
        let is_unclaimed =
            |release: &ReleaseRecord| release.content_of.is_none() && !claimed.contains(&release.manifest.serial);
        let unclaimed = releases.filter(is_unclaimed).collect();
        Ok(Self { starts, unclaimed })
    }

    /// The newest such release that came between this start and that of the act after it, and since when it is here: it
    /// has its maker now.
    fn credit(&mut self, started: Timestamp, is_its: impl Fn(&Manifest) -> bool) -> Option<(Serial, Timestamp)> {
        let next = self.starts.iter().copied().filter(|other| *other > started).min().unwrap_or(Timestamp::MAX);
        let found = self
            .unclaimed
            .iter()
            .position(|release| (started..=next).contains(&release.since()) && is_its(&release.manifest))?;
        let release = self.unclaimed.remove(found);
        Some((release.manifest.serial, release.since()))
    }
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
