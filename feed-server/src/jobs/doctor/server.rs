//! The server that runs on the data directory, as its status tells of it.

use jiff::Timestamp;
use serde::Serialize;

use crate::upstream::doctor::{Check, Line, Mark};

/// Whether one runs.
#[derive(Debug, Clone)]
pub enum Server {
    /// None does.
    Absent,
    /// It cannot be known, and why.
    Unknown(String),
    /// One does.
    Running(Box<ServerFacts>),
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// Its version.
    pub version: String,
    /// The newest release.
    pub release: Option<u64>,
    /// Bytes of its archives.
    pub archive_bytes: Option<u64>,
    /// When it fetches next.
    pub next_run: Option<Timestamp>,
    /// Why its last run failed, where no later one succeeded.
    pub last_failure: Option<String>,
    /// Pauses that upstream asked for and that are not over.
    pub cooldowns: Vec<Pause>,
    /// Which proxy refused the user name and password, which are not tried again until they change.
    pub proxy_password_refused: Option<String>,
}

/// A pause that upstream asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// Of which URL.
    pub url: String,
    /// Through which proxy.
    pub proxy: Option<String>,
    /// Until when.
    pub until: Timestamp,
}

impl Server {
    /// The line.
    #[must_use]
    pub fn line(&self) -> Line {
        match self {
            Self::Absent => Line::new(Check::Server, Mark::None, "none runs on the data directory"),
            Self::Unknown(why) => Line::new(Check::Server, Mark::Warning, format!("not known whether one runs: {why}")),
            Self::Running(facts) => facts.line(),
        }
    }

    /// What it says, where one runs.
    #[must_use]
    pub fn into_facts(self) -> Option<ServerFacts> {
        match self {
            Self::Absent | Self::Unknown(_) => None,
            Self::Running(facts) => Some(*facts),
        }
    }
}

impl ServerFacts {
    fn line(&self) -> Line {
        let release = self.release.map_or_else(|| "no release yet".to_owned(), |release| format!("release {release}"));
        let next = self.next_run.map_or_else(|| "no next run".to_owned(), |next| format!("next run {next}"));
        let pauses = self.cooldowns.iter().map(|pause| {
            let through = pause.proxy.as_ref().map_or_else(String::new, |proxy| format!(" through {proxy}"));
            format!(
                "it does not ask for {}{through} until {}, as upstream wished; feed-server sync --ignore-cooldown does",
                pause.url, pause.until
            )
        });
        let refused = self.proxy_password_refused.iter().map(|proxy| {
            format!("the proxy {proxy} refused its password; it asks again when that changed, or on feed-server sync")
        });
        let failed = self.last_failure.iter().map(|failure| format!("its last run failed: {failure}"));
        let details: Vec<String> = pauses.chain(refused).chain(failed).collect();
        let mark = if details.is_empty() { Mark::Ok } else { Mark::Warning };
        Line::new(Check::Server, mark, format!("runs ({}), {release}, {next}", self.version)).with(details)
    }
}
