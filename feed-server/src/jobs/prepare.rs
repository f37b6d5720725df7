//! Prepares other forms of what is served (increments, compressed), whenever something else is served, and at the start. Nobody
//! waits for it, it holds no lock that anybody else wants, and its failures are nobody else's.

use std::sync::Arc;
use std::time::Duration;

use bundles::report::Failure;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::app::{App, internal};
use crate::increments::Summary;

/// When it is tried again where it failed: mostly for want of room, which people make within hours.
const AGAIN_AFTER: Duration = Duration::from_mins(10);

/// How much the thread steps back behind those that answer, where there are fewer processors than work.
const NICE: i32 = 10;

/// Prepares until `stop`. A form that is being made then is given up with the process.
pub async fn keep(app: Arc<App>, stop: CancellationToken) {
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = once(&app, &stop) => done,
        };
        let again = match done {
            Ok(summary) => {
                if summary.made > 0 {
                    tracing::info!(
                        made = summary.made,
                        not_worth = summary.not_worth,
                        "prepared what is new for less to fetch"
                    );
                }
                // Something else may be served by now.
                !summary.complete || summary.failed > 0
            }
            Err(failure) => {
                let (reason, error) = (failure.reason.as_str(), failure.message);
                tracing::warn!(reason, error, "nothing more is prepared for now; everything is served as it is");
                true
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.publisher.changed() => {}
            () = tokio::time::sleep(AGAIN_AFTER), if again => {}
        }
    }
}

/// On a thread of its own: those for blocking work read files for answers, and a stop does not wait for this one.
async fn once(app: &Arc<App>, stop: &CancellationToken) -> Result<Summary, Failure> {
    let (told, hears) = oneshot::channel();
    let (app, stop) = (Arc::clone(app), stop.clone());
    let work = move || {
        step_back();
        let published = app.published.load_full();
        // What is new is wanted first: the rest is begun again with it.
        let is_over = || stop.is_cancelled() || !Arc::ptr_eq(&published, &app.published.load());
        let done = app.preparer.prepare(&published, is_over);
        // Nobody listens any more where the server stops.
        let _ = told.send(done.map_err(|error| Failure::of(&error)));
    };
    std::thread::Builder::new().name("prepare".to_owned()).spawn(work).map_err(|error| internal(&error))?;
    hears.await.map_err(|error| internal(&error))?
}

/// On Linux it is the thread's own.
fn step_back() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "what is prepared is prepared as if it were urgent");
    }
}
