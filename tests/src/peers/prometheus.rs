//! Prometheus and Alertmanager: who reads our metrics, and who is told.

use std::path::Path;

use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::Value;
use url::Url;

use super::chromium::no_tls;
use super::daemon::{Daemon, program};
use crate::world::{DEADLINE, Invocation};

/// A running Prometheus, of a configuration. Ends when dropped.
#[derive(Debug)]
pub struct Prometheus(Daemon);

impl Prometheus {
    /// Starts it with that configuration file.
    ///
    /// # Errors
    /// It is missing, or refuses the configuration.
    pub async fn start(config: &Path) -> Result<Self> {
        Ok(Self(start("prometheus", config, "--storage.tsdb.path", &[]).await?))
    }

    /// Asks its API: what stands under `data`.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn api(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let mut url = Url::parse(&format!("http://{}/api/v1/{path}", self.0.address()))?;
        url.query_pairs_mut().extend_pairs(query);
        let answer = get(url).await?;
        answer.get("data").cloned().with_context(|| format!("{path}: {answer}"))
    }

    /// The samples of a query: labels and value.
    ///
    /// # Errors
    /// As [`Self::api`].
    pub async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let data = self.api("query", &[("query", query)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }
}

/// A running Alertmanager. Ends when dropped.
#[derive(Debug)]
pub struct Alertmanager(Daemon);

impl Alertmanager {
    /// Starts it with that configuration file.
    ///
    /// # Errors
    /// It is missing, or refuses the configuration.
    pub async fn start(config: &Path) -> Result<Self> {
        // It would look for others on the network.
        let alone = ["--cluster.listen-address="];
        Ok(Self(start("prometheus-alertmanager", config, "--storage.path", &alone).await?))
    }

    /// `host:port`, for Prometheus's configuration.
    #[must_use]
    pub fn target(&self) -> String {
        self.0.address().to_string()
    }

    /// The alerts that it has.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        let alerts = get(Url::parse(&format!("http://{}/api/v2/alerts", self.0.address()))?).await?;
        alerts.as_array().cloned().with_context(|| format!("no list: {alerts}"))
    }
}

/// Both take the same, but for what they call where they keep their data.
async fn start(name: &str, config: &Path, storage: &str, more: &[&str]) -> Result<Daemon> {
    let (port, directory) = Daemon::place()?;
    let common = [
        format!("--config.file={}", config.display()),
        format!("{storage}={}", directory.path().join("data").display()),
        format!("--web.listen-address={}", port.address()),
    ];
    let arguments = common.into_iter().chain(more.iter().map(|&argument| argument.to_owned()));
    Daemon::start((port, directory), name, arguments).await
}

async fn get(url: Url) -> Result<Value> {
    let client = Client::builder().tls_backend_preconfigured(no_tls()?).no_proxy().timeout(DEADLINE).build()?;
    Ok(client.get(url).send().await?.error_for_status()?.json().await?)
}

/// `promtool` with these arguments, in that directory: what it said, if it is content.
///
/// # Errors
/// It is missing, or complains; the error holds what it said.
pub async fn promtool(directory: &Path, arguments: &[&str]) -> Result<String> {
    let output = Invocation::new(&program("promtool")?).args(arguments).directory(directory).output().await?;
    Ok(output.success()?.stdout)
}
