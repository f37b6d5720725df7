//! Where the real programs are, and that they are built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tokio::sync::OnceCell;

/// Set by whoever has built the programs already (`tests/run`): then nothing is built here.
const READY: &str = "POSTURE_FEED_BINS_READY";

/// The programs that a world is made of.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The mirror.
    pub feed_server: PathBuf,
    /// The headend's agent.
    pub feed_client: PathBuf,
    /// What headends verify with, by the protocol of the TUF conformance suite.
    pub tuf_conformance_client: PathBuf,
}

/// The programs in the target directory of the running executable, built first unless `POSTURE_FEED_BINS_READY` is set.
///
/// # Errors
/// They do not build, or are not there.
pub async fn binaries() -> Result<&'static Binaries> {
    static BINARIES: OnceCell<Binaries> = OnceCell::const_new();
    BINARIES
        .get_or_try_init(async || {
            tokio::task::spawn_blocking(find).await.context("the search for the programs ended")?
        })
        .await
}

fn find() -> Result<Binaries> {
    let executable = std::env::current_exe().context("the running executable has no path")?;
    let directory = profile_directory(&executable).context("the running executable lies in no directory")?;
    if std::env::var_os(READY).is_none() {
        build(directory)?;
    }
    let program = |name: &str| {
        let path = directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        ensure!(
            path.is_file(),
            "{} is missing; run `cargo build -p feed-server -p feed-client --bins`",
            path.display()
        );
        Ok(path)
    };
    Ok(Binaries {
        feed_server: program("feed-server")?,
        feed_client: program("feed-client")?,
        tuf_conformance_client: program("tuf-conformance-client")?,
    })
}

/// `target/debug` for `target/debug/demo` as well as for `target/debug/deps/scenario-0123`.
fn profile_directory(executable: &Path) -> Option<&Path> {
    let directory = executable.parent()?;
    if directory.file_name().is_some_and(|name| name == "deps") { directory.parent() } else { Some(directory) }
}

fn build(directory: &Path) -> Result<()> {
    let target = directory.parent().context("the target directory has no parent")?;
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "-p", "feed-server", "-p", "feed-client", "--bins", "--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(crate::shared::workspace());
    // What cargo says is seen: on a fresh clone this takes minutes.
    let status = cargo.status().context("cargo does not start")?;
    ensure!(status.success(), "the programs do not build ({status}); see what cargo said above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_lie_beside_tests_and_beside_each_other() {
        for executable in ["/t/debug/deps/scenario-0123", "/t/debug/demo"] {
            assert_eq!(profile_directory(Path::new(executable)), Some(Path::new("/t/debug")));
        }
    }
}
