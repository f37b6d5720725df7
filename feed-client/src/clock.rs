//! The edge where time and randomness come in. Everything else takes them as arguments.

use std::time::Duration;

use jiff::Timestamp;

/// What the world outside contributes besides bytes. Tests pass functions of their own.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// The wall clock.
    pub now: fn() -> Timestamp,
    /// Evenly spread over `0.0..1.0`.
    pub random: fn() -> f64,
}

impl Edge {
    /// This machine's clock and randomness.
    #[must_use]
    pub const fn system() -> Self {
        Self { now: system_now, random: rand::random }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// A number in `0.0..1.0`.
    #[must_use]
    pub fn random(&self) -> f64 {
        (self.random)()
    }
}

/// How long to wait where `patience` is meant. In debug builds, `POSTURE_FEED_TIMEOUTS_DIVIDED_BY` makes seconds of minutes,
/// so that tests see what becomes of a wait.
#[must_use]
pub fn patience(patience: Duration) -> Duration {
    let divisor = if cfg!(debug_assertions) { std::env::var("POSTURE_FEED_TIMEOUTS_DIVIDED_BY").ok() } else { None };
    divisor
        .and_then(|divisor| divisor.parse().ok())
        .filter(|divisor| *divisor > 0)
        .map_or(patience, |divisor: u32| patience / divisor)
}

#[allow(clippy::disallowed_methods, reason = "the one place where the client asks for the time")]
fn system_now() -> Timestamp {
    Timestamp::now()
}
