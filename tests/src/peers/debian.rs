//! A bare Debian, to install things into, and what builds those things.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::shared::workspace;

/// A bare Debian. Made once for a target folder, then copied.
#[derive(Debug)]
pub struct Root(tempfile::TempDir);

/// What a command said, if it ended well.
///
/// # Errors
/// It does not start, or failed; the error holds everything it said.
pub fn run(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("{command:?} does not start; run tests/run, which installs it"))?;
    let said = said(&output);
    if !output.status.success() {
        bail!("{command:?}: {}\n{said}", output.status);
    }
    Ok(said)
}

/// All that a command said.
#[must_use]
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Root {
    /// Of the machine's own release, from where apt gets its packages.
    ///
    /// # Errors
    /// debootstrap is missing, or the packages cannot be had.
    pub fn bare() -> Result<Self> {
        let base = workspace().join("target/debian-root.tar");
        // One of those who come at the same time makes it.
        let lock = std::fs::File::create(base.with_extension("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if !base.is_file() {
            let sources = run(Command::new("apt-get").args([
                "indextargets",
                "--format",
                "$(REPO_URI) $(CODENAME)",
                "Created-By: Packages",
            ]))?;
            let (mirror, suite) =
                sources.lines().next().and_then(|line| line.split_once(' ')).context("apt has no source")?;
            let work = tempfile::tempdir()?;
            let root = work.path().join("root");
            run(Command::new("debootstrap")
                .args(["--variant=minbase", "--include=ca-certificates,systemd", suite])
                .arg(&root)
                .arg(mirror))?;
            // Whole or not at all.
            let packed = base.with_extension("part");
            run(Command::new("tar").arg("--create").arg("--file").arg(&packed).arg("--directory").arg(&root).arg("."))?;
            std::fs::rename(&packed, &base)?;
        }
        drop(lock);
        let directory = tempfile::tempdir()?;
        run(Command::new("tar").arg("--extract").arg("--file").arg(&base).arg("--directory").arg(directory.path()))?;
        Ok(Self(directory))
    }

    /// Where a path of it is outside of it.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// A command in it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.0.path()).args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        command
    }

    /// Runs a command in it.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run(&mut self.command(arguments))
    }

    /// Where it begins.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.path()
    }
}
