//! What the doctor found, whole: what goes into a support ticket. It holds no token and no password.

use std::path::PathBuf;

use bundles::Serial;
use bundles::diagnosis::{Program, Verdict};
use bundles::signed::RoleFacts;
use jiff::Timestamp;
use serde::Serialize;
use url::Url;

use super::{ChainFacts, Check, DirectoryFacts};
use crate::config::HeadendId;
use crate::fetch::USER_AGENT;

/// Which server, and how.
#[derive(Debug, Clone, Serialize)]
pub struct ServerFacts {
    /// Its base URL.
    pub url: Url,
    /// Host and port of the proxy on the way.
    pub proxy: Option<String>,
    /// `repo` or `offline`, once enrolled.
    pub repository: Option<&'static str>,
    /// This headend's name there, once enrolled.
    pub headend: Option<HeadendId>,
    /// The configuration that was read.
    pub config_file: Option<PathBuf>,
}

/// What the verified metadata says.
#[derive(Debug, Clone, Serialize)]
pub struct RepositoryFacts {
    /// The newest release.
    pub serial: Serial,
    /// Root, timestamp, snapshot, targets.
    pub roles: Vec<RoleFacts>,
}

/// The clocks.
#[derive(Debug, Clone, Serialize)]
pub struct ClockFacts {
    /// What this machine says.
    pub now: Timestamp,
    /// The server's `Date` less that, in seconds.
    pub offset_seconds: Option<i64>,
}

/// Everything that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which program.
    pub program: Program,
    /// When.
    pub at: Timestamp,
    /// Every step, and what follows from them.
    #[serde(flatten)]
    pub verdict: Verdict<Check>,
    /// Which server; absent where none is known.
    pub server: Option<ServerFacts>,
    /// What hosts presented.
    pub chains: Vec<ChainFacts>,
    /// What the metadata says.
    pub repository: Option<RepositoryFacts>,
    /// The data directory, and the apply directory where it is another one.
    pub disk: Vec<DirectoryFacts>,
    /// The clocks.
    pub clock: Option<ClockFacts>,
}

impl Report {
    pub(super) fn new(at: Timestamp) -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let program = Program::new("feed-client", env!("CARGO_PKG_VERSION"), USER_AGENT, kernel);
        Self {
            program,
            at,
            verdict: Verdict::default(),
            server: None,
            chains: Vec::new(),
            repository: None,
            disk: Vec::new(),
            clock: None,
        }
    }
}
