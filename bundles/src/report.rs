//! The report: what a headend tells its server after each poll (design, section 6).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Component, Reason, Reasoned, Serial, Version};

/// A report is some hundreds of bytes; more is not a report.
pub const MAX_REPORT_BYTES: usize = 64 << 10;

/// Longer messages are cut by whoever sends them, and refused by whoever reads them.
pub const MAX_MESSAGE_CHARS: usize = 2_000;

/// More components than this no feed has; the server keeps them all for each headend.
pub const MAX_COMPONENTS: usize = 256;

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
        Self { reason, message: message.into().chars().take(MAX_MESSAGE_CHARS).collect() }
    }
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
        let report: Self = serde_json::from_slice(bytes).map_err(ReportError::Json)?;
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
