//! What a service manager is told (sd_notify(3)). Without one, nothing is.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// The server answers.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The server is ending.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the watchdog, where there is one, that the server lives, as often as it wants to hear it, for as long as the
/// catalog answers: a process whose store hangs answers polls from memory and does nothing else any more.
pub(super) async fn keep(app: Arc<App>, stop: CancellationToken) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    // Twice within its patience, as sd_watchdog_enabled(3) recommends.
    let mut ticks = tokio::time::interval(patience.max(Duration::from_millis(2)) / 2);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let asked = Arc::clone(&app);
        // An error is an answer: on a full disk the server serves what it has.
        let answered = tokio::task::spawn_blocking(move || asked.store.run_facts().map(drop));
        if answered.await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
