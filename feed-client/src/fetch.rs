//! HTTP to the server: bounded in bytes and in time, and every failure with its reason.

mod error;

use std::io;
use std::time::Duration;

use certs::TlsFailure;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use url::Url;

use crate::proxy::Proxy;
use crate::refusals::Refusals;

pub use error::FetchError;
use error::boxed;

/// Beyond this a TCP connection or a TLS handshake is not slow but dead.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

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
    proxy: Option<Proxy>,
    /// What the proxy refused; absent for whoever makes one attempt and keeps nothing.
    refusals: Option<Refusals>,
    /// What to do where the server is not trusted, as the end of a sentence.
    advice: Box<str>,
}

impl Http {
    /// `tls` says whom to trust, and `advice` what to do about it where the server is not, as the end of a sentence.
    ///
    /// # Errors
    /// [`FetchError::Setup`].
    pub fn new(
        tls: rustls::ClientConfig,
        proxy: Option<Proxy>,
        refusals: Option<Refusals>,
        advice: &str,
    ) -> Result<Self, FetchError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            // A feed-server never redirects; whoever does wants the client elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Resolver)
            .tcp_nodelay(true)
            // reqwest would look at more of the environment than we say we do.
            .no_proxy();
        let client = match &proxy {
            Some(proxy) => client.proxy(proxy.to_reqwest().map_err(FetchError::Setup)?),
            None => client,
        };
        Ok(Self { client: client.build().map_err(FetchError::Setup)?, proxy, refusals, advice: advice.into() })
    }

    /// Every request goes this way: none to a proxy that refused what it would be sent, and each refusal is remembered
    /// before anything else happens.
    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Response, FetchError> {
        let guarded = self.proxy.as_ref().zip(self.refusals.as_ref());
        if let Some((proxy, refusals)) = guarded
            && let Some(refusal) = refusals.refusal(proxy)?
        {
            return Err(FetchError::proxy_held(refusal));
        }
        let answered = match request.send().await {
            Ok(response) => self.check_proxy(response),
            Err(error) => Err(self.classify(url, error)),
        };
        if let Some((proxy, refusals)) = guarded {
            match &answered {
                Err(FetchError::ProxyAuth { .. }) => refusals.refused(proxy),
                // Whoever sees the server's certificates has come through.
                Ok(_) | Err(FetchError::Tls { .. } | FetchError::Intercepted { .. }) => refusals.accepted(proxy),
                Err(_) => {}
            }
        }
        answered
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
            let mut response = self.send(url, request).await?;
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

    /// The head of an answer, whose body nobody waits for.
    ///
    /// # Errors
    /// Everything but an answer of status 200.
    pub async fn look(&self, url: &Url) -> Result<Head, FetchError> {
        let response = self.send(url, self.client.get(url.clone()).timeout(REQUEST_TIMEOUT)).await?;
        check_status(url, &response)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let date = header(reqwest::header::DATE).and_then(|date| jiff::fmt::rfc2822::parse(&date).ok());
        Ok(Head {
            status: response.status(),
            version: format!("{:?}", response.version()),
            server: header(reqwest::header::SERVER),
            date: date.map(|date| date.timestamp()),
        })
    }

    /// Whether the token is taken at the report's URL. What is sent is empty: no server can keep that as a report.
    ///
    /// # Errors
    /// It is not, or the server cannot be asked.
    pub async fn try_token(&self, url: &Url, token: &str) -> Result<(), FetchError> {
        let request = self.client.put(url.clone()).bearer_auth(token).timeout(REQUEST_TIMEOUT);
        let response = self.send(url, request).await?;
        // It is refused for what it is, after the token was looked at.
        if response.status() == StatusCode::BAD_REQUEST { Ok(()) } else { check_status(url, &response) }
    }

    /// Sends JSON with a bearer token.
    ///
    /// # Errors
    /// Everything but a 2xx.
    pub async fn put_json(&self, url: &Url, token: &str, body: &impl serde::Serialize) -> Result<(), FetchError> {
        let request = self.client.put(url.clone()).bearer_auth(token).json(body).timeout(REQUEST_TIMEOUT);
        check_status(url, &self.send(url, request).await?)
    }

    fn check_proxy(&self, response: Response) -> Result<Response, FetchError> {
        match &self.proxy {
            // Plain HTTP goes through a proxy as it is, and the proxy's own answer looks like the server's.
            Some(proxy) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(FetchError::ProxyAuth { proxy: proxy.to_string().into() })
            }
            Some(_) | None => Ok(response),
        }
    }

    fn classify(&self, url: &Url, error: reqwest::Error) -> FetchError {
        match (certs::failure_in(&error), &self.proxy) {
            (Some(failure), _) => self.untrusted(url, failure),
            (None, Some(proxy)) => FetchError::classify_proxied(url, &proxy.to_string(), error),
            (None, None) => FetchError::classify(url, error),
        }
    }

    /// The error for a server that is not trusted.
    #[must_use]
    pub fn untrusted(&self, url: &Url, failure: TlsFailure) -> FetchError {
        let (url, clue) = (boxed(url), failure.how_to_trust());
        let advice = clue.map_or_else(|| self.advice.clone(), |clue| format!("{clue}; {}", self.advice).into());
        // Nobody forges with a public root; where one is seen, [server] trust_anchors leaves it out.
        let is_public = matches!(&failure, TlsFailure::UnknownIssuer { root: Some(root) } if root.is_public);
        match self.proxy.as_ref().filter(|_| failure.is_untrusted_issuer() && !is_public) {
            Some(proxy) => FetchError::Intercepted { failure, proxy: proxy.to_string().into(), url, advice },
            None => FetchError::Tls { failure, url, advice },
        }
    }
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    status: StatusCode,
    version: String,
    server: Option<String>,
    /// The server's clock, where it says.
    pub date: Option<jiff::Timestamp>,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.version, self.status)?;
        self.server.as_ref().map_or(Ok(()), |server| write!(f, ", by {server}"))
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

/// Host and port, the scheme's own port too.
#[must_use]
pub fn authority(url: &Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
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

impl NameError {
    /// `what` is the resolver's answer.
    pub(crate) fn new(name: &str, what: String) -> Self {
        Self { name: name.to_owned(), what }
    }
}
