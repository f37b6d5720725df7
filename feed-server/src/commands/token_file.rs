//! Handing a new token over: shown once, or to a file, which is made before the token is: what was issued and could not
//! be written would be lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use bundles::Reason;
use bundles::report::Failure;
use serde::Serialize;

use super::door::{Door, cannot_write};
use super::output::{print, print_json};
use super::{Global, segment};
use crate::http::api::views::IssuedToken;

/// What becomes of it where the token cannot be written to its file.
#[derive(Debug, Clone, Copy)]
pub enum Unwritten<'a> {
    /// What was made goes again: it is under the route, by its name.
    Undone,
    /// It cannot be undone; this is what to do.
    Try(&'a str),
}

/// Asks for `new` at an API route and hands its token over; `told` says to people what happened.
///
/// # Errors
/// The server's problem, or the file cannot be made or written. Then there is no file, and what `unwritten` says.
pub async fn issue(
    global: &Global,
    route: &str,
    new: &impl Serialize,
    file: Option<PathBuf>,
    unwritten: Unwritten<'_>,
    told: impl Fn(&IssuedToken) -> String,
) -> anyhow::Result<()> {
    let file = file.map(TokenFile::new).transpose()?;
    Door::with(global, async |door| {
        let issued: IssuedToken = door.post(route, new).await?;
        let told = told(&issued);
        let Some(file) = file else {
            if global.json {
                return print_json(&issued);
            }
            eprintln!("{told}. The token is shown this once:");
            return print(&format!("{}\n", issued.token.unwrap_or_default()));
        };
        let told = format!("{told}; the token is in {}.\n", file.path.display());
        if let Err(error) = file.write(issued.token.as_deref().unwrap_or_default()) {
            // Nobody has the token.
            match unwritten {
                Unwritten::Undone => door.delete(&format!("{route}/{}", segment(&issued.name)?)).await?,
                Unwritten::Try(next) => eprintln!("{next}"),
            }
            return Err(error);
        }
        print(&told)
    })
    .await
}

/// The file, new and empty; it goes again unless a token was written to it.
#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl TokenFile {
    /// Makes the file (mode 0600).
    ///
    /// # Errors
    /// There is one already, which is left as it is; or it cannot be made.
    fn new(path: PathBuf) -> anyhow::Result<Self> {
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
    fn write(mut self, token: &str) -> anyhow::Result<()> {
        let written = writeln!(self.file, "{token}").and_then(|()| self.file.sync_all());
        self.is_written = written.is_ok();
        written.map_err(|error| cannot_write(&self.path, &error))
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
