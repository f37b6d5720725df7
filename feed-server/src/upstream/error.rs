//! Why upstream could not be asked, or how it answered.

use std::error::Error as StdError;
use std::sync::Mutex;
use std::time::Duration;

use bundles::index::PatternError;
use bundles::{Reason, Reasoned};
use certs::TlsFailure;
use reqwest::StatusCode;
use rustls_pki_types::InvalidDnsNameError;
use url::Url;

use super::hosts::shown;

/// Why there is no answer from upstream that can be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// `trust_anchors` cannot be used.
    #[error("[upstream] trust_anchors cannot be used")]
    Anchors(#[source] certs::AnchorError),
    /// The verifier cannot be made of them.
    #[error("[upstream] trust_anchors cannot be used")]
    Verifier(#[source] certs::VerifierError),
    /// `[upstream.components]` cannot be used.
    #[error("[upstream.components] cannot be used")]
    Patterns(#[source] PatternError),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
    /// The name does not resolve.
    #[error("the host name {host} could not be resolved; check [upstream] url and this machine's DNS servers (UDP 53)")]
    Dns {
        /// Which host.
        host: String,
        /// What the resolver says.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No TCP connection.
    #[error(
        "no connection to {host} could be made; check routing and firewall for its TCP port, 443 by \
         default, or whether a proxy is needed"
    )]
    Connect {
        /// Host and port.
        host: String,
        /// What the system says.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A step took too long.
    #[error(
        "{host} did not {act} within {} s; check the path to it, and firewalls that drop silently",
        .limit.as_secs_f64()
    )]
    Timeout {
        /// Which host.
        host: String,
        /// What it did not do.
        act: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The body came so slowly that it would never end.
    #[error("{url} comes at less than {rate} bytes per second; check the path to its host, and try again later")]
    Slow {
        /// What was asked for.
        url: String,
        /// The rate that was not reached.
        rate: u64,
    },
    /// TLS did not come about.
    #[error("{host} is not trusted: {failure}{}", advice(.failure))]
    Tls {
        /// Which host.
        host: String,
        /// In what way.
        failure: TlsFailure,
    },
    /// The connection ended, or what came was not HTTP.
    #[error("{host} did not answer in HTTP; check whether [upstream] url names the right host and port")]
    NoAnswer {
        /// Host and port.
        host: String,
        /// What the HTTP library says.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Another status than asked for.
    #[error("{url} was answered with status {status}; open it from this machine, and try again later")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// 429, or a refusal that says when to come back.
    #[error("{url} was answered with status {status}: upstream asks for fewer requests{}", wait(.retry_after.as_ref()))]
    RateLimited {
        /// What was asked for.
        url: String,
        /// The status.
        status: StatusCode,
        /// How long it asks to wait, where it says so in seconds.
        retry_after: Option<Duration>,
    },
    /// More redirects than any sensible server needs.
    #[error("{url} was redirected too often; open it from this machine")]
    Redirects {
        /// Where the last one pointed.
        url: String,
    },
    /// A locator or redirect to a host that is not allowed.
    #[error(
        "{url} is on the host {host}, which is not allowed; if it is right, add \"{host}\" to [upstream] allowed_hosts"
    )]
    HostNotAllowed {
        /// The host.
        host: String,
        /// The URL.
        url: String,
    },
    /// A locator or redirect that is not https.
    #[error("{url} is not https, and nothing else is fetched; ask whoever runs upstream, or check [upstream] url")]
    Insecure {
        /// The URL.
        url: String,
    },
    /// More bytes than the limit: announced, or come.
    #[error(
        "{url} has {} bytes, and the limit is {limit}; if it is genuine, raise {setting} in [limits]",
        bytes(.announced.as_ref())
    )]
    TooLarge {
        /// What was asked for.
        url: String,
        /// `Content-Length`, where that showed it.
        announced: Option<u64>,
        /// The limit.
        limit: u64,
        /// The field of [`bundles::Limits`].
        setting: &'static str,
    },
    /// Fewer bytes than announced.
    #[error("{url} was cut off after {received} bytes{}; try again", of(.announced.as_ref()))]
    Truncated {
        /// What was asked for.
        url: String,
        /// Bytes that came.
        received: u64,
        /// `Content-Length`, where there was one.
        announced: Option<u64>,
        /// What the HTTP library says.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

fn advice(failure: &TlsFailure) -> &'static str {
    match failure {
        TlsFailure::UnknownIssuer => "; check [upstream] trust_anchors, and who sits between here and upstream",
        TlsFailure::Expired { .. } | TlsFailure::NotYetValid { .. } => {
            "; check this machine's clock first (NTP, UDP 123), then tell upstream"
        }
        TlsFailure::Name { .. } => "; check [upstream] url, and whether something answers in its place",
        TlsFailure::Other { .. } => "; check whether the port speaks TLS 1.2 or later, and who sits in between",
    }
}

fn wait(after: Option<&Duration>) -> String {
    after.map_or_else(String::new, |after| format!(" and to wait {} s", after.as_secs()))
}

fn bytes(announced: Option<&u64>) -> String {
    announced.map_or_else(|| "more".to_owned(), u64::to_string)
}

fn of(announced: Option<&u64>) -> String {
    announced.map_or_else(String::new, |announced| format!(" of {announced}"))
}

/// What a redirect was refused for, on its way through reqwest.
#[derive(Debug, thiserror::Error)]
#[error("the redirect was refused")]
pub(super) struct RefusedRedirect(pub(super) Mutex<Option<UpstreamError>>);

impl UpstreamError {
    /// What a failed request stands for. `connect` is how long connecting was allowed to take.
    pub(super) fn of_request(error: &reqwest::Error, asked: &Url, connect: Duration) -> Self {
        // After redirects, it is the last URL that failed.
        let url = error.url().unwrap_or(asked).clone();
        let name = url.host_str().unwrap_or_default().to_owned();
        let host = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name,
        };
        if let Some(failure) = certs::failure_in(error) {
            return Self::Tls { host, failure };
        }
        if let Some(refused) = causes(error).find_map(|cause| cause.downcast_ref::<RefusedRedirect>()) {
            let taken = refused.0.lock().ok().and_then(|mut error| error.take());
            return taken.unwrap_or_else(|| Self::Redirects { url: shown(&url) });
        }
        let is_dns = error.is_dns()
            || causes(error).any(|cause| cause.is::<InvalidDnsNameError>() || cause.to_string() == "dns error");
        let source: Box<dyn StdError + Send + Sync> = innermost(error).into();
        if is_dns {
            Self::Dns { host, source }
        } else if error.is_timeout() {
            Self::Timeout { host, act: "complete a connection", limit: connect }
        } else if error.is_connect() {
            Self::Connect { host, source }
        } else {
            Self::NoAnswer { host, source }
        }
    }
}

fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// reqwest's own words repeat the URL with its query; what matters is at the bottom.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

impl Reasoned for UpstreamError {
    fn reason(&self) -> Reason {
        match self {
            Self::Anchors(_) | Self::Verifier(_) | Self::Patterns(_) => Reason::BadRequest,
            Self::Client(_) => Reason::Internal,
            Self::Dns { .. } => Reason::Dns,
            Self::Connect { .. } => Reason::Connect,
            Self::Timeout { .. } | Self::Slow { .. } => Reason::Timeout,
            Self::Tls { failure, .. } => match failure {
                TlsFailure::UnknownIssuer | TlsFailure::Other { .. } => Reason::TlsUntrusted,
                TlsFailure::Expired { .. } | TlsFailure::NotYetValid { .. } => Reason::TlsExpired,
                TlsFailure::Name { .. } => Reason::TlsName,
            },
            Self::NoAnswer { .. } | Self::Status { .. } | Self::Redirects { .. } => Reason::HttpStatus,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::HostNotAllowed { .. } | Self::Insecure { .. } => Reason::HostNotAllowed,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Truncated { .. } => Reason::Truncated,
        }
    }
}
