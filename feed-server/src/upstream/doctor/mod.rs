//! The doctor's view of the way upstream: a line for each step, as it happens, with what was seen there.
//!
//! [`Notes`] keeps the lines and tells them on; [`Network`] makes lines of what a [`Vendor`](super::Vendor) says while it
//! connects; [`chains`] is what hosts presented, trusted or not.

pub mod chains;
mod network;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bundles::diagnosis;
use bundles::report::Failure;
use serde::Serialize;

pub use bundles::diagnosis::Mark;
pub use network::{Network, Route};

use crate::config::Role;

/// What is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The configuration, and the files that it names.
    Settings,
    /// The server that runs on the data directory.
    Server,
    /// Names become addresses.
    Dns,
    /// TCP, to upstream or to the proxy.
    Tcp,
    /// The proxy: which one, and TLS to it where it speaks that.
    Proxy,
    /// `CONNECT` through the proxy.
    Connect,
    /// TLS with upstream.
    Tls,
    /// The certificates that it presents.
    Chain,
    /// The request for the index, or for a followed server's timestamp.
    Http,
    /// What the index says.
    Index,
    /// The signed metadata of a followed feed-server.
    Metadata,
    /// The release that it calls stable.
    Release,
    /// Everything that it names, fetched and opened.
    Archives,
    /// The vendor's own zip, where it is to be fetched.
    OfflineZip,
    /// Another URL of the index, where the first one fails.
    Fallback,
    /// The data directory and other files.
    Disk,
    /// This machine's clock.
    Clock,
}

impl Check {
    /// Those that need the network, in order: where one fails, later ones are not tried.
    pub const NETWORK: [Self; 9] = [
        Self::Dns,
        Self::Tcp,
        Self::Proxy,
        Self::Connect,
        Self::Tls,
        Self::Chain,
        Self::Http,
        Self::Index,
        Self::Archives,
    ];

    /// The same where another feed-server is followed.
    pub const FOLLOWING: [Self; 10] = [
        Self::Dns,
        Self::Tcp,
        Self::Proxy,
        Self::Connect,
        Self::Tls,
        Self::Chain,
        Self::Http,
        Self::Metadata,
        Self::Release,
        Self::Archives,
    ];

    /// Which of them there are.
    #[must_use]
    pub const fn of_network(role: Role) -> &'static [Self] {
        match role {
            Role::Origin => &Self::NETWORK,
            Role::Relay => &Self::FOLLOWING,
        }
    }
}

impl diagnosis::Step for Check {
    const WIDTH: usize = 9;

    fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Server => "server",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Chain => "chain",
            Self::Http => "http",
            Self::Index => "index",
            Self::Metadata => "metadata",
            Self::Release => "release",
            Self::Archives => "archives",
            Self::OfflineZip => "zip",
            Self::Fallback => "fallback",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }
}

/// A step and what was seen.
pub type Line = diagnosis::Line<Check>;

/// The lines so far, told on as they come.
pub struct Notes {
    lines: Mutex<Vec<Line>>,
    tell: Box<dyn Fn(&Line) + Send + Sync>,
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Notes {
    /// `tell` hears each line when it is noted.
    pub fn new(tell: impl Fn(&Line) + Send + Sync + 'static) -> Self {
        Self { lines: Mutex::default(), tell: Box::new(tell) }
    }

    /// Notes a line.
    pub fn note(&self, line: Line) {
        (self.tell)(&line);
        self.lock().push(line);
    }

    /// Notes a line, unless the same step was noted for the same target: two connections to a host say the same.
    pub fn note_once(&self, line: Line) {
        let known = self.lock().iter().any(|noted| noted.step == line.step && noted.target == line.target);
        if !known {
            self.note(line);
        }
    }

    /// Whether a step has a line.
    #[must_use]
    pub fn has(&self, step: Check) -> bool {
        self.lock().iter().any(|line| line.step == step)
    }

    /// Why the first step failed that did.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.lock().iter().find_map(|line| line.failure.clone())
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.lock().clone()
    }

    // A panic elsewhere leaves whole lines in here.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
