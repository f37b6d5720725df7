//! The report: what a headend tells its server after each poll (design, section 6).

mod transfer;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use transfer::{MAX_REFUSED, RefusedIncrement, Transfer};

use crate::{Component, Reason, Reasoned, Serial, Version};

/// A report is some hundreds of bytes; more is not a report.
pub const MAX_REPORT_BYTES: usize = 64 << 10;

/// Longer messages are cut by whoever sends them, and refused by whoever reads them.
pub const MAX_MESSAGE_CHARS: usize = 2_000;

/// More components than this no feed has; the server keeps them all for each headend.
pub const MAX_COMPONENTS: usize = 256;

/// Longer ids are nobody's host name (RFC 1035: 253 characters at most), and they become part of URLs.
const MAX_HEADEND_ID: usize = 253;

/// Whether a text can be a headend's id: 1 to 253 of `A-Z a-z 0-9 . _ -`, beginning with a letter or a digit. It stands
/// in URLs and file names as it is, on both sides.
#[must_use]
pub fn is_headend_id(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() <= MAX_HEADEND_ID
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(good)
}

/// What a headend runs and how its polls went. Unknown fields are ignored, so that newer clients can report to older
/// servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The client program's version.
    pub client_version: String,
    /// The release that runs; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// The versions that run.
    #[serde(default)]
    pub components: BTreeMap<Component, Version>,
    /// When an update or a poll last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// When one was last attempted.
    pub last_attempt: Timestamp,
    /// Why the last attempt failed; absent where it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// When the next poll is due; absent for one that an operator asked for by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_poll: Option<Timestamp>,
    /// Seconds between polls.
    pub interval_seconds: u64,
    /// How the release that the server last gave came; absent where none did, or a bundle brought the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
    /// The latest time that the headend knew of when its clock said less than that; absent where the clock was not behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_behind: Option<Timestamp>,
}

/// Why an attempt failed: the reason's word and the sentence. Also the one error that commands end with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The word.
    pub reason: Reason,
    /// The sentence, at most [`MAX_MESSAGE_CHARS`].
    pub message: String,
}

impl Failure {
    /// From any error of the house, its message cut to what a report may carry.
    #[must_use]
    pub fn of(error: &dyn Reasoned) -> Self {
        Self::new(error.reason(), error.whole_message())
    }

    /// With a message of one's own.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into().chars().take(MAX_MESSAGE_CHARS).map(plain).collect() }
    }
}

/// A line feed is ours (a mistake a line); what else there is of control characters came in with foreign text, and would
/// give orders to the terminal that shows it.
fn plain(c: char) -> char {
    if c.is_control() && c != '\n' { ' ' } else { c }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl std::error::Error for Failure {}

impl Reasoned for Failure {
    fn reason(&self) -> Reason {
        self.reason
    }
}

impl Report {
    /// Reads a report and holds it to its bounds.
    ///
    /// # Errors
    /// Not JSON of this shape, or past a bound.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReportError> {
        if bytes.len() > MAX_REPORT_BYTES {
            return Err(ReportError::TooLarge { what: "bytes", limit: MAX_REPORT_BYTES });
        }
        let mut report: Self = serde_json::from_slice(bytes).map_err(ReportError::Json)?;
        if report.components.len() > MAX_COMPONENTS {
            return Err(ReportError::TooLarge { what: "components", limit: MAX_COMPONENTS });
        }
        let too_long = |text: &str| text.chars().count() > MAX_MESSAGE_CHARS;
        if too_long(&report.client_version)
            || report.last_failure.as_ref().is_some_and(|failure| too_long(&failure.message))
        {
            return Err(ReportError::TooLarge { what: "characters of text", limit: MAX_MESSAGE_CHARS });
        }
        // Ten days: the slowest sensible poll; beyond it "silent" would never be said.
        if report.interval_seconds == 0 || report.interval_seconds > 864_000 {
            return Err(ReportError::Interval { seconds: report.interval_seconds });
        }
        if report.transfer.as_ref().is_some_and(|transfer| transfer.refused.len() > MAX_REFUSED) {
            return Err(ReportError::TooLarge { what: "refused increments", limit: MAX_REFUSED });
        }
        report.client_version = report.client_version.chars().map(plain).collect();
        report.last_failure = report.last_failure.map(|failure| Failure::new(failure.reason, failure.message));
        for refused in report.transfer.iter_mut().flat_map(|transfer| &mut transfer.refused) {
            *refused = RefusedIncrement::new(refused.payload.clone(), refused.reason, &refused.message);
        }
        Ok(report)
    }
}

/// Why bytes are not a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Past a bound.
    #[error("the report exceeds {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// Not of this shape.
    #[error("the report cannot be read: {0}")]
    Json(serde_json::Error),
    /// No sensible interval.
    #[error("the report's interval of {seconds} seconds is not between 1 and 864000")]
    Interval {
        /// As given.
        seconds: u64,
    },
}

impl Reasoned for ReportError {
    fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Json(_) | Self::Interval { .. } => Reason::BadRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("our own words:\n  line 1")]
    struct Ours(#[source] std::io::Error);

    impl Reasoned for Ours {
        fn reason(&self) -> Reason {
            Reason::NotAFeed
        }
    }

    #[test]
    fn foreign_text_gives_no_orders_to_terminals_and_begins_no_line() {
        let failure = Failure::of(&Ours(std::io::Error::other("\u{1b}]0;title\u{7}\nINFO all is well\r")));
        assert_eq!(failure.message, "our own words:\n  line 1:  ]0;title  INFO all is well ");
    }

    #[test]
    fn a_report_that_was_not_made_by_our_client_is_plain_text_too() {
        let report = serde_json::json!({
            "client_version": "\u{1b}[2J", "last_attempt": "2026-01-01T00:00:00Z", "interval_seconds": 7200,
            "last_failure": { "reason": "connect", "message": "\u{9b}31m" },
        });
        let report = Report::from_json(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!(report.transfer, None, "which older clients do not send");
        assert_eq!(report.client_version, " [2J");
        assert_eq!(report.last_failure.unwrap().message, " 31m");
    }

    #[test]
    fn refused_increments_are_few_and_plain_and_the_largest_report_is_read() {
        let report = |refused: usize| {
            let refused: Vec<_> = (0..refused)
                .map(|n| serde_json::json!({ "payload": format!("{n}.tar"), "reason": "bad_archive", "message": "\u{1b}".repeat(4_000) }))
                .collect();
            let transfer = serde_json::json!({
                "serial": 2, "received_bytes": 1, "increments": 0, "compressed": 0, "whole": 1, "fallbacks": 1, "refused": refused,
                "more": "of a newer client",
            });
            let report = serde_json::json!({
                "client_version": "1", "last_attempt": "2026-01-01T00:00:00Z", "interval_seconds": 7200, "transfer": transfer,
            });
            Report::from_json(&serde_json::to_vec(&report).unwrap())
        };
        let read = report(2).unwrap().transfer.unwrap();
        assert_eq!(read.refused[1].message, " ".repeat(transfer::MAX_SENTENCE_CHARS));
        assert_eq!(report(MAX_REFUSED + 1).unwrap_err().reason(), Reason::TooLarge);

        let mut most = Transfer::new(Serial::FIRST);
        for _ in 0..MAX_REFUSED + 1 {
            let failure = Failure::new(Reason::BadArchive, "\u{10ffff}".repeat(MAX_MESSAGE_CHARS));
            most.refuse(&format!("{}.tar", "x".repeat(150)).parse().unwrap(), &failure);
        }
        assert_eq!((most.fallbacks as usize, most.refused.len()), (MAX_REFUSED + 1, MAX_REFUSED));
        let component = |n: usize| format!("other-{n:0>60}").parse().unwrap();
        let largest = Report {
            client_version: "1".to_owned(),
            serial: None,
            components: (0..MAX_COMPONENTS).map(|n| (component(n), "300418.0.0.0".parse().unwrap())).collect(),
            last_success: None,
            last_attempt: Timestamp::UNIX_EPOCH,
            last_failure: Some(Failure::new(Reason::Connect, "\u{10ffff}".repeat(MAX_MESSAGE_CHARS))),
            next_poll: None,
            interval_seconds: 7200,
            transfer: Some(most),
            clock_behind: Some(Timestamp::UNIX_EPOCH),
        };
        assert_eq!(Report::from_json(&serde_json::to_vec(&largest).unwrap()).unwrap(), largest);
    }

    #[test]
    fn ids_are_one_plain_path_segment() {
        for good in ["a", "7", "ise-1.branch_7", &"x".repeat(253)] {
            assert!(is_headend_id(good), "{good}");
        }
        for bad in ["", ".", "..", "-x", "_x", "a/b", "a b", "ä", "a%2e", "a\n", &"x".repeat(254)] {
            assert!(!is_headend_id(bad), "{bad}");
        }
    }
}
