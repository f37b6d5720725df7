//! HTTP to the server: bounded in bytes and in time, and every failure with its reason.

mod ask;
mod error;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use certs::TlsFailure;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, DATE, IF_NONE_MATCH, RANGE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use url::Url;

use crate::proxy::Proxy;
use crate::refusals::Refusals;
use crate::settings::Token;

pub(crate) use ask::Watched;
pub use ask::{Ask, Coding, Codings, Dictionary, Incoming, Received, Small};
use ask::{Meter, content_range, drain};
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

/// How long a connection is kept when nothing is asked for: unpacking a large payload takes less, and the next poll is two hours
/// away. A server with ten thousand headends should not hold a connection for each until it loses patience.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How the client names itself to servers.
pub const USER_AGENT: &str = concat!("feed-client/", env!("CARGO_PKG_VERSION"));

fn with_token(request: RequestBuilder, token: Option<&Token>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token.secret()),
        None => request,
    }
}

/// A connection pool to one server.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    proxy: Option<Proxy>,
    /// What the proxy refused; absent for whoever makes one attempt and keeps nothing.
    refusals: Option<Refusals>,
    /// What to do where the server is not trusted, as the end of a sentence.
    advice: Box<str>,
    received: Arc<Meter>,
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
            .pool_idle_timeout(IDLE_TIMEOUT)
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
        Ok(Self {
            client: client.build().map_err(FetchError::Setup)?,
            proxy,
            refusals,
            advice: advice.into(),
            received: Arc::default(),
        })
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

    /// Asks for content. `None` where it is the tagged one.
    ///
    /// # Errors
    /// Everything but an answer with such content.
    pub async fn ask<'a>(&self, url: &Url, ask: &Ask<'a>) -> Result<Option<Incoming<'a>>, FetchError> {
        let mut from = ask.from;
        loop {
            let asked = self.send(url, self.request(url, ask, from));
            let response = tokio::time::timeout(CONNECT_TIMEOUT + REQUEST_TIMEOUT, asked).await;
            let response = response.map_err(|_| FetchError::TooSlow { url: boxed(url) })??;
            let status = response.status();
            if status == StatusCode::NOT_MODIFIED && ask.unless.is_some() {
                return Ok(None);
            }
            if from > 0 && status != StatusCode::OK {
                let range = response.headers().get(CONTENT_RANGE).and_then(|range| content_range(range.to_str().ok()?));
                let fits = range
                    .is_some_and(|(first, length)| first == from && length.is_none_or(|length| length == ask.limit));
                match status {
                    StatusCode::PARTIAL_CONTENT if fits => {}
                    // Another part, or none: then all of it.
                    StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                        drain(response).await;
                        from = 0;
                        continue;
                    }
                    _ => return Err(refused(url, response).await),
                }
            } else if status != StatusCode::OK {
                return Err(refused(url, response).await);
            } else {
                from = 0;
            }
            let (limit, codings) = (ask.limit, ask.codings);
            let coding = codings.of(url, &response)?;
            let (url, received) = (url.clone(), Arc::clone(&self.received));
            return Ok(Some(Incoming { response, url, limit, codings, received, coding, from }));
        }
    }

    fn request(&self, url: &Url, ask: &Ask<'_>, from: u64) -> RequestBuilder {
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, ask.codings.accept());
        if let Codings::Increment(dictionary) = ask.codings {
            let named = bundles::increment::available_dictionary(&dictionary.sha256());
            request = request.header("available-dictionary", named);
        }
        if let Some(tag) = ask.unless {
            request = request.header(IF_NONE_MATCH, tag);
        }
        if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request }
    }

    /// The same for whoever does not say what is here: there always is an answer.
    ///
    /// # Errors
    /// As [`Http::ask`].
    pub async fn open<'a>(&self, url: &Url, limit: u64, codings: Codings<'a>) -> Result<Incoming<'a>, FetchError> {
        let answered = self.ask(url, &Ask::packed(limit, codings)).await?;
        // One that nobody asked for was refused already.
        answered.ok_or_else(|| FetchError::unasked_304(url))
    }

    /// A whole small answer, at most `limit` bytes.
    ///
    /// # Errors
    /// Everything but a complete answer.
    pub async fn get_small(&self, url: &Url, limit: u64) -> Result<Vec<u8>, FetchError> {
        self.open(url, limit, Codings::Identity).await?.bytes().await
    }

    /// A whole small answer, however it comes. Where what came packed is of no use, it is asked for as it is. `None` where it is
    /// the tagged one.
    ///
    /// # Errors
    /// Everything but a complete answer.
    pub async fn get_packed(&self, url: &Url, ask: &Ask<'_>) -> Result<Option<Small>, FetchError> {
        let packed = async {
            let Some(incoming) = self.ask(url, ask).await? else { return Ok(Ok(None)) };
            let coding = incoming.coding;
            match incoming.small().await {
                Err(error) if coding != Coding::Identity && error.blames_packing() => Ok(Err(error)),
                small => Ok(Ok(Some(small?))),
            }
        };
        let error = match packed.await {
            Ok(Ok(answered)) => return Ok(answered),
            Ok(Err(error)) => error,
            Err(error @ (FetchError::Status { .. } | FetchError::Coding { .. }))
                if error.blames_packing() && !matches!(ask.codings, Codings::Identity) =>
            {
                error
            }
            Err(error) => return Err(error),
        };
        self.fall_back(url.path(), &error);
        self.open(url, ask.limit, Codings::Identity).await?.small().await.map(Some)
    }

    /// The same for whoever does not say what is here.
    ///
    /// # Errors
    /// Everything but a complete answer.
    pub async fn get_whole(&self, url: &Url, ask: &Ask<'_>) -> Result<Small, FetchError> {
        let answered = self.get_packed(url, &Ask { unless: None, ..*ask }).await?;
        answered.ok_or_else(|| FetchError::unasked_304(url))
    }

    /// Says and counts that something packed was of no use, so that it is asked for as it is.
    pub fn fall_back(&self, what: &str, why: &dyn bundles::Reasoned) {
        self.received.fallbacks.fetch_add(1, Ordering::Relaxed);
        let reason = why.reason().as_str();
        tracing::warn!(reason, "{what} came packed and was refused, so it is fetched whole: {}", why.whole_message());
    }

    /// What has come in so far.
    #[must_use]
    pub fn received(&self) -> Received {
        self.received.read()
    }

    /// What has come in since the last call.
    #[must_use]
    pub fn take_received(&self) -> Received {
        self.received.take()
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
    pub async fn try_report(&self, url: &Url, token: Option<&Token>) -> Result<(), FetchError> {
        let request = with_token(self.client.put(url.clone()), token).timeout(REQUEST_TIMEOUT);
        let response = self.send(url, request).await?;
        // It is refused for what it is, after the token was looked at.
        if response.status() == StatusCode::BAD_REQUEST { Ok(()) } else { check_status(url, &response) }
    }

    /// Sends JSON with a bearer token, where there is one; else the connection's certificate speaks for this headend.
    ///
    /// # Errors
    /// Everything but a 2xx.
    pub async fn put_json(
        &self,
        url: &Url,
        token: Option<&Token>,
        body: &impl serde::Serialize,
    ) -> Result<(), FetchError> {
        let request = with_token(self.client.put(url.clone()), token).json(body).timeout(REQUEST_TIMEOUT);
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

/// Why an answer is of no use; its connection is, after it was read.
async fn refused(url: &Url, response: Response) -> FetchError {
    let (status, wait) = (response.status(), wait_asked_for(&response));
    let why = check_status(url, &response);
    drain(response).await;
    // No error is a status that was not asked for, such as 204 or 206.
    why.err().unwrap_or_else(|| FetchError::Status { url: boxed(url), status, wait })
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

/// `Retry-After`: seconds, or a date, which is by the server's clock and so held against the server's own `Date`.
fn wait_asked_for(response: &Response) -> Option<Duration> {
    let header = |name| response.headers().get(name)?.to_str().ok().map(str::trim);
    let text = header(RETRY_AFTER)?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
    Duration::try_from(date(text)?.duration_since(date(header(DATE)?)?)).ok()
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
