//! HTTP to the server: bounded in bytes and in time, and every failure with its reason.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bundles::{Reason, Reasoned};
use certs::TlsFailure;
use indicatif::HumanBytes;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode};
use url::Url;

/// Beyond this a TCP connection or a TLS handshake is not slow but dead.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A server that sends nothing for this long will not send anything more.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that trickles bytes to keep a client busy (slow retrieval, in TUF's words) is cut off below this rate; it is
/// half of what a 64 kbit/s line carries.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 10;

/// What every request may take on top of its bytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How the client names itself to servers.
pub const USER_AGENT: &str = concat!("feed-client/", env!("CARGO_PKG_VERSION"));

/// A connection pool to one server.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    /// What to do where the server is not trusted, as the end of a sentence.
    advice: Box<str>,
}

impl Http {
    /// `tls` says whom to trust, and `advice` what to do about it where the server is not, as the end of a sentence. The environment's proxy variables are not looked at: what a service does must not hang
    /// on who started it.
    ///
    /// # Errors
    /// [`FetchError::Setup`].
    pub fn new(tls: rustls::ClientConfig, advice: &str) -> Result<Self, FetchError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            // A feed-server never redirects; whoever does wants the client elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Resolver)
            .tcp_nodelay(true)
            .no_proxy()
            .build();
        Ok(Self { client: client.map_err(FetchError::Setup)?, advice: advice.into() })
    }

    /// A whole small answer, at most `limit` bytes.
    ///
    /// # Errors
    /// Everything but a complete answer of status 200.
    pub async fn get_small(&self, url: &Url, limit: u64) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        self.get(url, limit, |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
        Ok(bytes)
    }

    /// Hands the answer to `take` chunk by chunk, never more than `limit` bytes in all.
    ///
    /// # Errors
    /// Everything but a complete answer of status 200, and what `take` answers with.
    pub async fn get(
        &self,
        url: &Url,
        limit: u64,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FetchError> {
        let patience = REQUEST_TIMEOUT + Duration::from_secs(limit / SLOWEST_BYTES_PER_SECOND);
        let transfer = async {
            let request = self.client.get(url.clone()).header(reqwest::header::ACCEPT_ENCODING, "identity");
            let mut response = request.send().await.map_err(|error| self.classify(url, error))?;
            check_status(url, &response)?;
            // What is announced need not be fetched to know that it is too much.
            if response.content_length().is_some_and(|length| length > limit) {
                return Err(FetchError::TooLarge { url: boxed(url), limit });
            }
            let mut left = limit;
            while let Some(chunk) = response.chunk().await.map_err(|error| FetchError::classify_body(url, error))? {
                let length = chunk.len() as u64;
                left = left.checked_sub(length).ok_or_else(|| FetchError::TooLarge { url: boxed(url), limit })?;
                take(&chunk).map_err(FetchError::Take)?;
            }
            Ok(())
        };
        tokio::time::timeout(patience, transfer).await.map_err(|_| FetchError::TooSlow { url: boxed(url) })?
    }

    /// Sends JSON with a bearer token.
    ///
    /// # Errors
    /// Everything but a 2xx.
    pub async fn put_json(&self, url: &Url, token: &str, body: &impl serde::Serialize) -> Result<(), FetchError> {
        let request = self.client.put(url.clone()).bearer_auth(token).json(body).timeout(REQUEST_TIMEOUT);
        let response = request.send().await.map_err(|error| self.classify(url, error))?;
        check_status(url, &response)
    }

    fn classify(&self, url: &Url, error: reqwest::Error) -> FetchError {
        match certs::failure_in(&error) {
            Some(source) => FetchError::Tls { source, url: boxed(url), advice: self.advice.clone() },
            None => FetchError::classify(url, error),
        }
    }
}

fn check_status(url: &Url, response: &Response) -> Result<(), FetchError> {
    let status = response.status();
    let url = || boxed(url);
    let wait = wait_asked_for(response);
    match status {
        StatusCode::NOT_FOUND => Err(FetchError::NotFound { url: url() }),
        StatusCode::UNAUTHORIZED => Err(FetchError::Unauthorized { url: url() }),
        StatusCode::TOO_MANY_REQUESTS => Err(FetchError::RateLimited { url: url(), wait }),
        StatusCode::FORBIDDEN if wait.is_some() => Err(FetchError::RateLimited { url: url(), wait }),
        StatusCode::PARTIAL_CONTENT => Err(FetchError::Status { url: url(), status, wait }),
        status if status.is_success() => Ok(()),
        status => Err(FetchError::Status { url: url(), status, wait }),
    }
}

/// `Retry-After` in seconds; its other form, a date, would need the server's clock to agree with this one.
fn wait_asked_for(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

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
        source: reqwest::Error,
    },
    /// No TLS.
    #[error("no TLS connection for {url}; {advice}")]
    Tls {
        /// The URL.
        url: Box<Url>,
        /// What to do.
        advice: Box<str>,
        /// Why not.
        #[source]
        source: TlsFailure,
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
        source: reqwest::Error,
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
        "the server wants another token for {url}; ask an administrator for one (`feed-server headend add`) and enroll \
         again with --token-file"
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
            | Self::NoHttp { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::TooSlow { .. }
            | Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::TooLarge { .. }
            | Self::Truncated { .. }
            | Self::Take(_) => None,
        }
    }

    fn classify(url: &Url, error: reqwest::Error) -> Self {
        let url = boxed(url);
        if let Some(failed) = find::<NameError>(&error) {
            return Self::Dns { source: failed.clone(), url };
        }
        let timed_out = error.is_timeout()
            || find::<io::Error>(&error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if timed_out {
            Self::Timeout { url, source: error }
        } else if url.scheme() == "http" && !error.is_connect() {
            Self::NoHttp { url, source: error }
        } else {
            Self::Connect { url, source: error }
        }
    }

    /// After the answer began, an error means that it does not come to its end.
    fn classify_body(url: &Url, error: reqwest::Error) -> Self {
        let url = boxed(url);
        if error.is_timeout() { Self::Timeout { url, source: error } } else { Self::Truncated { url, source: error } }
    }
}

impl Reasoned for FetchError {
    fn reason(&self) -> Reason {
        match self {
            Self::Setup(_) => Reason::BadRequest,
            Self::Dns { .. } => Reason::Dns,
            Self::Connect { .. } | Self::NoHttp { .. } => Reason::Connect,
            Self::Tls { source, .. } => tls_reason(source),
            Self::Timeout { .. } | Self::TooSlow { .. } => Reason::Timeout,
            Self::NotFound { .. } => Reason::NotFound,
            Self::Unauthorized { .. } => Reason::Unauthorized,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::Status { .. } => Reason::HttpStatus,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Truncated { .. } => Reason::Truncated,
            Self::Take(_) => Reason::Storage,
        }
    }
}

/// Errors travel through many a `Result`; a URL in them would make all of those large.
fn boxed(url: &Url) -> Box<Url> {
    Box::new(url.clone())
}

fn tls_reason(failure: &TlsFailure) -> Reason {
    match failure {
        TlsFailure::UnknownIssuer | TlsFailure::Other { .. } => Reason::TlsUntrusted,
        TlsFailure::Expired { .. } | TlsFailure::NotYetValid { .. } => Reason::TlsExpired,
        TlsFailure::Name { .. } => Reason::TlsName,
    }
}

/// The first error of this type among an error and its sources. `io::Error` hides what it wraps from
/// [`StdError::source`], so its inside is looked at too.
fn find<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// The system's resolver, with an error of a type that can be told from others.
#[derive(Debug)]
struct Resolver;

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let failed = |what: String| NameError { name: name.as_str().to_owned(), what };
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| failed(error.to_string()))?;
            let addresses: Vec<_> = found.collect();
            if addresses.is_empty() {
                return Err(failed("it has no addresses".to_owned()).into());
            }
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// A name that does not resolve.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no address for {name}: {what}")]
pub struct NameError {
    name: String,
    what: String,
}
