//! Signs what must not expire again, on its own schedule, without touching the rest.

use std::sync::Arc;
use std::time::Duration;

use bundles::Reasoned as _;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::warnings::Warning;

/// How often it is looked at. Timers are monotonic and the clock may step, so waiting for the hour itself could
/// oversleep; a minute is nothing beside the hours that signatures last.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Signs whenever it is due, until `stop`, and tells the log of what cannot be signed here.
pub async fn keep(app: Arc<App>, stop: CancellationToken) {
    let mut told = Vec::new();
    loop {
        if app.publisher.next_resign(app.now()).is_some_and(|due| app.now() >= due) {
            once(&app).await;
        }
        told = tell_what_ends(&app, &told);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Tells what of that the log was not told before.
fn tell_what_ends(app: &App, told: &[Warning]) -> Vec<Warning> {
    let ending = app.ending();
    for Warning { kind, message, since } in ending.iter().filter(|warning| !told.contains(warning)) {
        tracing::warn!(kind = kind.as_str(), %since, "{message}");
    }
    ending
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
