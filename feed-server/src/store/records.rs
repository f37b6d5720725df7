//! The catalog's records. JSON in the tables, so that a support ticket can show them; unknown fields are ignored.

use bundles::index::Reading;
use bundles::report::{Failure, Report};
use bundles::{Digest, Manifest, Reason, Serial};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Who;
use super::evidence::ChainRecord;

/// A release as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// What it holds.
    pub manifest: Manifest,
    /// The manifest's bytes as another server signed them, a blob: a relay serves exactly those. Absent where this server
    /// signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Digest>,
    /// When it was taken from another server, by this one's clock; absent where it was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Timestamp>,
    /// The release whose content it has once more, where an operator or a restored backup made it so: no run did.
    #[serde(rename = "restored_from", default, skip_serializing_if = "Option::is_none")]
    pub content_of: Option<Serial>,
}

impl ReleaseRecord {
    /// Since when there is such a release here: what was made long ago may have been carried here today.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.taken.unwrap_or(self.manifest.created)
    }
}

/// One update run, from its start: a run without an end was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// 1, 2, 3, …
    pub id: u64,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; absent while it runs, or where the process was killed.
    pub ended: Option<Timestamp>,
    /// Who asked for it.
    pub trigger: Trigger,
    /// How it went; absent while it runs.
    pub outcome: Option<Outcome>,
    /// Bytes received from upstream.
    pub received_bytes: u64,
    /// Upstream's clock less ours, seconds.
    pub clock_offset: Option<i64>,
    /// The certificates that its connections were presented, accepted or not. None where no handshake got that far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<ChainRecord>,
    /// The fallback URL that served, without user info and query; absent where none had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// How far the index was understood; absent where it was not read, as where upstream says that nothing has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
}

impl RunRecord {
    /// A run that begins.
    #[must_use]
    pub fn begun(id: u64, started: Timestamp, trigger: Trigger) -> Self {
        Self {
            id,
            started,
            ended: None,
            trigger,
            outcome: None,
            received_bytes: 0,
            clock_offset: None,
            chains: Vec::new(),
            source_url: None,
            reading: None,
        }
    }
}

/// Who asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule.
    Schedule,
    /// A retry after a failed run.
    Retry,
    /// An operator: "update now".
    Operator,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// A new release was made.
    Released {
        /// Its number.
        serial: Serial,
    },
    /// Nothing had changed.
    Unchanged,
    /// There was something new, and it is held back.
    Held {
        /// What holds it, since when and why.
        message: String,
    },
    /// It failed and changed nothing.
    Failed {
        /// Why.
        #[serde(flatten)]
        failure: Failure,
    },
}

impl Outcome {
    /// The metric label: `ok`, `unchanged`, `held` or a reason.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Released { .. } => "ok",
            Self::Unchanged => "unchanged",
            Self::Held { .. } => "held",
            Self::Failed { failure } => failure.reason.as_str(),
        }
    }

    /// The reason of a failed run.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Released { .. } | Self::Unchanged | Self::Held { .. } => None,
            Self::Failed { failure } => Some(failure.reason),
        }
    }
}

/// A headend that may report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadendRecord {
    /// The name that an administrator gave.
    pub id: String,
    /// When it was added.
    pub added: Timestamp,
    /// SHA-256 of its token; the token itself is shown once and not kept. Absent where it shows a certificate instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Digest>,
}

/// The last report of a headend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRecord {
    /// When it came, by the server's clock.
    pub received: Timestamp,
    /// What it said.
    pub report: Report,
}

/// An administrator's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The name that it was given.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made.
    pub created: Timestamp,
    /// SHA-256 of the token; the token itself is shown once and not kept.
    pub token: Digest,
    /// When it ends; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Who made it; absent where that was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<Who>,
}

impl TokenRecord {
    /// Whether it has ended.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What an administrator's token allows; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look.
    Read,
    /// Update now, build bundles.
    Operate,
    /// Headends and tokens.
    Admin,
}

impl Scope {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}
