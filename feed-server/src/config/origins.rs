//! Where the values of a configuration come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::document;

/// Which file a configuration was read from, on which lines its keys stand, and what was given in other ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    file: Option<PathBuf>,
    lines: BTreeMap<String, usize>,
    given: BTreeMap<&'static str, Origin>,
}

impl Origins {
    pub(super) fn of_text(text: &str) -> Self {
        Self { lines: document::lines(text), ..Self::default() }
    }

    pub(super) fn in_file(self, path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..self }
    }

    /// Notes that a key's value was given in another way, which goes before the file.
    pub fn given(&mut self, key: &'static str, origin: Origin) {
        self.given.insert(key, origin);
    }

    /// The configuration file, where there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Where the value of a key comes from.
    #[must_use]
    pub fn of(&self, key: &str) -> Origin {
        match (self.given.get(key), self.lines.get(key)) {
            (Some(given), _) => given.clone(),
            (None, Some(line)) => Origin::File { path: self.file.clone(), line: *line },
            (None, None) => Origin::Default,
        }
    }
}

/// Where one value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File {
        /// Which; absent where a text was read that is no file's.
        path: Option<PathBuf>,
        /// Counted from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// An option of the command line.
    CommandLine {
        /// As it is written.
        option: &'static str,
    },
    /// A file of its own, which holds a secret.
    SecretFile {
        /// Which.
        path: PathBuf,
    },
    /// A credential that systemd hands to the service.
    Credential {
        /// Its file.
        path: PathBuf,
    },
}

impl Origin {
    /// One word, for programs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Environment { .. } => "environment",
            Self::CommandLine { .. } => "command_line",
            Self::SecretFile { .. } => "secret_file",
            Self::Credential { .. } => "credential",
        }
    }

    /// Where exactly: `FILE:LINE`, a variable, an option, a file; `None` for a default.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Default => None,
            Self::File { path: Some(path), line } => Some(format!("{}:{line}", path.display())),
            Self::File { path: None, line } => Some(format!("line {line}")),
            Self::Environment { variable } => Some(variable.clone()),
            Self::CommandLine { option } => Some((*option).to_owned()),
            Self::SecretFile { path } | Self::Credential { path } => Some(path.display().to_string()),
        }
    }
}

/// For people.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place().unwrap_or_default();
        match self {
            Self::Default => f.write_str("default"),
            Self::File { .. } | Self::SecretFile { .. } => f.write_str(&place),
            Self::Environment { .. } => write!(f, "environment: {place}"),
            Self::CommandLine { .. } => write!(f, "command line: {place}"),
            Self::Credential { .. } => write!(f, "credential: {place}"),
        }
    }
}
