//! What a start puts right before anything is served.

use bundles::report::Failure;
use bundles::{Reason, Reasoned as _};

use crate::app::App;
use crate::store::StoreError;
use crate::store::records::Outcome;

/// Why a run without an end failed.
#[must_use]
pub fn cut_off() -> Failure {
    let message = "the run was cut off by the end of the process; what it left unfinished, the next run takes over";
    Failure::new(Reason::Internal, message)
}

/// Gives an end to the runs that have none: the process that ran them is gone, since this one has the lock. Returns how
/// many there were.
///
/// # Errors
/// The store cannot be read or written.
pub fn end_interrupted_runs(app: &App) -> Result<usize, StoreError> {
    let mut interrupted = 0;
    for mut run in app.store.runs(usize::MAX)? {
        if run.outcome.is_some() {
            continue;
        }
        // When it was cut off nobody knows; its start is the one time that is certain.
        run.ended = Some(run.started);
        run.outcome = Some(Outcome::Failed { failure: cut_off() });
        tracing::warn!(run = run.id, "an earlier update run was cut off");
        app.store.put_run(&run)?;
        interrupted += 1;
    }
    Ok(interrupted)
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
