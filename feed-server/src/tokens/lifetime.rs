//! How long a token lasts, as people say it.

use std::str::FromStr;
use std::time::Duration;

use bundles::{Reason, Reasoned};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::parse_duration;

/// Where nothing is said: a year, so that who made a token is asked once more whether it is still needed, and not so often
/// that tokens are made for ever in defiance.
const USUAL: Duration = Duration::from_hours(365 * 24);

/// How long a token lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is revoked.
    Endless,
    /// From now on.
    For(Duration),
    /// Until then.
    Until(Timestamp),
}

/// Why there is no token that lasts so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeMistake {
    /// It cannot be read.
    #[error(
        "{text:?} does not say when a token ends; write \"90d\", a date such as \"2027-01-31\", a time, or \"never\""
    )]
    Unreadable {
        /// What was said.
        text: String,
    },
    /// It would have ended.
    #[error("a token that ends at {end} would have ended already; write a later time, or check this machine's clock")]
    Past {
        /// When.
        end: Timestamp,
    },
}

impl Reasoned for LifetimeMistake {
    fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { .. } | Self::Past { .. } => Reason::BadRequest,
        }
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::For(USUAL)
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeMistake;

    /// `never`, a duration (`90d`), a time (RFC 3339), or a date: its beginning, in UTC.
    fn from_str(text: &str) -> Result<Self, LifetimeMistake> {
        if text == "never" {
            return Ok(Self::Endless);
        }
        if let Some(duration) = parse_duration(text) {
            return Ok(Self::For(duration));
        }
        let date = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
        // A time first: it reads as a date as well, without its hours.
        let time = text.parse::<Timestamp>().ok().or_else(date);
        time.map(Self::Until).ok_or_else(|| LifetimeMistake::Unreadable { text: text.chars().take(60).collect() })
    }
}

impl Lifetime {
    /// When a token ends that is made `now`; `None` where it does not.
    ///
    /// # Errors
    /// It would have ended already.
    pub fn end(self, now: Timestamp) -> Result<Option<Timestamp>, LifetimeMistake> {
        let end = match self {
            Self::Endless => return Ok(None),
            // What is read is no longer than ten years, and time itself ends later.
            Self::For(duration) => now.checked_add(duration).unwrap_or(Timestamp::MAX),
            Self::Until(end) => end,
        };
        if end > now { Ok(Some(end)) } else { Err(LifetimeMistake::Past { end }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn ends_are_durations_dates_times_or_never() {
        let now = at("2026-01-01T00:00:00Z");
        for (text, end) in [
            ("90d", Some("2026-04-01T00:00:00Z")),
            ("1h30m", Some("2026-01-01T01:30:00Z")),
            ("2027-01-31", Some("2027-01-31T00:00:00Z")),
            ("2027-01-31T08:00:00Z", Some("2027-01-31T08:00:00Z")),
            ("2027-01-31T08:00:00+02:00", Some("2027-01-31T06:00:00Z")),
            ("never", None),
        ] {
            assert_eq!(text.parse::<Lifetime>().unwrap().end(now).unwrap(), end.map(at), "{text}");
        }
        assert_eq!(Lifetime::default().end(now).unwrap(), Some(at("2027-01-01T00:00:00Z")));
        for none in ["", "soon", "-90d", "2027-13-01", "90", "Never"] {
            assert!(none.parse::<Lifetime>().is_err(), "{none}");
        }
        for past in ["0s", "2025-12-31", "2026-01-01"] {
            assert!(matches!(past.parse::<Lifetime>().unwrap().end(now), Err(LifetimeMistake::Past { .. })), "{past}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_read_or_refused(text in "\\PC{0,40}", seconds in -1_000_000_000_i64..10_000_000_000) {
            let now = Timestamp::from_second(seconds).unwrap();
            if let Ok(Some(end)) = text.parse::<Lifetime>().and_then(|lifetime| lifetime.end(now)) {
                prop_assert!(end > now);
            }
        }
    }
}
