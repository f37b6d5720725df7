//! Which of the two sets of signed metadata.

use std::fmt;

/// The two sets of metadata over the same targets. They share no key: TUF lets any next root that the old root's keys
/// signed replace the old one, and a root does not name its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repository {
    /// `/repo`: short-lived, for headends that reach the server.
    Online,
    /// `/offline`: long-lived, for what is carried by hand.
    Offline,
}

impl Repository {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Online, Self::Offline];

    /// By its word.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|repository| repository.as_str() == name)
    }

    /// For labels, key files and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }

    /// The folder in the tree and in URLs.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Online => "repo",
            Self::Offline => "offline",
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
