//! This machine's clock, against upstream's and against the certificates that were presented.

use bundles::Reason;
use bundles::report::Failure;
use jiff::Timestamp;
use serde::Serialize;

use crate::upstream::doctor::chains::ChainFacts;
use crate::upstream::doctor::{Check, Line, Mark};

/// Seconds that a clock may be off without a word. NTP keeps it within one; people set clocks by hand within five minutes.
const TOLERATED: u64 = 300;

/// Seconds beyond which things fail: certificates are backdated by hours at most when they are issued, and what we sign
/// would be in the future of headends, or older than what they have seen.
const TOO_MUCH: u64 = 86_400;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct ClockFacts {
    /// What this machine says.
    #[serde(rename = "now")]
    pub now: Timestamp,
    /// Upstream's `Date` less that, in seconds.
    pub offset_seconds: Option<i64>,
    /// When the chains that were presented are valid, all of their certificates.
    pub chains_valid: Vec<Validity>,
}

/// When a chain is valid.
#[derive(Debug, Clone, Serialize)]
pub struct Validity {
    /// Whose.
    pub host: String,
    /// From.
    pub from: Timestamp,
    /// Until.
    pub until: Timestamp,
    /// Whether that includes now.
    pub includes_now: bool,
}

impl ClockFacts {
    /// Compares.
    #[must_use]
    pub fn of(now: Timestamp, offset_seconds: Option<i64>, chains: &[ChainFacts]) -> Self {
        let valid = |chain: &ChainFacts| {
            let (from, until) = chain.valid()?;
            Some(Validity { host: chain.host.clone(), from, until, includes_now: (from..=until).contains(&now) })
        };
        Self { now, offset_seconds, chains_valid: chains.iter().filter_map(valid).collect() }
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> Line {
        let now = self.now.strftime("%Y-%m-%dT%H:%M:%SZ");
        let outside: Vec<String> =
            self.chains_valid.iter().filter(|valid| !valid.includes_now).map(Validity::outside).collect();
        let mark = |mark| if outside.is_empty() { mark } else { Mark::Warning };
        let line = match self.offset_seconds {
            None => Line::new(Check::Clock, mark(Mark::Ok), format!("{now}; not compared with upstream's")),
            Some(offset) if offset.unsigned_abs() > TOO_MUCH => {
                let message = format!(
                    "this machine's clock says {now}, and by upstream's it is {}; set it by NTP (UDP 123): certificates and \
                     signatures are judged by it",
                    apart(offset)
                );
                let seen = format!("{now}, {} by upstream's", apart(offset));
                Line { seen, ..Line::failed(Check::Clock, Failure::new(Reason::Clock, message)) }
            }
            Some(offset) if offset.unsigned_abs() > TOLERATED => Line::new(
                Check::Clock,
                Mark::Warning,
                format!("{now}, {} by upstream's; set it by NTP (UDP 123)", apart(offset)),
            ),
            Some(offset) => Line::new(Check::Clock, mark(Mark::Ok), format!("{now}, {} by upstream's", apart(offset))),
        };
        line.with(outside)
    }
}

impl Validity {
    fn outside(&self) -> String {
        format!(
            "the chain of {} is valid from {} to {} only, and not by this clock: if the clock is right, it is theirs \
             to mend",
            self.host, self.from, self.until
        )
    }
}

/// An offset for people; upstream's clock less ours.
fn apart(offset: i64) -> String {
    let seconds = offset.unsigned_abs();
    let amount = match seconds {
        0 => return "right to the second".to_owned(),
        1..=7_199 => format!("{seconds} s"),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("{amount} {}", if offset < 0 { "fast" } else { "slow" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-09-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn small_offsets_are_fine_larger_ones_a_warning_and_days_a_failure() {
        for (offset, mark, words) in [
            (None, Mark::Ok, "not compared"),
            (Some(0), Mark::Ok, "right to the second"),
            (Some(-300), Mark::Ok, "300 s fast"),
            (Some(301), Mark::Warning, "301 s slow"),
            (Some(-86_400), Mark::Warning, "24 h fast"),
            (Some(86_401), Mark::Failed, "24 h slow"),
            (Some(i64::MIN), Mark::Failed, "days fast"),
        ] {
            let line = ClockFacts::of(now(), offset, &[]).line();
            assert_eq!(line.result, mark, "{offset:?}");
            assert!(line.seen.contains(words), "{offset:?}: {}", line.seen);
            assert_eq!(line.failure.is_some(), mark == Mark::Failed);
            assert!(line.failure.is_none_or(|failure| failure.reason == Reason::Clock));
        }
    }
}
