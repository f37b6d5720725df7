//! Writes down what was seen of ISE deployments: no request waits for it.

use std::sync::Arc;
use std::time::Duration;

use bundles::Reasoned as _;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How old is what a kill can lose.
const EVERY: Duration = Duration::from_secs(5);

/// Writes when there is anything, until `stop`, and then once more.
pub async fn keep(app: Arc<App>, stop: CancellationToken) {
    let mut failing = false;
    loop {
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let writing = Arc::clone(&app);
        match tokio::task::spawn_blocking(move || writing.keep_ise()).await {
            Ok(Ok(())) => failing = false,
            // Said once: a full disk stays so for a while.
            Ok(Err(error)) if !std::mem::replace(&mut failing, true) => {
                let (reason, error) = (error.reason().as_str(), error.whole_message());
                tracing::warn!(reason, error, "what was seen of ISE is not written down; it is tried again");
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(%error, "a task did not end well"),
        }
        if stopped {
            return;
        }
    }
}
