//! Why upstream could not be asked, or how it answered.

mod words;

use std::error::Error as StdError;
use std::time::Duration;

use bundles::index::PatternError;
use bundles::{Reason, Reasoned};
use certs::TlsFailure;
use hyper::StatusCode;
use hyper::header::InvalidHeaderValue;

use self::words::{advice, before, bytes, forged_under, of, refused, unauthenticated, unusable, wait};
use super::proxy::{Origin, ProxyError};
use super::watch::Step;

/// Why there is no answer from upstream that can be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// `trust_anchors` cannot be used.
    #[error("[upstream] trust_anchors cannot be used")]
    Anchors(#[source] certs::AnchorError),
    /// The verifier cannot be made of them.
    #[error("[upstream] trust_anchors cannot be used")]
    Verifier(#[source] certs::VerifierError),
    /// `trust_anchors` of one of `allowed_hosts` cannot be used.
    #[error("the trust_anchors of {host} in [upstream] allowed_hosts cannot be used")]
    HostAnchors {
        /// Which host.
        host: String,
        /// Why.
        #[source]
        source: certs::AnchorError,
    },
    /// It cannot be said which proxy is to be used, and how.
    #[error(transparent)]
    Proxy(ProxyError),
    /// `[upstream.components]` cannot be used.
    #[error("[upstream.components] cannot be used")]
    Patterns(#[source] PatternError),
    /// The program's own name cannot be sent.
    #[error("the User-Agent cannot be sent as a header; report it as a defect")]
    UserAgent(#[source] InvalidHeaderValue),
    /// A URL that no request can be made for.
    #[error("{url} cannot be asked for; check [upstream] url")]
    Unsendable {
        /// The URL.
        url: String,
        /// What the HTTP library says.
        #[source]
        source: hyper::http::Error,
    },
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
        "no connection to {host} could be made; check routing and firewall for that TCP port, or whether a proxy is \
         needed"
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
        /// In which step.
        step: Step,
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
    /// The connection ended before there was an answer.
    #[error(
        "{host} broke the connection off {}; check for firewalls in between that reset connections, and try again \
         later",
        before(*.step)
    )]
    Broken {
        /// Host and port.
        host: String,
        /// In which step.
        step: Step,
        /// What the system or the HTTP library says.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No connection to the proxy, or nothing on it that a proxy would say.
    #[error("the proxy {proxy} {}", unusable(*.step, *.origin))]
    ProxyConnect {
        /// Its host and port.
        proxy: String,
        /// Who says that it is the proxy.
        origin: Origin,
        /// In which step: DNS, TCP, TLS to the proxy, or CONNECT.
        step: Step,
        /// What the system or the TLS or HTTP library says.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// 407, or 401 in answer to CONNECT.
    #[error("the proxy {proxy} {}", unauthenticated(*.status, .offered, *.had_credentials, *.origin))]
    ProxyAuth {
        /// Its host and port.
        proxy: String,
        /// Who says that it is the proxy.
        origin: Origin,
        /// The status.
        status: StatusCode,
        /// What it would authenticate with, by name: `Basic`, `Negotiate`, `NTLM`, …
        offered: Vec<String>,
        /// Whether it was given a user name and password.
        had_credentials: bool,
    },
    /// Another answer to CONNECT than a tunnel.
    #[error("the proxy {proxy} answered with status {status}: {}", refused(*.status, .target, *.origin))]
    ProxyRefused {
        /// Its host and port.
        proxy: String,
        /// Who says that it is the proxy.
        origin: Origin,
        /// The status.
        status: StatusCode,
        /// Host and port of the tunnel that was asked for.
        target: String,
    },
    /// The proxy answers in the host's place.
    #[error(
        "the proxy {proxy} opens the TLS connection to {host}: the certificate was issued by {issuer}{}, and leads to no \
         public certificate authority; ask the proxy's owners to exempt {host} from inspection (or, if {host} is a \
         mirror of your own under that authority, name its root's PEM file in [upstream] trust_anchors)",
        forged_under(.root.as_ref(), .sha256.as_ref())
    )]
    Intercepted {
        /// Whom the certificate pretends to be.
        host: String,
        /// The proxy's host and port.
        proxy: String,
        /// Who issued it.
        issuer: String,
        /// The name of the root that it leads to, where that was presented.
        root: Option<String>,
        /// SHA-256 of the root's certificate, or else of the last one presented, where that is not the host's own.
        sha256: Option<String>,
    },
    /// What came was not HTTP.
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
        /// How long it asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// 429, or a refusal that says when to come back.
    #[error("{url} was answered with status {status}: upstream asks for fewer requests{}", wait(.retry_after.as_ref()))]
    RateLimited {
        /// What was asked for.
        url: String,
        /// The status.
        status: StatusCode,
        /// How long it asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// More redirects than any sensible server needs.
    #[error("{url} was redirected too often; open it from this machine")]
    Redirects {
        /// Where the last one pointed.
        url: String,
    },
    /// A redirect to nowhere.
    #[error("{url} was answered with status {status}, and its Location is no URL; open it from this machine")]
    Location {
        /// What was asked for.
        url: String,
        /// The status.
        status: StatusCode,
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
    /// It broke off, and the rest does not fit what is there already.
    #[error("{url} was cut off after {received} bytes, and the rest cannot be had: {problem}; try again")]
    NotResumed {
        /// What was asked for.
        url: String,
        /// Bytes that came.
        received: u64,
        /// What is wrong with the answer.
        problem: &'static str,
    },
    /// Encoded, though nobody asked for it.
    #[error(
        "{url} came with Content-Encoding: {encoding}, and what it would be without that is not for us to say; ask \
         whoever runs upstream, or whatever sits in between, to leave it as it is"
    )]
    Encoded {
        /// What was asked for.
        url: String,
        /// How.
        encoding: String,
        /// What the decompressor says, where it was tried.
        #[source]
        source: Option<std::io::Error>,
    },
}

/// What upstream asks of whoever comes too often, or is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// 403, 429, or whatever came with `Retry-After`.
    pub status: u16,
    /// For how long, where it says so.
    pub retry_after: Option<Duration>,
}

impl UpstreamError {
    /// The step that failed; `None` where none was taken.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        match self {
            Self::Anchors(_)
            | Self::HostAnchors { .. }
            | Self::Proxy(_)
            | Self::Verifier(_)
            | Self::Patterns(_)
            | Self::UserAgent(_) => None,
            Self::Dns { .. } => Some(Step::Dns),
            Self::Connect { .. } => Some(Step::Tcp),
            Self::Timeout { step, .. } | Self::Broken { step, .. } | Self::ProxyConnect { step, .. } => Some(*step),
            Self::ProxyAuth { .. } | Self::ProxyRefused { .. } => Some(Step::Connect),
            Self::Tls { .. } | Self::Intercepted { .. } => Some(Step::Tls),
            Self::Unsendable { .. }
            | Self::Slow { .. }
            | Self::NoAnswer { .. }
            | Self::Status { .. }
            | Self::RateLimited { .. }
            | Self::Redirects { .. }
            | Self::Location { .. }
            | Self::HostNotAllowed { .. }
            | Self::Insecure { .. }
            | Self::TooLarge { .. }
            | Self::Truncated { .. }
            | Self::NotResumed { .. }
            | Self::Encoded { .. } => Some(Step::Http),
        }
    }

    /// Whether upstream asks to be left alone for a while: 403, 429, and whatever says `Retry-After`.
    #[must_use]
    pub fn asks_for_pause(&self) -> Option<Pause> {
        let (Self::Status { status, retry_after, .. } | Self::RateLimited { status, retry_after, .. }) = self else {
            return None;
        };
        let asks = retry_after.is_some() || [StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(status);
        asks.then(|| Pause { status: status.as_u16(), retry_after: *retry_after })
    }
}

fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// HTTP libraries wrap what happened several times; what matters is at the bottom.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

impl Reasoned for UpstreamError {
    fn reason(&self) -> Reason {
        match self {
            Self::Anchors(_) | Self::HostAnchors { .. } | Self::Verifier(_) | Self::Patterns(_) => Reason::BadRequest,
            Self::Proxy(error) => error.reason(),
            Self::UserAgent(_) => Reason::Internal,
            Self::Unsendable { .. } => Reason::HttpStatus,
            Self::Dns { .. } => Reason::Dns,
            Self::Connect { .. } | Self::Broken { .. } => Reason::Connect,
            Self::ProxyConnect { .. } => Reason::ProxyConnect,
            Self::ProxyAuth { .. } => Reason::ProxyAuth,
            Self::ProxyRefused { .. } => Reason::ProxyRefused,
            Self::Intercepted { .. } => Reason::TlsIntercepted,
            Self::Timeout { .. } | Self::Slow { .. } => Reason::Timeout,
            Self::Tls { failure, .. } => match failure {
                TlsFailure::UnknownIssuer { .. }
                | TlsFailure::Namesake { .. }
                | TlsFailure::MissingIntermediate { .. }
                | TlsFailure::WrongUse { .. }
                | TlsFailure::Other { .. } => Reason::TlsUntrusted,
                TlsFailure::Expired { .. } | TlsFailure::NotYetValid { .. } => Reason::TlsExpired,
                TlsFailure::Name { .. } => Reason::TlsName,
            },
            Self::NoAnswer { .. }
            | Self::Status { .. }
            | Self::Redirects { .. }
            | Self::Location { .. }
            | Self::Encoded { .. } => Reason::HttpStatus,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::HostNotAllowed { .. } | Self::Insecure { .. } => Reason::HostNotAllowed,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Truncated { .. } | Self::NotResumed { .. } => Reason::Truncated,
        }
    }
}
