//! What the doctor found, whole: what goes into a support ticket.

use bundles::diagnosis::{Program, Verdict};
use jiff::Timestamp;
use serde::Serialize;

use super::feed::{ArchivesFacts, Fallback, IndexFacts};
use super::following::{MetadataFacts, ReleaseFacts};
use super::{ClockFacts, DiskFacts, ServerFacts, Settings, USER_AGENT};
use crate::upstream::doctor::Check;
use crate::upstream::doctor::chains::ChainFacts;

/// Everything that was found. It holds no secret: no password is ever read into it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which program.
    pub program: Program,
    /// When.
    pub at: Timestamp,
    /// Every step, and what follows from them.
    #[serde(flatten)]
    pub verdict: Verdict<Check>,
    /// What is configured.
    pub settings: Settings,
    /// The server that runs.
    pub server: Option<ServerFacts>,
    /// What hosts presented.
    pub chains: Vec<ChainFacts>,
    /// What the index says.
    pub index: Option<IndexFacts>,
    /// What the signed metadata of a followed server says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataFacts>,
    /// The release that it calls stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseFacts>,
    /// What came.
    pub archives: Option<ArchivesFacts>,
    /// Bytes of the vendor's own zip, where it is to be fetched and came.
    pub offline_zip_bytes: Option<u64>,
    /// How other URLs of the index do, where the first one fails.
    pub fallbacks: Vec<Fallback>,
    /// The data directory.
    pub disk: Option<DiskFacts>,
    /// The clock.
    pub clock: Option<ClockFacts>,
}

impl Report {
    pub(super) fn new(at: Timestamp, settings: Settings) -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let program = Program::new("feed-server", crate::VERSION, USER_AGENT, kernel);
        Self {
            program,
            at,
            verdict: Verdict::default(),
            settings,
            server: None,
            chains: Vec::new(),
            index: None,
            metadata: None,
            release: None,
            archives: None,
            offline_zip_bytes: None,
            fallbacks: Vec::new(),
            disk: None,
            clock: None,
        }
    }
}
