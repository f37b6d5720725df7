//! A headend of the world: a data directory that `feed-client` works on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use url::Url;

use super::program::{Invocation, Output, Running};

/// One headend.
#[derive(Debug)]
pub struct Headend {
    id: String,
    directory: PathBuf,
    program: PathBuf,
    crash_at: Option<String>,
}

impl Headend {
    pub(super) fn new(id: String, directory: PathBuf, program: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        Ok(Self { id, directory, program, crash_at: None })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it keeps everything: `feed-client --data`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its configuration, read from the data directory where a test writes one.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.data().join("feed-client.toml")
    }

    /// The token that it reports with.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.directory.join("token")
    }

    /// The root that it was given to trust.
    #[must_use]
    pub fn root_file(&self) -> PathBuf {
        self.directory.join("root.json")
    }

    /// Where `current` leads now; `None` before the first apply.
    #[must_use]
    pub fn current(&self) -> Option<PathBuf> {
        std::fs::canonicalize(self.data().join("current")).ok()
    }

    /// Writes its configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&self, toml: &str) -> Result<()> {
        std::fs::create_dir_all(self.data())?;
        std::fs::write(self.config(), toml).with_context(|| self.config().display().to_string())
    }

    /// From now on, `feed-client` dies when it comes to that point (debug builds only).
    pub fn crash_at(&mut self, point: &str) {
        self.crash_at = Some(point.to_owned());
    }

    /// From now on, it lives.
    pub fn crash_nowhere(&mut self) {
        self.crash_at = None;
    }

    /// `feed-client` on this headend with these arguments, for tests that add to it.
    #[must_use]
    pub fn invocation<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Invocation {
        let invocation = Invocation::new(&self.program).args([OsStr::new("--data"), self.data().as_os_str()]);
        invocation.args(arguments).crashing_at(self.crash_at.as_deref())
    }

    /// Runs a command of `feed-client` to its end.
    ///
    /// # Errors
    /// It does not start or does not end.
    pub async fn client<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Output> {
        self.invocation(arguments).output().await
    }

    /// Starts `feed-client run`; its log is [`Headend::log`].
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self) -> Result<Running> {
        self.invocation(["run"]).start(&self.log())
    }

    /// What `feed-client run` says.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("feed-client.log")
    }

    /// `feed-client import` of a bundle.
    ///
    /// # Errors
    /// It does not start or does not end.
    pub async fn import(&self, zip: &Path) -> Result<Output> {
        self.client(["import".as_ref(), zip.as_os_str()]).await
    }

    /// Gives it a root to trust, and no server: what comes, comes by hand.
    ///
    /// # Errors
    /// The command fails.
    pub async fn enroll_for_imports(&self, root: &str) -> Result<()> {
        std::fs::write(self.root_file(), root)?;
        let root = self.root_file();
        let arguments: [&OsStr; 5] =
            ["enroll".as_ref(), "--root".as_ref(), root.as_ref(), "--id".as_ref(), self.id.as_ref()];
        self.client(arguments).await?.success().map(drop)
    }

    pub(super) async fn enroll(&self, server: &Url, root: &Path) -> Result<Output> {
        let token_file = self.token_file();
        let arguments: [&OsStr; 9] = [
            "enroll".as_ref(),
            "--server".as_ref(),
            server.as_str().trim_end_matches('/').as_ref(),
            "--root".as_ref(),
            root.as_ref(),
            "--id".as_ref(),
            self.id.as_ref(),
            "--token-file".as_ref(),
            token_file.as_ref(),
        ];
        self.client(arguments).await?.success()
    }
}
