//! The vendor's feed over HTTPS.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bundles::index::Patterns;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use super::body::Body;
use super::error::RefusedRedirect;
use super::hosts::shown;
use super::{Content, Hosts, UpstreamError};
use crate::{clock, config};

/// A login page that redirects to itself must end; sensible moves take one or two.
const MAX_REDIRECTS: usize = 5;

/// A header that is kept and sent back: longer ones are no validators but an attack on the store.
const MAX_VALIDATOR: usize = 512;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// TCP and TLS. Ten seconds is three lost SYNs.
    pub connect: Duration,
    /// From the request to the headers, redirects included.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub stall: Duration,
    /// How long a body may be slow before its rate is looked at.
    pub grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            grace: Duration::from_mins(1),
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

/// The vendor's hosts, and how they are trusted.
#[derive(Debug)]
pub struct Vendor {
    client: Client,
    index: Url,
    hosts: Arc<Hosts>,
    patterns: Patterns,
    verifier: Arc<certs::PinnedVerifier>,
    timeouts: Timeouts,
}

impl Vendor {
    /// Reads trust anchors and makes a client. `user_agent` is `posture-feed/<version>`.
    ///
    /// # Errors
    /// Anchors or patterns of the configuration cannot be used.
    pub fn new(config: &config::Upstream, user_agent: &str) -> Result<Self, UpstreamError> {
        Self::with_timeouts(config, user_agent, Timeouts::default())
    }

    /// The same, with other patience.
    ///
    /// # Errors
    /// As [`Vendor::new`].
    pub fn with_timeouts(
        config: &config::Upstream,
        user_agent: &str,
        timeouts: Timeouts,
    ) -> Result<Self, UpstreamError> {
        let patterns = Patterns::with_overrides(config.components.clone()).map_err(UpstreamError::Patterns)?;
        let anchors = certs::Anchors::load(&config.trust_anchors, &config.base_dir).map_err(UpstreamError::Anchors)?;
        let verifier = certs::PinnedVerifier::new(anchors).map_err(UpstreamError::Verifier)?;
        let hosts = Arc::new(Hosts::new(&config.url, &config.allowed_hosts));
        hosts.allow(&config.url)?;
        // Digests are of upstream's own bytes, so nothing is decompressed on the way and nothing else is asked for.
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        let client = Client::builder()
            .tls_backend_preconfigured(certs::client_config(Arc::clone(&verifier)))
            .https_only(true)
            .user_agent(user_agent)
            .default_headers(headers)
            .referer(false)
            .redirect(redirects(Arc::clone(&hosts)))
            .connect_timeout(timeouts.connect)
            // The environment's proxies are not asked for: only those of a configuration would be.
            .no_proxy()
            .build()
            .map_err(UpstreamError::Client)?;
        Ok(Self { client, index: config.url.clone(), hosts, patterns, verifier, timeouts })
    }

    /// The index's URL.
    #[must_use]
    pub fn index_url(&self) -> &Url {
        &self.index
    }

    /// Which hosts may be asked.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Which component an entry is.
    #[must_use]
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// The verifier, which remembers the chains that hosts presented.
    #[must_use]
    pub fn verifier(&self) -> &Arc<certs::PinnedVerifier> {
        &self.verifier
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
        self.hosts.allow(url)?;
        let conditions = condition.map(conditions).unwrap_or_default();
        let is_conditional = !conditions.is_empty();
        let request = self.client.get(url.clone()).headers(conditions);
        let host = url.host_str().unwrap_or_default().to_owned();
        let response = tokio::time::timeout(self.timeouts.first_byte, request.send())
            .await
            .map_err(|_| UpstreamError::Timeout { host: host.clone(), act: "answer", limit: self.timeouts.first_byte })?
            .map_err(|error| UpstreamError::of_request(&error, url, self.timeouts.connect))?;
        let clock_offset = clock_offset(response.headers());
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if is_conditional => return Ok(Answer::NotModified { clock_offset }),
            status => return Err(refusal(shown(url), status, response.headers())),
        }
        let validator = |name| header(&response, name).filter(|value| value.len() <= MAX_VALIDATOR);
        let (etag, last_modified) = (validator(ETAG), validator(LAST_MODIFIED));
        let length = header(&response, CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let url = response.url().clone();
        let body = Body {
            response,
            url: shown(&url),
            host,
            received: 0,
            limit,
            setting,
            stall: self.timeouts.stall,
            grace: self.timeouts.grace,
            started: Instant::now(),
        };
        if length.is_some_and(|length| length > limit) {
            return Err(body.too_large(length));
        }
        Ok(Answer::Content(Box::new(Content { url, etag, last_modified, length, clock_offset, body })))
    }
}

fn redirects(hosts: Arc<Hosts>) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        let refused = if attempt.previous().len() > MAX_REDIRECTS {
            Err(UpstreamError::Redirects { url: shown(attempt.url()) })
        } else {
            hosts.allow(attempt.url())
        };
        match refused {
            Ok(()) => attempt.follow(),
            Err(error) => attempt.error(RefusedRedirect(Mutex::new(Some(error)))),
        }
    })
}

fn conditions(condition: Condition<'_>) -> HeaderMap {
    let pairs = [(IF_NONE_MATCH, condition.etag), (IF_MODIFIED_SINCE, condition.last_modified)];
    // What is not a header value did not come from one.
    pairs.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).ok()?))).collect()
}

fn header(response: &Response, name: HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn clock_offset(headers: &HeaderMap) -> Option<i64> {
    let date = parse_date(headers.get(DATE)?.to_str().ok()?)?;
    date.as_second().checked_sub(clock::now().as_second())
}

/// The one form of dates that servers write today (RFC 9110, section 5.6.7).
pub(super) fn parse_date(text: &str) -> Option<Timestamp> {
    // RFC 2822's dates, but with a zone by name, which that parser takes for -0000.
    DateTimeParser::new().parse_timestamp(text).ok()
}

fn refusal(url: String, status: StatusCode, headers: &HeaderMap) -> UpstreamError {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let asks_to_wait = status == StatusCode::FORBIDDEN && retry_after.is_some();
    if status == StatusCode::TOO_MANY_REQUESTS || asks_to_wait {
        UpstreamError::RateLimited { url, status, retry_after }
    } else {
        UpstreamError::Status { url, status }
    }
}
