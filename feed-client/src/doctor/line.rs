//! A step, and what was seen at it.

use bundles::diagnosis::{self, Mark, Step};
use serde::Serialize;

/// What is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The configuration, the enrolment, and the files that they name.
    Settings,
    /// Names become addresses.
    Dns,
    /// TCP, to the server or to the proxy.
    Tcp,
    /// Which proxy.
    Proxy,
    /// `CONNECT` through the proxy.
    Connect,
    /// TLS with the server.
    Tls,
    /// The certificates that it presents.
    Chain,
    /// An answer in HTTP.
    Http,
    /// Metadata, verified against the enrolled root.
    Repository,
    /// The token for reports.
    Report,
    /// Which bundles are believed.
    Import,
    /// The data and apply directories.
    Disk,
    /// This machine's clock.
    Clock,
}

impl Check {
    /// Those that need the network, in order: where one fails, later ones are not tried.
    const NETWORK: [Self; 9] = [
        Self::Dns,
        Self::Tcp,
        Self::Proxy,
        Self::Connect,
        Self::Tls,
        Self::Chain,
        Self::Http,
        Self::Repository,
        Self::Report,
    ];
}

impl Step for Check {
    const WIDTH: usize = 10;

    fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Chain => "chain",
            Self::Http => "http",
            Self::Repository => "repository",
            Self::Report => "report",
            Self::Import => "import",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }
}

/// A step and what was seen.
pub type Line = diagnosis::Line<Check>;

/// The lines so far, told on as they come.
pub(super) struct Notes {
    lines: Vec<Line>,
    tell: Box<dyn FnMut(&Line)>,
}

impl Notes {
    pub(super) fn new(tell: impl FnMut(&Line) + 'static) -> Self {
        Self { lines: Vec::new(), tell: Box::new(tell) }
    }

    pub(super) fn note(&mut self, line: Line) {
        (self.tell)(&line);
        self.lines.push(line);
    }

    /// Unless the step has a line.
    pub(super) fn note_once(&mut self, line: Line) {
        if !self.lines.iter().any(|noted| noted.step == line.step) {
            self.note(line);
        }
    }

    pub(super) fn rest_of_network_not_tried(&mut self) {
        for step in Check::NETWORK {
            self.note_once(Line::new(step, Mark::NotTried, ""));
        }
    }

    /// Where there is nobody to reach.
    pub(super) fn network_not_needed(&mut self, why: &str) {
        for step in Check::NETWORK {
            self.note_once(Line::new(step, Mark::None, why));
        }
    }

    pub(super) fn rest_not_tried(&mut self) {
        self.rest_of_network_not_tried();
        for step in [Check::Import, Check::Disk, Check::Clock] {
            self.note_once(Line::new(step, Mark::NotTried, ""));
        }
    }

    pub(super) fn into_lines(self) -> Vec<Line> {
        self.lines
    }
}
