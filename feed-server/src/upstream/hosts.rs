//! Which hosts may be asked.

use std::collections::BTreeSet;

use url::Url;

use super::UpstreamError;

/// The hosts of the index and of the vendor's zip, and those of `[upstream] allowed_hosts`, by https alone. Ports are not told apart: whoever
/// controls a host's TLS key controls its ports.
#[derive(Debug, Clone)]
pub struct Hosts(BTreeSet<String>);

impl Hosts {
    /// The hosts of what is configured by its URL, and others as URLs write them.
    pub fn new<'u>(configured: impl IntoIterator<Item = &'u Url>, others: impl IntoIterator<Item = String>) -> Self {
        let own = configured.into_iter().filter_map(Url::host_str).map(str::to_owned);
        Self(own.chain(others).collect())
    }

    /// Whether a URL may be asked for.
    ///
    /// # Errors
    /// The error that names the host and the setting, or the missing https.
    pub fn allow(&self, url: &Url) -> Result<(), UpstreamError> {
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" {
            return Err(UpstreamError::Insecure { url: shown(url) });
        }
        if !self.0.contains(host) {
            return Err(UpstreamError::HostNotAllowed { host: host.to_owned(), url: shown(url) });
        }
        Ok(())
    }
}

/// A URL as it may stand in messages and logs: without credentials and query, either of which may be secret, and short.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let whole = format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
    whole.chars().take(300).collect()
}
