//! A file that a new token goes to, made before the token is: what was issued and could not be written would be lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bundles::Reason;
use bundles::report::Failure;

use super::door::cannot_write;

/// The file, new and empty; it goes again unless a token was written to it.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl TokenFile {
    /// Makes the file (mode 0600).
    ///
    /// # Errors
    /// There is one already, which is left as it is; or it cannot be made.
    pub fn new(path: PathBuf) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let message = format!(
                    "{} is there already and is not overwritten: it may hold a token that is in use; name another file, or \
                     move it away",
                    path.display()
                );
                Failure::new(Reason::BadRequest, message).into()
            }
            _ => cannot_write(&path, &error),
        })?;
        Ok(Self { path, file, is_written: false })
    }

    /// Writes the token.
    ///
    /// # Errors
    /// It cannot be written; then the file goes.
    pub fn write(mut self, token: &str) -> anyhow::Result<()> {
        let written = writeln!(self.file, "{token}").and_then(|()| self.file.sync_all());
        self.is_written = written.is_ok();
        written.map_err(|error| cannot_write(&self.path, &error))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        if !self.is_written
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a file without a token stays");
        }
    }
}
