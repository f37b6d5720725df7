//! The vendor's feed over HTTPS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bundles::index::Patterns;
use hyper::header::{HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use hyper::{Method, StatusCode};
use url::Url;

use super::body::{Body, Encoding, Pace};
use super::dial::Dialer;
use super::exchange::{Answered, Exchange};
use super::head::{Head, refusal};
use super::hosts::shown;
use super::proxy::{Environment, Proxies};
use super::watch::{NoWatch, Watch};
use super::{Content, Hosts, UpstreamError, anchors};
use crate::{clock, config};

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// DNS, and then TCP, to each address. Ten seconds is three lost SYNs.
    pub connect: Duration,
    /// A TLS handshake, with the proxy or the host.
    pub tls: Duration,
    /// From CONNECT to the proxy's answer: it resolves and connects meanwhile, with patience of its own.
    pub tunnel: Duration,
    /// From the request to the headers.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub stall: Duration,
    /// How long a body may be slow before its rate is looked at.
    pub grace: Duration,
    /// Before the rest of a body that broke off is asked for; twice as long each time. Of half a second it is 15 s in
    /// all: a server may restart meanwhile.
    pub resume: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: clock::patience(Duration::from_secs(10)),
            tls: clock::patience(Duration::from_secs(10)),
            tunnel: clock::patience(Duration::from_secs(30)),
            first_byte: clock::patience(Duration::from_secs(60)),
            stall: clock::patience(Duration::from_secs(30)),
            grace: clock::patience(Duration::from_mins(1)),
            resume: Duration::from_millis(500),
        }
    }
}

/// What is known of a URL's content.
#[derive(Debug, Clone, Copy)]
pub struct Condition<'a> {
    /// Its `ETag`.
    pub etag: Option<&'a str>,
    /// Its `Last-Modified`.
    pub last_modified: Option<&'a str>,
}

/// What upstream answered.
#[derive(Debug)]
pub enum Answer {
    /// 304: the content is what the condition stands for.
    NotModified {
        /// Upstream's `Date` less the local clock, seconds.
        clock_offset: Option<i64>,
    },
    /// 200.
    Content(Box<Content>),
}

/// How a [`Vendor`] goes about it.
#[derive(Clone)]
pub struct Setup {
    /// Its patience.
    pub timeouts: Timeouts,
    /// Where `HTTPS_PROXY`, `NO_PROXY` and `CREDENTIALS_DIRECTORY` are looked up.
    pub environment: Environment,
    /// Who is told of each step.
    pub watch: Arc<dyn Watch>,
}

impl Default for Setup {
    /// Everyday patience, the process's environment, and nobody watches.
    fn default() -> Self {
        Self { timeouts: Timeouts::default(), environment: Environment::of_process(), watch: Arc::new(NoWatch) }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

/// The vendor's hosts, and how they are trusted. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Vendor {
    pub(super) exchange: Arc<Exchange>,
    patterns: Arc<Patterns>,
    index: Url,
    sources: Arc<[Url]>,
    offline_zip: Option<Url>,
}

impl Vendor {
    /// Reads trust anchors and makes a client. `user_agent` is `posture-feed/<version>`.
    ///
    /// # Errors
    /// Anchors or patterns of the configuration cannot be used.
    pub fn new(config: &config::Upstream, user_agent: &str) -> Result<Self, UpstreamError> {
        Self::open(config, user_agent, Setup::default())
    }

    /// The same, with everything said.
    ///
    /// # Errors
    /// As [`Vendor::new`].
    pub fn open(config: &config::Upstream, user_agent: &str, setup: Setup) -> Result<Self, UpstreamError> {
        let patterns = Patterns::with_overrides(config.components.clone()).map_err(UpstreamError::Patterns)?;
        let (anchors, of_hosts) = anchors::load(config)?;
        let verifier = certs::PinnedVerifier::with_hosts(anchors, of_hosts).map_err(UpstreamError::Verifier)?;
        let proxies = Proxies::resolve(config, &setup.environment).map_err(UpstreamError::Proxy)?;
        let sources: Arc<[Url]> = std::iter::once(&config.url).chain(&config.fallback_urls).cloned().collect();
        let offline_zip = config.offline_zip_url.clone();
        let own = || sources.iter().chain(&offline_zip);
        let hosts = Hosts::new(own(), config.allowed_hosts.iter().map(|allowed| allowed.host.clone()));
        for url in own() {
            hosts.allow(url)?;
        }
        let user_agent = HeaderValue::from_str(user_agent).map_err(UpstreamError::UserAgent)?;
        let dialer = Dialer::new(setup, verifier, proxies, user_agent);
        let exchange = Arc::new(Exchange::new(dialer, hosts));
        Ok(Self { exchange, patterns: Arc::new(patterns), index: config.url.clone(), sources, offline_zip })
    }

    /// The same client, by which the vendor's own zip is not fetched.
    #[must_use]
    pub fn without_offline_zip(&self) -> Self {
        Self { offline_zip: None, ..self.clone() }
    }

    /// The same client for an index at another URL: one of [`Vendor::sources`], or one on an allowed host.
    #[must_use]
    pub fn at(&self, index: Url) -> Self {
        Self { index, ..self.clone() }
    }

    /// Where the index may be, in the order in which to ask: `url`, then `fallback_urls`.
    #[must_use]
    pub fn sources(&self) -> Vec<Url> {
        self.sources.to_vec()
    }

    /// The index's URL.
    #[must_use]
    pub fn index_url(&self) -> &Url {
        &self.index
    }

    /// Where the vendor's own zip is, where it is to be fetched.
    #[must_use]
    pub fn offline_zip_url(&self) -> Option<&Url> {
        self.offline_zip.as_ref()
    }

    /// Which hosts may be asked.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.exchange.hosts
    }

    /// Through which proxy hosts are reached.
    #[must_use]
    pub fn proxies(&self) -> &Proxies {
        &self.exchange.dialer.proxies
    }

    /// From here on the proxy is left alone: what can be reached through it alone fails as after a 407, unasked.
    pub async fn ask_no_proxy(&self) {
        self.exchange.dialer.ask_no_proxy().await;
    }

    /// Which component an entry is.
    #[must_use]
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// The verifier, which remembers the chains that hosts presented.
    #[must_use]
    pub fn verifier(&self) -> &Arc<certs::PinnedVerifier> {
        &self.exchange.dialer.verifier
    }

    /// Asks for a URL; for its content only if it is no longer what `condition` stands for. At most `limit` bytes are
    /// taken; `setting` is what the limit is called in `[limits]`.
    ///
    /// # Errors
    /// There is no answer, it is not 200 (or 304 to a condition), or it announces more than the limit.
    pub async fn get(
        &self,
        url: &Url,
        condition: Option<Condition<'_>>,
        limit: u64,
        setting: &'static str,
    ) -> Result<Answer, UpstreamError> {
        let conditions = condition.map(conditions).unwrap_or_default();
        let answered = self.exchange.follow(Method::GET, url, &conditions).await?;
        let Answered { response, connection, url: answered_at, .. } = answered;
        let head = Head::of(response.headers());
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if !conditions.is_empty() => {
                self.exchange.drain(response, connection).await;
                return Ok(Answer::NotModified { clock_offset: head.clock_offset });
            }
            status => {
                let refused = refusal(shown(&answered_at), status, response.headers());
                // Whoever asks for one after the other until there is no more goes on over the same connection.
                if status == StatusCode::NOT_FOUND {
                    self.exchange.drain(response, connection).await;
                }
                return Err(refused);
            }
        }
        let body = Body {
            url: shown(&answered_at),
            host: connection.shown(),
            incoming: response.into_body(),
            connection: Some(connection),
            exchange: Arc::clone(&self.exchange),
            received: 0,
            limit,
            setting,
            pace: Pace::new(),
            resumes: 0,
            farthest: 0,
        };
        let content = Content {
            encoding: Encoding::of(head.encoding.as_deref(), [url, &answered_at]),
            url: answered_at,
            etag: head.etag,
            last_modified: head.last_modified,
            length: head.length,
            clock_offset: head.clock_offset,
            body,
        };
        content.within_limit()?;
        Ok(Answer::Content(Box::new(content)))
    }
}

fn conditions(condition: Condition<'_>) -> HeaderMap {
    let pairs = [(IF_NONE_MATCH, condition.etag), (IF_MODIFIED_SINCE, condition.last_modified)];
    // What is not a header value did not come from one.
    pairs.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).ok()?))).collect()
}
