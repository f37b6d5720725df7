//! A body, piece by piece, held to its limit, its announced length and its deadlines.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use url::Url;

use super::UpstreamError;
use super::error::innermost;

/// Below this rate, after [`Timeouts::grace`](super::Timeouts), a body is given up: a server that drips a byte now and
/// then would hold up updates forever. A modem of 1990 is faster.
const MIN_RATE: u64 = 1_024;

/// What upstream answered with 200.
#[derive(Debug)]
pub struct Content {
    /// Where it was found, after redirects.
    pub url: Url,
    /// `ETag`, verbatim.
    pub etag: Option<String>,
    /// `Last-Modified`, verbatim.
    pub last_modified: Option<String>,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// Upstream's `Date` less the local clock, seconds.
    pub clock_offset: Option<i64>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) struct Body {
    pub(super) response: Response,
    pub(super) url: String,
    pub(super) host: String,
    pub(super) received: u64,
    pub(super) limit: u64,
    pub(super) setting: &'static str,
    pub(super) stall: Duration,
    pub(super) grace: Duration,
    pub(super) started: Instant,
}

impl Content {
    /// The next bytes; `None` at the end, where as many came as were announced.
    ///
    /// # Errors
    /// The body stalls, drips, is cut off, or exceeds its limit.
    pub async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let body = &mut self.body;
        let stalled = |_| UpstreamError::Timeout { host: body.host.clone(), act: "send more", limit: body.stall };
        let bytes = tokio::time::timeout(body.stall, body.response.chunk()).await.map_err(stalled)?;
        let bytes = bytes.map_err(|error| body.truncated(self.length, Some(innermost(&error).into())))?;
        let Some(bytes) = bytes else {
            let whole = self.length.is_none_or(|length| length == body.received);
            return if whole { Ok(None) } else { Err(body.truncated(self.length, None)) };
        };
        body.received += bytes.len() as u64;
        if body.received > body.limit {
            return Err(body.too_large(None));
        }
        let elapsed = body.started.elapsed();
        if elapsed > body.grace && body.received < MIN_RATE.saturating_mul(elapsed.as_secs()) {
            return Err(UpstreamError::Slow { url: body.url.clone(), rate: MIN_RATE });
        }
        Ok(Some(bytes))
    }

    /// Bytes that came so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.body.received
    }

    /// The whole body in memory: for what is small by its limit.
    ///
    /// # Errors
    /// As [`Content::next`].
    pub async fn whole(&mut self) -> Result<Vec<u8>, UpstreamError> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }
}

impl Body {
    pub(super) fn too_large(&self, announced: Option<u64>) -> UpstreamError {
        UpstreamError::TooLarge { url: self.url.clone(), announced, limit: self.limit, setting: self.setting }
    }

    fn truncated(
        &self,
        announced: Option<u64>,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> UpstreamError {
        UpstreamError::Truncated { url: self.url.clone(), received: self.received, announced, source }
    }
}
