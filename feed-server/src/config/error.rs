//! Mistakes in a configuration, for people to mend.

use std::fmt;
use std::path::{Path, PathBuf};

use bundles::{Reason, Reasoned};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, from 1; 0 where it is the file as a whole.
    pub line: usize,
    /// The key, such as `schedule.every`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong, and what to write.
    pub message: String,
}

/// All mistakes of a configuration: one a line, `file:LINE: key: what is wrong, and what to write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: PathBuf,
    mistakes: Vec<Mistake>,
}

impl ConfigErrors {
    pub(super) fn new(mistakes: Vec<Mistake>) -> Self {
        Self { file: PathBuf::from("configuration"), mistakes }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot be read ({error}); check the path and who may read it");
        Self { file: path.to_owned(), mistakes: vec![Mistake { line: 0, key: String::new(), message }] }
    }

    pub(super) fn of_file(self, path: &Path) -> Self {
        Self { file: path.to_owned(), ..self }
    }

    /// The mistakes in the order of their lines; at least one.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.mistakes.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.file.display())?;
            if mistake.line > 0 {
                write!(f, "{}:", mistake.line)?;
            }
            if !mistake.key.is_empty() {
                write!(f, " {}:", mistake.key)?;
            }
            write!(f, " {}", mistake.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl Reasoned for ConfigErrors {
    fn reason(&self) -> Reason {
        Reason::BadRequest
    }
}
