//! A virus scanner: `clamscan` with one signature of the test's own, and nothing downloaded.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// What the scanner looks for. Unlike the EICAR file, it alarms no scanner but this one.
pub const MARKER: &[u8] = b"posture-feed-marker-of-the-tests-own-7d1f";

/// The signature's name; clamscan adds `.UNOFFICIAL`, since nobody signed its database.
const SIGNATURE: &str = "PostureFeed.Tests.Marker";

/// A scanner that knows [`MARKER`] wherever it stands in any file.
#[derive(Debug)]
pub struct Clamscan {
    database: TempDir,
}

impl Clamscan {
    /// Writes its signature.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new() -> Result<Self> {
        let database = tempfile::tempdir()?;
        // Name, any type of file, any offset, the bytes (ClamAV's "extended signature format").
        let signature = format!("{SIGNATURE}:0:*:{}\n", hex::encode(MARKER));
        std::fs::write(database.path().join("tests.ndb"), signature)?;
        Ok(Self { database })
    }

    /// Whether it finds the marker in a file, whatever the file is packed into. A file that is too large, too deep or too
    /// odd to be scanned whole is found too, as careful transfer stations have it.
    ///
    /// # Errors
    /// clamscan is missing, fails, or finds something else.
    pub fn finds_marker(&self, file: &Path) -> Result<bool> {
        let output = Command::new("clamscan")
            .arg("--database")
            .arg(self.signatures())
            .args(["--alert-exceeds-max=yes", "--alert-encrypted=yes", "--alert-broken-media=yes", "--no-summary"])
            .arg(file)
            .output()
            .context("clamscan is missing; run tests/run, which installs it")?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.code() {
            Some(0) => Ok(false),
            Some(1) if said.contains(SIGNATURE) => Ok(true),
            _ => bail!("clamscan {} ({}): {said}", file.display(), output.status),
        }
    }

    fn signatures(&self) -> PathBuf {
        self.database.path().join("tests.ndb")
    }
}
