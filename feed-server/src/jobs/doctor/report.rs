//! What the doctor found, whole: what goes into a support ticket.

use bundles::diagnosis::Verdict;
use jiff::Timestamp;
use serde::Serialize;

use super::feed::{ArchivesFacts, Fallback, IndexFacts};
use super::following::{MetadataFacts, ReleaseFacts};
use super::{ClockFacts, DiskFacts, ServerFacts, Settings, USER_AGENT};
use crate::upstream::doctor::Check;
use crate::upstream::doctor::chains::ChainFacts;

/// Which program looked, and on what.
#[derive(Debug, Clone, Serialize)]
pub struct Program {
    /// `feed-server`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it calls itself to upstream.
    pub user_agent: &'static str,
    /// The operating system, as Rust names it.
    pub system: &'static str,
    /// The machine, as Rust names it.
    pub architecture: &'static str,
    /// The kernel's release.
    pub kernel: String,
}

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
        let program = Program {
            name: "feed-server",
            version: crate::VERSION,
            user_agent: USER_AGENT,
            system: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        };
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
