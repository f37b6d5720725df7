//! The programs as enclaves and images carry them: linked to nothing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::debian::run;
use crate::shared::workspace;

/// Set by whoever has built them already (`tests/run`): then nothing is built here.
const READY: &str = "POSTURE_FEED_STATIC_READY";

/// Where they are, built first unless `POSTURE_FEED_STATIC_READY` is set: quickly, and slow.
///
/// # Errors
/// They do not build, or are not there.
pub fn static_programs() -> Result<PathBuf> {
    let folder = workspace().join("target/static-trial");
    if std::env::var_os(READY).is_none() {
        // Minutes, the first time.
        let mut build = Command::new(workspace().join("deploy/static"));
        run(build.args(["--profile", "trial", "--output"]).arg(&folder))?;
    }
    let target = std::fs::read_to_string(folder.join("target")).context("deploy/static has not been run")?;
    ensure!(!target.trim().is_empty());
    Ok(folder)
}
