//! The world: the real programs, set up around a lab upstream in a directory of their own, with everything that
//! scenarios do to them. It drives programs, HTTP and files, and ends them all by their ids when it is dropped.
//!
//! ```no_run
//! # async fn scenario() -> anyhow::Result<()> {
//! use tests::world::World;
//!
//! let world = World::builder().headends(2).build().await?;
//! world.sync().await?.success()?;
//! world.enroll_all().await?;
//! world.headend(0).client(["update"]).await?.success()?;
//! # Ok(()) }
//! ```

mod binaries;
mod carry;
mod feed;
mod fleet;
mod headend;
mod metrics;
mod program;
mod server;
mod wait;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bundles::fake::Options;
use certs::lab::Chain;
use tempfile::TempDir;
use url::Url;

pub use binaries::{Binaries, binaries};
pub use carry::Answer;
pub use feed::{archive_digests, shows_edition};
pub use fleet::{Fleet, Member, running};
pub use headend::Headend;
pub use metrics::{Metrics, Sample};
pub use program::{CRASHES_ELSEWHERE, Invocation, Output, Running, clock_from, clock_off};
pub use rustix::process::Signal;
pub use wait::{DEADLINE, wait_for, wait_until};

use crate::lab::{LabBuilder, LabUpstream};

/// What a world is to be; see [`World::builder`].
#[derive(Debug)]
pub struct WorldBuilder {
    upstream: Option<LabBuilder>,
    headends: usize,
    settings: toml::Table,
    environment: Vec<(String, String)>,
    password: Option<String>,
    origin_root: Option<String>,
    verbose: bool,
    metrics_listener: bool,
    tls: bool,
    offline_zip: bool,
    serving: bool,
}

/// By what [`WorldBuilder::impatient`] divides: a minute becomes four seconds, so that a test sees the end of it, and ten
/// seconds for a connection still are more than a busy machine with two cores needs.
const IMPATIENCE: &str = "15";

impl WorldBuilder {
    /// This upstream instead of one with a small feed.
    #[must_use]
    pub fn upstream(mut self, upstream: LabBuilder) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Has the server fetch the vendor's own zip too, from beside the lab upstream's index.
    #[must_use]
    pub fn with_offline_zip(mut self) -> Self {
        self.offline_zip = true;
        self
    }

    /// No upstream: for relays and imports.
    #[must_use]
    pub fn without_upstream(mut self) -> Self {
        self.upstream = None;
        self.set("upstream", "kind", "none")
    }

    /// An upstream of the test's own: the index's URL, and the PEM files beside the configuration, or anchors by name, that
    /// vouch for it.
    #[must_use]
    pub fn upstream_at(mut self, index: &Url, anchors: &[&str]) -> Self {
        self.upstream = None;
        self.set("upstream", "url", index.as_str()).set("upstream", "trust_anchors", anchors.to_vec())
    }

    /// A relay that follows this feed-server, which answers by TLS; `root` is its origin's root file.
    #[must_use]
    pub fn following(self, server: &Url, ca: &Path, root: &Path) -> Self {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mirror = self.set("upstream", "kind", "mirror").set("upstream", "root", path(root));
        mirror.upstream_at(server, &[&path(ca)])
    }

    /// Lets the server answer by TLS, with a certificate by [`World::server_ca`]; `/metrics` and health get a listener of
    /// their own.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self.metrics_listener()
    }

    /// Reaches upstream through this proxy, such as `http://127.0.0.1:3128`.
    #[must_use]
    pub fn proxy(self, url: &str) -> Self {
        self.set("upstream.proxy", "url", url)
    }

    /// Says this to the proxy; the password is in [`World::password_file`].
    #[must_use]
    pub fn proxy_login(mut self, username: &str, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.set("upstream.proxy", "username", username).set("upstream.proxy", "password_file", server::PASSWORD_FILE)
    }

    /// Starts the server and its commands with this variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the server log everything that it can.
    #[must_use]
    pub fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    /// Lets the server wait for seconds where it waits for minutes (debug builds only).
    #[must_use]
    pub fn impatient(self) -> Self {
        self.env("POSTURE_FEED_TIMEOUTS_DIVIDED_BY", IMPATIENCE)
    }

    /// How many headends there are; they are enrolled by [`World::enroll`].
    #[must_use]
    pub fn headends(mut self, count: usize) -> Self {
        self.headends = count;
        self
    }

    /// Sets a key of the server's configuration, such as `("data", "retain_releases", 2)`.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        server::set(&mut self.settings, section, key, value.into());
        self
    }

    /// Gives `/metrics` and health a listener of their own.
    #[must_use]
    pub fn metrics_listener(mut self) -> Self {
        self.metrics_listener = true;
        self
    }

    /// Leaves the server stopped: for scenarios that begin with commands of their own.
    #[must_use]
    pub fn stopped(mut self) -> Self {
        self.serving = false;
        self
    }

    /// Leaves the schedule as an operator finds it: a fresh server updates at once, instead of when [`World::sync`] says.
    #[must_use]
    pub fn on_schedule(self) -> Self {
        self.set("schedule", "initial_delay", "00:00:00")
    }

    /// Makes it. The server listens when this returns, unless it was to be [`WorldBuilder::stopped`].
    ///
    /// # Errors
    /// Something does not start.
    pub async fn build(self) -> Result<World> {
        let binaries = binaries().await?.clone();
        let directory = tempfile::Builder::new().prefix("posture-feed-world-").tempdir()?;
        let upstream = self.upstream.map(LabBuilder::start).transpose()?;
        let mut settings = self.settings;
        if let Some(lab) = &upstream {
            lab.write_ca(&directory.path().join(server::CA))?;
            server::set_missing(&mut settings, "upstream", "url", lab.url().as_str().into());
            server::set_missing(&mut settings, "upstream", "trust_anchors", vec![server::CA].into());
            if self.offline_zip {
                let url = lab.url_of(crate::lab::OFFLINE_ZIP);
                server::set_missing(&mut settings, "upstream", "offline_zip_url", url.as_str().into());
            }
        }
        if let Some(password) = self.password {
            let path = directory.path().join(server::PASSWORD_FILE);
            std::fs::write(&path, format!("{password}\n"))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        }
        if let Some(root) = self.origin_root {
            std::fs::write(directory.path().join(carry::ORIGIN_ROOT), root)?;
        }
        server::set_missing(&mut settings, "listen", "address", "127.0.0.1:0".into());
        if self.metrics_listener {
            server::set_missing(&mut settings, "listen", "metrics_address", "127.0.0.1:0".into());
        }
        if self.tls {
            let chain = Chain::builder().names(["localhost"]).loopback().build()?;
            std::fs::write(directory.path().join("tls.pem"), chain.presented_pem())?;
            std::fs::write(directory.path().join("tls.key"), chain.leaf_key_pem())?;
            std::fs::write(directory.path().join(server::SERVER_CA), &chain.root.pem)?;
            server::set_missing(&mut settings, "listen", "tls_certificate", "tls.pem".into());
            server::set_missing(&mut settings, "listen", "tls_key", "tls.key".into());
        }
        server::set_missing(&mut settings, "data", "directory", "data".into());
        // A fresh server updates on its own at once. Scenarios say when, unless they are about just that.
        server::set_missing(&mut settings, "schedule", "initial_delay", "24:00:00".into());
        let headends = (1..=self.headends)
            .map(|number| {
                let id = format!("headend-{number}");
                Headend::new(id.clone(), directory.path().join(id), binaries.feed_client.clone())
            })
            .collect::<Result<_>>()?;
        let mut world = World {
            server: None,
            listening: None,
            settings,
            environment: self.environment,
            clock_off: None,
            verbose: self.verbose,
            crash_at: None,
            headends,
            upstream,
            binaries,
            directory,
        };
        world.write_config()?;
        if self.serving {
            world.start_server().await?;
        }
        Ok(world)
    }
}

/// The programs, the upstream, and the directory they live in. Fields are dropped in this order: the programs end before
/// the upstream, and the directory goes last.
#[derive(Debug)]
pub struct World {
    server: Option<Running>,
    listening: Option<server::Listening>,
    settings: toml::Table,
    environment: Vec<(String, String)>,
    clock_off: Option<String>,
    verbose: bool,
    crash_at: Option<String>,
    headends: Vec<Headend>,
    upstream: Option<LabUpstream>,
    binaries: Binaries,
    directory: TempDir,
}

impl World {
    /// A small feed upstream, one server on free ports of this machine, no headends.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        WorldBuilder {
            upstream: Some(LabUpstream::builder().options(Options::small())),
            headends: 0,
            settings: toml::Table::new(),
            environment: Vec::new(),
            password: None,
            origin_root: None,
            verbose: false,
            metrics_listener: false,
            tls: false,
            offline_zip: false,
            serving: true,
        }
    }

    /// The directory that everything is in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The upstream.
    ///
    /// # Panics
    /// The world was built without one.
    #[must_use]
    pub fn upstream(&self) -> &LabUpstream {
        self.upstream.as_ref().expect("this world was built without an upstream")
    }

    /// A headend, counted from 0.
    ///
    /// # Panics
    /// There are fewer.
    #[must_use]
    pub fn headend(&self, number: usize) -> &Headend {
        &self.headends[number]
    }

    /// A headend, to set its crash point.
    ///
    /// # Panics
    /// There are fewer.
    #[must_use]
    pub fn headend_mut(&mut self, number: usize) -> &mut Headend {
        &mut self.headends[number]
    }

    /// Every headend.
    #[must_use]
    pub fn headends(&self) -> &[Headend] {
        &self.headends
    }

    /// Gives a headend the online root and a token, and ties it to the server.
    ///
    /// # Errors
    /// A command fails.
    pub async fn enroll(&self, number: usize) -> Result<()> {
        self.enroll_by(number, &self.server_url()?).await
    }

    /// The same by another way to the server, such as a proxy in front of it.
    ///
    /// # Errors
    /// A command fails.
    pub async fn enroll_by(&self, number: usize, server: &Url) -> Result<()> {
        let headend = self.headend(number);
        self.add_headend(headend).await?;
        let root = self.export_root(&headend.root_file()).await?;
        if let Some(ca) = self.server_ca() {
            headend.configure(&format!("[server]\ntrust_anchors = [{ca:?}]\n"))?;
        }
        headend.enroll(server, &root).await?;
        Ok(())
    }

    async fn add_headend(&self, headend: &Headend) -> Result<()> {
        let token_file = headend.token_file();
        let add: [&OsStr; 5] =
            ["headend".as_ref(), "add".as_ref(), headend.id().as_ref(), "--token-file".as_ref(), token_file.as_ref()];
        self.feed_server(add).await?.success().map(drop)
    }

    /// [`World::enroll`] for every headend.
    ///
    /// # Errors
    /// A command fails.
    pub async fn enroll_all(&self) -> Result<()> {
        for number in 0..self.headends.len() {
            self.enroll(number).await?;
        }
        Ok(())
    }

    /// Writes the online repository's root to a file, and gives its path.
    ///
    /// # Errors
    /// The command fails.
    pub async fn export_root(&self, path: &Path) -> Result<PathBuf> {
        self.export_root_of(&["keys", "export-root"], path).await
    }

    /// Writes the offline repository's root to a file, and gives its path.
    ///
    /// # Errors
    /// The command fails.
    pub async fn export_offline_root(&self, path: &Path) -> Result<PathBuf> {
        self.export_root_of(&["keys", "export-root", "--offline"], path).await
    }

    async fn export_root_of(&self, command: &[&str], path: &Path) -> Result<PathBuf> {
        let root = self.feed_server(command).await?.success()?;
        std::fs::write(path, &root.stdout).with_context(|| path.display().to_string())?;
        Ok(path.to_owned())
    }
}
