//! Keeps what pictures are drawn of: a sample of the fleet now and then, and what was released. Forgets zips that were uploaded and
//! that nobody imported.

use std::sync::Arc;
use std::time::Duration;

use bundles::Reasoned as _;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often it is looked at whether a sample is due: timers are monotonic and the clock may step.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Takes samples when they are due, until `stop`.
pub async fn keep(app: Arc<App>, stop: CancellationToken) {
    let mut failed = false;
    loop {
        let writing = Arc::clone(&app);
        let kept = tokio::task::spawn_blocking(move || {
            writing.uploads.forget_old();
            writing.keep_history()
        });
        match kept.await {
            Ok(Ok(())) => failed = false,
            // Said once: on a full disk others say it loudly, and nothing hangs on a picture.
            Ok(Err(error)) if !failed => {
                failed = true;
                let (reason, error) = (error.reason().as_str(), error.whole_message());
                tracing::warn!(reason, error, "the history of the fleet has a gap; it is tried again every minute");
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(%error, "a task did not end well"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
