//! The world's server: its configuration, its life and death, and what it answers.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, ClientBuilder, Response};
use rustix::process::Signal;
use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

use super::World;
use super::metrics::Metrics;
use super::program::{Invocation, Output};
use super::wait::{DEADLINE, wait_for, wait_until};

/// The upstream's root certificate, beside the configuration.
pub(super) const CA: &str = "lab-ca.pem";

/// Who vouches for the server's own certificate, beside the configuration.
pub(super) const SERVER_CA: &str = "server-ca.pem";

/// The proxy's password, beside the configuration.
pub(super) const PASSWORD_FILE: &str = "proxy-password";

/// The exit code for "another run is going on" (design, section 8).
const BUSY: i32 = 16;

/// What the server writes into its data directory when it listens.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Listening {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
}

/// Sets a key of a section, such as `upstream` or `upstream.proxy`.
pub(super) fn set(settings: &mut Table, section: &str, key: &str, value: Value) {
    let (section, rest) = section.split_once('.').unwrap_or((section, ""));
    let section = settings.entry(section).or_insert_with(|| Value::Table(Table::new()));
    match section {
        Value::Table(section) if rest.is_empty() => drop(section.insert(key.to_owned(), value)),
        Value::Table(section) => set(section, rest, key, value),
        _ => {}
    }
}

/// Sets a key of a section, unless a test has set it.
pub(super) fn set_missing(settings: &mut Table, section: &str, key: &str, value: Value) {
    if settings.get(section).and_then(|section| section.get(key)).is_none() {
        set(settings, section, key, value);
    }
}

impl World {
    /// The server's configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory().join("feed-server.toml")
    }

    /// The server's data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        let configured = self.settings.get("data").and_then(|data| data.get("directory")).and_then(Value::as_str);
        self.directory().join(configured.unwrap_or("data"))
    }

    /// What the server says; it goes on across restarts.
    #[must_use]
    pub fn server_log(&self) -> PathBuf {
        self.directory().join("feed-server.log")
    }

    /// Sets a key of the server's configuration and writes the file; a running server reads it when started again.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) -> Result<()> {
        set(&mut self.settings, section, key, value.into());
        self.write_config()
    }

    pub(super) fn write_config(&self) -> Result<()> {
        std::fs::write(self.config(), toml::to_string(&self.settings)?).context("the server's configuration")
    }

    /// From now on, the server and its commands die when they come to that point (debug builds only). A server that runs
    /// already is not changed.
    pub fn crash_at(&mut self, point: &str) {
        self.crash_at = Some(point.to_owned());
    }

    /// From now on, they live.
    pub fn crash_nowhere(&mut self) {
        self.crash_at = None;
    }

    /// `feed-server` on this world's configuration with these arguments, for tests that add to it.
    #[must_use]
    pub fn invocation<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Invocation {
        let invocation = Invocation::new(&self.binaries.feed_server)
            .args([OsStr::new("--config"), self.config().as_os_str()])
            .args(arguments)
            .crashing_at(self.crash_at.as_deref());
        let invocation =
            self.environment.iter().fold(invocation, |invocation, (name, value)| invocation.env(name, value));
        self.clock_off.iter().fold(invocation, |invocation, offset| invocation.with_clock_off(offset))
    }

    /// From now on, the server and its commands are started with the clock off by that much, such as `+3h`.
    pub fn clock_off(&mut self, offset: &str) {
        self.clock_off = Some(offset.to_owned());
    }

    /// From now on, the server and its commands are started with this variable.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The file that holds the proxy's password, where [`super::WorldBuilder::proxy_login`] gave one.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.directory().join(PASSWORD_FILE)
    }

    /// Runs a command of `feed-server` to its end.
    ///
    /// # Errors
    /// It does not start or does not end.
    pub async fn feed_server<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Output> {
        self.invocation(arguments).output().await
    }

    /// `feed-server sync`, after the run that may be going on.
    ///
    /// # Errors
    /// It does not start or does not end, or another run goes on for ever.
    pub async fn sync(&self) -> Result<Output> {
        self.sync_with(&[]).await
    }

    /// The same with these arguments, such as `--ignore-cooldown`.
    ///
    /// # Errors
    /// As [`World::sync`].
    pub async fn sync_with(&self, arguments: &[&str]) -> Result<Output> {
        let arguments: Vec<&str> = std::iter::once("sync").chain(arguments.iter().copied()).collect();
        wait_for(DEADLINE, "no other update run goes on", async || match self.feed_server(&arguments).await {
            Ok(output) if output.code() == Some(BUSY) => None,
            outcome => Some(outcome),
        })
        .await?
    }

    /// Starts `feed-server serve` and waits until it answers. Started again, it keeps the port it had.
    ///
    /// # Errors
    /// It ends or does not answer; the error holds the last of what it said.
    pub async fn start_server(&mut self) -> Result<()> {
        self.start_server_with(&[]).await
    }

    /// [`World::start_server`] with variables in its environment.
    ///
    /// # Errors
    /// It ends or does not answer; the error holds the last of what it said.
    pub async fn start_server_with(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        self.spawn_server(environment)?;
        let file = self.data().join("listening.json");
        let server = self.server.as_mut().context("a server was started just now")?;
        let listening = wait_for(DEADLINE, "feed-server writes listening.json", async || {
            if let Ok(Some(status)) = server.ended() {
                return Some(Err(anyhow::anyhow!(
                    "feed-server ended ({status}) before it listened; {}",
                    server.tail()
                )));
            }
            let bytes = std::fs::read(&file).ok()?;
            serde_json::from_slice::<Listening>(&bytes).ok().map(Ok)
        });
        let listening = listening.await.with_context(|| server.tail())??;
        self.listening = Some(listening);
        // Headends keep the URL that they enrolled with, so that a server keeps its port, as in life.
        self.set("listen", "address", listening.address.to_string())?;
        if let Some(address) = listening.metrics_address {
            self.set("listen", "metrics_address", address.to_string())?;
        }
        let health = self.monitoring_url()?.join("healthz")?;
        let client = self.http()?;
        let healthy =
            async || client.get(health.clone()).send().await.is_ok_and(|response| response.status().is_success());
        let healthy = wait_until(DEADLINE, "feed-server answers /healthz", healthy).await;
        healthy.with_context(|| self.server_tail())
    }

    /// Stops the server and starts it again, so that it reads its configuration.
    ///
    /// # Errors
    /// It does not end, or does not start.
    pub async fn restart_server(&mut self) -> Result<()> {
        self.stop_server().await?;
        self.start_server().await
    }

    /// Starts `feed-server serve` and does not wait: for servers that are to die on their way.
    ///
    /// # Errors
    /// It does not start, or one runs already.
    pub fn spawn_server(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        ensure!(self.server.is_none(), "a server runs already in this world");
        // What an earlier server wrote must not be taken for this one's.
        match std::fs::remove_file(self.data().join("listening.json")) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("listening.json of an earlier server"),
        }
        let invocation = environment.iter().fold(self.invocation(["serve"]), |it, (name, value)| it.env(name, value));
        let invocation = if self.verbose { invocation.args(["-vv"]) } else { invocation };
        self.server = Some(invocation.start(&self.server_log())?);
        Ok(())
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Errors
    /// No server runs, or it does not end.
    pub async fn stop_server(&mut self) -> Result<ExitStatus> {
        self.end_server(Signal::TERM).await
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// No server runs.
    pub async fn kill_server(&mut self) -> Result<ExitStatus> {
        self.end_server(Signal::KILL).await
    }

    /// Sends the server a signal that does not end it.
    ///
    /// # Errors
    /// No server runs.
    pub fn signal_server(&self, signal: Signal) -> Result<()> {
        self.server.as_ref().context("no server runs in this world")?.signal(signal)
    }

    async fn end_server(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.server.as_ref().context("no server runs in this world")?.signal(signal)?;
        self.server_ended().await
    }

    /// Waits until the server has ended by itself, as at a crash point.
    ///
    /// # Errors
    /// No server runs, or it does not end.
    pub async fn server_ended(&mut self) -> Result<ExitStatus> {
        let mut server = self.server.take().context("no server runs in this world")?;
        server.end(DEADLINE).await
    }

    /// The server's process id, while one runs.
    #[must_use]
    pub fn server_id(&self) -> Option<u32> {
        self.server.as_ref().map(super::Running::id)
    }

    /// The most memory that the server has held at once so far, in bytes.
    ///
    /// # Errors
    /// No server runs, or the system does not say.
    pub fn server_peak_memory(&self) -> Result<u64> {
        self.server.as_ref().context("no server runs in this world")?.peak_memory()
    }

    /// The processor time that the server has used so far.
    ///
    /// # Errors
    /// No server runs, or the system does not say.
    pub fn server_cpu_time(&self) -> Result<std::time::Duration> {
        self.server.as_ref().context("no server runs in this world")?.cpu_time()
    }

    /// Where the server listens.
    ///
    /// # Errors
    /// None was started yet.
    pub fn server_url(&self) -> Result<Url> {
        let listening = self.listening.context("no server was started in this world")?;
        Ok(format!("{}://{}/", self.scheme(), listening.address).parse()?)
    }

    /// Where `/metrics` and health are.
    ///
    /// # Errors
    /// No server was started yet.
    pub fn monitoring_url(&self) -> Result<Url> {
        match self.listening.context("no server was started in this world")?.metrics_address {
            Some(address) => Ok(format!("http://{address}/").parse()?),
            None => self.server_url(),
        }
    }

    fn scheme(&self) -> &'static str {
        let tls = self.settings.get("listen").is_some_and(|listen| listen.get("tls_certificate").is_some());
        if tls { "https" } else { "http" }
    }

    /// Asks the server for a path, such as `web/secure/spa/posture-update.xml`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn get(&self, path: &str) -> Result<Response> {
        let url = self.server_url()?.join(path.trim_start_matches('/'))?;
        self.http()?.get(url).send().await.with_context(|| self.server_tail())
    }

    /// The same as whoever has that token.
    ///
    /// # Errors
    /// No server runs, or it does not answer.
    pub async fn get_as(&self, token: &str, path: &str) -> Result<Response> {
        let url = self.server_url()?.join(path.trim_start_matches('/'))?;
        self.http()?.get(url).bearer_auth(token.trim()).send().await.with_context(|| self.server_tail())
    }

    /// Reads the server's metrics.
    ///
    /// # Errors
    /// It does not answer, or not with metrics.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.metrics_text().await?)
    }

    /// The server's metrics as it writes them.
    ///
    /// # Errors
    /// It does not answer with success.
    pub async fn metrics_text(&self) -> Result<String> {
        let response = self.http()?.get(self.monitoring_url()?.join("metrics")?).send().await?;
        if !response.status().is_success() {
            bail!("/metrics answers {}", response.status());
        }
        Ok(response.text().await?)
    }

    /// Who vouches for the server's certificate, where it answers by TLS: see [`super::WorldBuilder::tls`].
    #[must_use]
    pub fn server_ca(&self) -> Option<PathBuf> {
        let path = self.directory().join(SERVER_CA);
        path.exists().then_some(path)
    }

    /// A client without a proxy and without patience, which trusts the world's own server alone.
    ///
    /// # Errors
    /// None that is known of.
    pub fn http(&self) -> Result<Client> {
        self.http_with(Client::builder())
    }

    /// The same with what else is wanted of it, such as that it is led nowhere.
    ///
    /// # Errors
    /// None that is known of.
    pub fn http_with(&self, client: ClientBuilder) -> Result<Client> {
        // Where it speaks plain HTTP, nobody that is trusted is asked.
        let anchor = if self.server_ca().is_some() { SERVER_CA } else { certs::DEFAULT_ANCHOR };
        let anchors = certs::Anchors::load(&[anchor.to_owned()], self.directory())?;
        let verifier = certs::PinnedVerifier::new(anchors)?;
        let tls = certs::client_config(verifier);
        Ok(client.tls_backend_preconfigured(tls).no_proxy().timeout(DEADLINE).build()?)
    }

    fn server_tail(&self) -> String {
        self.server.as_ref().map_or_else(|| "no server runs".to_owned(), super::Running::tail)
    }
}
