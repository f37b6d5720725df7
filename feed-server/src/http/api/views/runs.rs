//! Update runs: how far one is, and how they went.

use bundles::{Reason, Serial};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::runs::Progress;
use crate::store::chain_facts::PresentedIn;
use crate::store::evidence::ChainRecord;
use crate::store::records::{Outcome, RunRecord, Trigger};

/// How far the update run is that is going on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// The run's number.
    pub run: u64,
    /// When it began; absent while it waits to begin.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// Who asked for it: `schedule`, `retry` or `operator`.
    #[schema(value_type = String)]
    pub trigger: Trigger,
    /// Entries in the index; 0 until it was read.
    pub entries: usize,
    /// Files that arrived whole.
    pub files_done: usize,
    /// Bytes received from upstream.
    pub received_bytes: u64,
    /// The file that arrives right now.
    pub file: Option<FileProgress>,
}

/// The file that arrives right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileProgress {
    /// Its name.
    pub name: String,
    /// How long it is said to be.
    pub length: Option<u64>,
    /// How much of it came.
    pub received_bytes: u64,
}

impl From<&Progress> for ProgressView {
    fn from(progress: &Progress) -> Self {
        Self {
            run: progress.run,
            started: Some(progress.started),
            trigger: progress.trigger,
            entries: progress.entries(),
            files_done: progress.files_done(),
            received_bytes: progress.received(),
            file: progress.file().map(|file| FileProgress {
                name: file.name,
                length: file.length,
                received_bytes: file.received,
            }),
        }
    }
}

/// An update run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its number.
    pub id: u64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// When it ended; absent while it is going on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
    /// Who asked for it: `schedule`, `retry` or `operator`.
    #[schema(value_type = String)]
    pub trigger: Trigger,
    /// `ok`, `unchanged`, `held` or a reason; absent while it is going on.
    pub result: Option<String>,
    /// The release that it made.
    #[schema(value_type = Option<u64>)]
    pub serial: Option<Serial>,
    /// Why it failed.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Reason>,
    /// Why it failed, or what holds new content back, in a sentence.
    pub message: Option<String>,
    /// Bytes received from upstream.
    pub received_bytes: u64,
    /// The fallback URL that served; absent where none had to.
    #[serde(default)]
    pub source_url: Option<String>,
}

impl From<&RunRecord> for RunView {
    fn from(run: &RunRecord) -> Self {
        let (serial, reason, message) = match &run.outcome {
            Some(Outcome::Released { serial }) => (Some(*serial), None, None),
            Some(Outcome::Failed { failure }) => (None, Some(failure.reason), Some(&failure.message)),
            Some(Outcome::Held { message }) => (None, None, Some(message)),
            Some(Outcome::Unchanged) | None => (None, None, None),
        };
        Self {
            id: run.id,
            started: run.started,
            ended: run.ended,
            trigger: run.trigger,
            result: run.outcome.as_ref().map(|outcome| outcome.label().to_owned()),
            serial,
            reason,
            message: message.cloned(),
            received_bytes: run.received_bytes,
            source_url: run.source_url.clone(),
        }
    }
}

/// The certificates that upstream presented in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresentedView {
    /// The run's number.
    pub run: u64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// A chain for each host, the index's first.
    pub chains: Vec<ChainRecord>,
}

impl From<PresentedIn> for PresentedView {
    fn from(PresentedIn { run, at, chains }: PresentedIn) -> Self {
        Self { run, at, chains }
    }
}

/// An update run, and the certificates that it was presented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunDetails {
    /// How it went.
    #[serde(flatten)]
    pub run: RunView,
    /// A chain for each host that presented one, accepted or not.
    #[serde(default)]
    pub chains: Vec<ChainRecord>,
}

impl From<RunRecord> for RunDetails {
    fn from(run: RunRecord) -> Self {
        Self { run: RunView::from(&run), chains: run.chains }
    }
}

/// What `POST /api/v1/sync` asks for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyncRequest {
    /// Take a component even where its version goes backwards.
    pub accept_version_rollback: bool,
    /// Ask upstream even where it cools down after it asked for a pause.
    pub ignore_cooldown: bool,
}

/// The run that was asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct SyncAccepted {
    /// Its number, for `GET /api/v1/runs/{id}`.
    pub run: u64,
}

/// The run that is going on, and the last one.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SyncView {
    /// The run that is going on or waits to begin.
    pub running: Option<ProgressView>,
    /// The newest run that ended.
    pub last: Option<RunView>,
}
