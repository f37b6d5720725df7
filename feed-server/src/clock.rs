//! The one place that asks what time it is; everything else takes the time as an argument.

use jiff::Timestamp;

/// Now, in whole seconds: that is what manifests and signed metadata hold.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the edge at which time enters the program")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
