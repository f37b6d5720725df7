//! Writes down now and then what is known of those who come in: no request waits for it.

use std::sync::Arc;
use std::time::Duration;

use bundles::Reasoned as _;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often it is looked at whether there is anything to write: what a kill can lose is that old.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Writes when there is anything, until `stop`, and then once more.
pub async fn keep(app: Arc<App>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK_EVERY) => once(&app, false).await,
        }
    }
    once(&app, true).await;
}

/// Writes what there is to write. What fails is tried again.
async fn once(app: &Arc<App>, is_stopping: bool) {
    let writing = Arc::clone(app);
    let written = tokio::task::spawn_blocking(move || {
        writing.keep_refusals(is_stopping);
        writing.keep_token_uses()
    })
    .await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let (reason, error) = (error.reason().as_str(), error.whole_message());
            tracing::warn!(
                reason,
                error,
                "when tokens were last used is not written down; the next try is in a minute"
            );
        }
        Err(error) => tracing::error!(%error, "a task did not end well"),
    }
}
