//! Why something did not arrive.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bundles::increment::IncrementError;
use bundles::{Reason, Reasoned};
use certs::TlsFailure;
use indicatif::HumanBytes;
use jiff::Timestamp;
use reqwest::StatusCode;
use url::Url;

use super::{NameError, SLOWEST_BYTES_PER_SECOND, authority};
use crate::refusals::{Refusal, RefusalsError};

/// Why something did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No client can be made of this configuration.
    #[error("the HTTP client cannot be set up; check [server] in the configuration")]
    Setup(#[source] reqwest::Error),
    /// The name does not resolve.
    #[error("the host name of {url} cannot be resolved; check [server] url, and the DNS servers of this machine")]
    Dns {
        /// The URL.
        url: Box<Url>,
        /// The resolver's answer.
        #[source]
        source: NameError,
    },
    /// No connection.
    #[error("cannot connect to the server for {url}; check that it runs, and routing and firewalls on the way")]
    Connect {
        /// The URL.
        url: Box<Url>,
        /// The network's answer.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No proxy.
    #[error(
        "the proxy {proxy} cannot be reached; check [server] proxy or HTTPS_PROXY, and routing and firewalls on the way"
    )]
    ProxyConnect {
        /// Host and port.
        proxy: Box<str>,
        /// The network's answer.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// 407.
    #[error(
        "the proxy {proxy} wants a user name and password, or others than it was given; put them into HTTPS_PROXY of the \
         service's environment, or have the proxy let this machine through by its address; `feed-client run` does not try \
         the same ones again, since accounts get locked, and `feed-client update` tries them once"
    )]
    ProxyAuth {
        /// Host and port.
        proxy: Box<str>,
    },
    /// 407 before, and nothing has changed since.
    #[error(
        "the proxy {proxy} {} at {since}, and is not asked again, since accounts get locked; put {} into HTTPS_PROXY of the \
         service's environment and restart it, or run `feed-client update` with the same HTTPS_PROXY, which tries once",
        if *.had_credentials { "refused its user name and password" } else { "wanted a user name and password" },
        if *.had_credentials { "the right ones" } else { "them" }
    )]
    ProxyHeld {
        /// Host and port.
        proxy: Box<str>,
        /// When it refused.
        since: Timestamp,
        /// Whether it was given any.
        had_credentials: bool,
    },
    /// Nobody knows whether the proxy may be asked.
    #[error(transparent)]
    Refusals(#[from] RefusalsError),
    /// Another refusal of `CONNECT`.
    #[error(
        "the proxy {proxy} refused a tunnel to {host}{}; ask its owners to allow CONNECT to that host and port, or set \
         [server] proxy = \"none\" if the server can be reached directly",
        .status.map(|status| format!(" with status {status}")).unwrap_or_default()
    )]
    ProxyRefused {
        /// Host and port.
        proxy: Box<str>,
        /// Host and port that were asked for.
        host: Box<str>,
        /// Its status, where it can be known: HTTP libraries keep it to themselves.
        status: Option<u16>,
    },
    /// TLS through a proxy, with a root that is not trusted.
    #[error(
        "no TLS connection for {url} through the proxy {proxy}: {failure}; either the proxy inspects TLS, then ask its \
         owners to exempt the server, or the server's root is missing here: {advice}"
    )]
    Intercepted {
        /// The URL.
        url: Box<Url>,
        /// Host and port.
        proxy: Box<str>,
        /// What to do.
        advice: Box<str>,
        /// Why not.
        failure: TlsFailure,
    },
    /// No TLS.
    #[error("no TLS connection for {url}: {failure}; {advice}")]
    Tls {
        /// The URL.
        url: Box<Url>,
        /// What to do.
        advice: Box<str>,
        /// Why not.
        failure: TlsFailure,
    },
    /// A connection, and not HTTP on it: what a port that speaks TLS does to plain HTTP.
    #[error("the server took the connection for {url} and gave no HTTP answer; does the port speak TLS? try https://")]
    NoHttp {
        /// The URL.
        url: Box<Url>,
        /// What came instead.
        #[source]
        source: reqwest::Error,
    },
    /// Silence.
    #[error("the server did not answer in time for {url}; check the path to it, and firewalls that drop silently")]
    Timeout {
        /// The URL.
        url: Box<Url>,
        /// Which limit.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Trickling.
    #[error(
        "the answer for {url} came slower than {} a second and was given up; try again, or check the line",
        HumanBytes(SLOWEST_BYTES_PER_SECOND)
    )]
    TooSlow {
        /// The URL.
        url: Box<Url>,
    },
    /// 404.
    #[error("the server has no {url}; check [server] url, and whether the server has a release yet")]
    NotFound {
        /// The URL.
        url: Box<Url>,
    },
    /// 401.
    #[error(
        "the server wants another token for {url}, or another certificate; ask an administrator for a token (`feed-server headend \
         add`, or `feed-server headend token` where it was added before) and enroll again with --token-file, or look at the \
         end and the names of [headend] certificate"
    )]
    Unauthorized {
        /// The URL.
        url: Box<Url>,
    },
    /// 429, or 403 with a wait.
    #[error("the server asks for fewer requests at {url}; the next attempt waits")]
    RateLimited {
        /// The URL.
        url: Box<Url>,
        /// How long, where it says.
        wait: Option<Duration>,
    },
    /// Any other status.
    #[error("the server answered {status} for {url}; see the server's log")]
    Status {
        /// The URL.
        url: Box<Url>,
        /// What it answered.
        status: StatusCode,
        /// How long it asked to wait, if it did (503 while there is no release).
        wait: Option<Duration>,
    },
    /// More than there should be.
    #[error(
        "the answer for {url} exceeds {}, the most there should be; the server or something before it is wrong",
        HumanBytes(*limit)
    )]
    TooLarge {
        /// The URL.
        url: Box<Url>,
        /// The bound.
        limit: u64,
    },
    /// Cut on the way.
    #[error("the answer for {url} was cut before its end; try again")]
    Truncated {
        /// The URL.
        url: Box<Url>,
        /// The network's answer.
        #[source]
        source: reqwest::Error,
    },
    /// A coding that was not asked for.
    #[error(
        "the answer for {url} is packed in a way that was not asked for ({found}); see what stands before the server"
    )]
    Coding {
        /// The URL.
        url: Box<Url>,
        /// `Content-Encoding`.
        found: Box<str>,
    },
    /// What came packed does not open.
    #[error("the packed answer for {url} is of no use; check the server's store, and what stands before the server")]
    Increment {
        /// The URL.
        url: Box<Url>,
        /// Why.
        #[source]
        source: IncrementError,
    },
    /// What arrived could not be put away.
    #[error("what arrived could not be written; check free space and permissions")]
    Take(#[source] io::Error),
}

impl FetchError {
    /// How long the server asked to be left alone.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } | Self::Status { wait, .. } => *wait,
            Self::Setup(_)
            | Self::Dns { .. }
            | Self::Connect { .. }
            | Self::ProxyConnect { .. }
            | Self::ProxyAuth { .. }
            | Self::ProxyHeld { .. }
            | Self::Refusals(_)
            | Self::ProxyRefused { .. }
            | Self::Intercepted { .. }
            | Self::NoHttp { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::TooSlow { .. }
            | Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::TooLarge { .. }
            | Self::Truncated { .. }
            | Self::Coding { .. }
            | Self::Increment { .. }
            | Self::Take(_) => None,
        }
    }

    /// Whether it may be due to content coming packed, so that the same content asked for as it is may well come. An answer
    /// like 406 is what proxies have for headers that they do not know.
    #[must_use]
    pub fn blames_packing(&self) -> bool {
        match self {
            Self::Coding { .. } | Self::Increment { .. } | Self::TooLarge { .. } => true,
            Self::Status { status, wait: None, .. } => status.is_client_error() && *status != StatusCode::FORBIDDEN,
            _ => false,
        }
    }

    /// Whether an answer that had begun, or was about to, came to no end: the line's fault, as a rule.
    #[must_use]
    pub fn broke_off(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::NoHttp { .. } | Self::Timeout { .. } | Self::TooSlow { .. })
    }

    pub(super) fn unasked_304(url: &Url) -> Self {
        Self::Status { url: boxed(url), status: StatusCode::NOT_MODIFIED, wait: None }
    }

    pub(crate) fn proxy_held(refusal: Refusal) -> Self {
        Self::ProxyHeld { proxy: refusal.proxy.into(), since: refusal.at, had_credentials: refusal.had_credentials }
    }

    pub(super) fn classify(url: &Url, error: reqwest::Error) -> Self {
        let url = boxed(url);
        if let Some(failed) = find::<NameError>(&error) {
            return Self::Dns { source: failed.clone(), url };
        }
        let timed_out = error.is_timeout()
            || find::<io::Error>(&error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if timed_out {
            Self::Timeout { url, source: Box::new(error) }
        } else if url.scheme() == "http" && !error.is_connect() {
            Self::NoHttp { url, source: error }
        } else {
            Self::Connect { url, source: Box::new(error) }
        }
    }

    /// Every name that is resolved and every connection that is made is the proxy's. hyper-util does not export its
    /// tunnel's error, so that its words are all there is.
    pub(super) fn classify_proxied(url: &Url, proxy: &str, error: reqwest::Error) -> Self {
        let proxy: Box<str> = proxy.into();
        let tunnel = causes(&error)
            .map(ToString::to_string)
            .find_map(|text| text.strip_prefix("tunnel error: ").map(ToOwned::to_owned));
        match tunnel.as_deref() {
            Some("proxy authorization required") => Self::ProxyAuth { proxy },
            Some("unsuccessful") => Self::ProxyRefused { proxy, host: authority(url).into(), status: None },
            Some(_) | None if error.is_timeout() => Self::Timeout { url: boxed(url), source: Box::new(error) },
            Some(_) => Self::ProxyConnect { proxy, source: Box::new(error) },
            None if url.scheme() == "http" && error.is_connect() => {
                Self::ProxyConnect { proxy, source: Box::new(error) }
            }
            None => Self::classify(url, error),
        }
    }

    /// After the answer began, an error means that it does not come to its end.
    pub(super) fn classify_body(url: &Url, error: reqwest::Error) -> Self {
        let url = boxed(url);
        if error.is_timeout() {
            Self::Timeout { url, source: Box::new(error) }
        } else {
            Self::Truncated { url, source: error }
        }
    }
}

impl Reasoned for FetchError {
    fn reason(&self) -> Reason {
        match self {
            Self::Setup(_) => Reason::BadRequest,
            Self::Dns { .. } => Reason::Dns,
            Self::Connect { .. } | Self::NoHttp { .. } => Reason::Connect,
            Self::ProxyConnect { .. } => Reason::ProxyConnect,
            Self::ProxyAuth { .. } | Self::ProxyHeld { .. } => Reason::ProxyAuth,
            Self::Refusals(error) => error.reason(),
            Self::ProxyRefused { .. } => Reason::ProxyRefused,
            Self::Intercepted { .. } => Reason::TlsIntercepted,
            Self::Tls { failure, .. } => tls_reason(failure),
            Self::Timeout { .. } | Self::TooSlow { .. } => Reason::Timeout,
            Self::NotFound { .. } => Reason::NotFound,
            Self::Unauthorized { .. } => Reason::Unauthorized,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::Status { .. } => Reason::HttpStatus,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Truncated { .. } => Reason::Truncated,
            Self::Coding { .. } => Reason::BadArchive,
            Self::Increment { source, .. } => source.reason(),
            Self::Take(_) => Reason::Storage,
        }
    }
}

/// Errors travel through many a `Result`; a URL in them would make all of those large.
pub(super) fn boxed(url: &Url) -> Box<Url> {
    Box::new(url.clone())
}

fn tls_reason(failure: &TlsFailure) -> Reason {
    match failure {
        TlsFailure::UnknownIssuer { .. }
        | TlsFailure::Namesake { .. }
        | TlsFailure::MissingIntermediate { .. }
        | TlsFailure::WrongUse { .. }
        | TlsFailure::Other { .. } => Reason::TlsUntrusted,
        TlsFailure::Expired { .. } | TlsFailure::NotYetValid { .. } => Reason::TlsExpired,
        TlsFailure::Name { .. } => Reason::TlsName,
    }
}

/// The first error of this type among an error and its sources. `io::Error` hides what it wraps from
/// [`StdError::source`], so its inside is looked at too.
fn find<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| {
        match (*error).downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inside) => Some(inside as &(dyn StdError + 'static)),
            None => (**error).source(),
        }
    })
}
