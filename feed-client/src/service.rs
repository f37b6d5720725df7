//! What a service manager is told (sd_notify(3)). Without one, nothing is.

use std::time::Duration;

use sd_notify::NotifyState;

/// Polling has begun.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Polling ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the watchdog, where there is one, that the agent lives, as often as it wants to hear it. Runs beside the poll on the
/// same thread: a poll that hangs without waiting for anything is not told as alive.
pub(crate) async fn keep_telling() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    // Twice within its patience, as sd_watchdog_enabled(3) recommends.
    let mut ticks = tokio::time::interval(patience.max(Duration::from_millis(2)) / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
