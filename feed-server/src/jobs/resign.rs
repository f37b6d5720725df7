//! Signs what must not expire again, on its own schedule, without touching the rest.

use std::sync::Arc;
use std::time::Duration;

use bundles::Reasoned as _;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often it is looked at. Timers are monotonic and the clock may step, so waiting for the hour itself could
/// oversleep; a minute is nothing beside the hours that signatures last.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Signs whenever it is due, until `stop`.
pub async fn keep(app: Arc<App>, stop: CancellationToken) {
    loop {
        if app.now() >= app.publisher.next_resign(app.now()) {
            once(&app).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Signs again. What fails leaves what is served as it was, and is tried again.
pub async fn once(app: &App) {
    match app.publisher.resign(app.now()).await {
        Ok(Some(_)) => tracing::info!("signed the metadata again"),
        Ok(None) => {}
        Err(error) => {
            let reason = error.reason().as_str();
            tracing::error!(reason, error = error.whole_message(), "cannot sign again; the next try is in a minute");
        }
    }
}
