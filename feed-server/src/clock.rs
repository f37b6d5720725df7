//! The one place that asks what time it is; everything else takes the time as an argument.

use std::time::Duration;

use jiff::Timestamp;

/// Now, in whole seconds: that is what manifests and signed metadata hold.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the edge at which time enters the program")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// How long to wait where `patience` is meant. In debug builds, `POSTURE_FEED_TIMEOUTS_DIVIDED_BY` makes seconds of minutes,
/// so that tests see through the real program what becomes of a connection that says nothing.
#[must_use]
pub fn patience(patience: Duration) -> Duration {
    let divisor = if cfg!(debug_assertions) { std::env::var("POSTURE_FEED_TIMEOUTS_DIVIDED_BY").ok() } else { None };
    let divisor = divisor.and_then(|divisor| divisor.parse().ok()).filter(|divisor| *divisor > 0);
    divisor.map_or(patience, |divisor: u32| patience / divisor)
}
