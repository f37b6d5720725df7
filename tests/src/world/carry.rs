//! What is carried by hand between worlds: roots and bundles, out of one server and into another, or to headends.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program::Output;
use super::{World, WorldBuilder};

/// Where a relay's configuration finds the root that it trusts.
pub(super) const ORIGIN_ROOT: &str = "origin-root.json";

/// What curl says of an upload.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, where it is JSON; `null` where it is not.
    pub body: Value,
}

impl WorldBuilder {
    /// A relay that is fed by hand: no upstream, no keys, and trust in the origin whose root file that is.
    #[must_use]
    pub fn relay(mut self, origin_root: &str) -> Self {
        self.upstream = None;
        self.origin_root = Some(origin_root.to_owned());
        self.set("upstream", "kind", "mirror").set("upstream", "root", ORIGIN_ROOT)
    }
}

impl World {
    /// The offline repository's root, as an operator exports it once: an origin's own, a relay's is its origin's.
    ///
    /// # Errors
    /// The command fails.
    pub async fn offline_root(&self) -> Result<String> {
        Ok(self.feed_server(["keys", "export-root", "--offline"]).await?.success()?.stdout)
    }

    /// Builds a zip into a new folder of the world: `bundle build` with these arguments. Beside it are its `.sha256` and
    /// its `.sheet.txt`.
    ///
    /// # Errors
    /// The command fails, or builds no zip.
    pub async fn build_zip(&self, arguments: &[&str]) -> Result<PathBuf> {
        let out = tempfile::Builder::new().prefix("carried-").tempdir_in(self.directory())?.keep();
        let mut all = vec!["bundle", "build", "--out", out.to_str().context("UTF-8")?];
        all.extend(arguments);
        self.feed_server(all).await?.success()?;
        let zips = std::fs::read_dir(&out)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let mut zips = zips.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "zip"));
        zips.next().with_context(|| format!("no zip was built in {}", out.display()))
    }

    /// The bundle of the newest release.
    ///
    /// # Errors
    /// As [`World::build_zip`].
    pub async fn bundle(&self) -> Result<PathBuf> {
        self.build_zip(&[]).await
    }

    /// `feed-server bundle import` of a zip.
    ///
    /// # Errors
    /// It does not start or does not end.
    pub async fn import(&self, zip: &Path) -> Result<Output> {
        self.feed_server(["bundle".as_ref(), "import".as_ref(), zip.as_os_str()]).await
    }

    /// A new token that may import.
    ///
    /// # Errors
    /// The command fails.
    pub async fn operators_token(&self, name: &str) -> Result<String> {
        let file = self.directory().join(format!("token-{name}"));
        let add = ["token", "add", name, "--scope", "operate", "--token-file", file.to_str().context("UTF-8")?];
        self.feed_server(add).await?.success()?;
        Ok(std::fs::read_to_string(file)?.trim().to_owned())
    }

    /// Uploads a zip over the network, as a script of an operator's does, with curl.
    ///
    /// # Errors
    /// curl is missing, or gets no answer.
    pub fn upload(&self, zip: &Path, token: &str) -> Result<Answer> {
        let url = self.server_url()?.join("api/v1/imports")?;
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"])
            .args(["--header", "Content-Type: application/zip"])
            .args(["--oauth2-bearer", token, "--upload-file"])
            .arg(zip)
            .args(["--request", "POST", url.as_str()])
            .output()
            .context("curl is missing; run tests/run, which installs it")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (body, status) = text.rsplit_once('\n').context("curl writes the status last")?;
        let status: u16 = status.parse()?;
        ensure!(status != 0, "curl {url}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Answer { status, body: serde_json::from_str(body).unwrap_or_default() })
    }

    /// The folder that the server watches.
    #[must_use]
    pub fn watched_folder(&self) -> PathBuf {
        self.data().join("incoming")
    }

    /// [`World::enroll`] with a root of the test's choice, such as the offline one.
    ///
    /// # Errors
    /// A command fails.
    pub async fn enroll_with(&self, number: usize, root: &str) -> Result<()> {
        let headend = self.headend(number);
        self.add_headend(headend).await?;
        std::fs::write(headend.root_file(), root)?;
        headend.enroll(&self.server_url()?, &headend.root_file()).await?;
        Ok(())
    }
}
