//! A body, piece by piece, held to its limit, its announced length and its deadlines, and taken up again where it
//! breaks off.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use url::Url;

use super::UpstreamError;
use super::error::innermost;
use super::exchange::{Connection, Exchange};
use super::resume::Resumed;
use super::watch::Step;

/// Below this rate, after [`Timeouts::grace`](super::Timeouts), a body is given up: a server that drips a byte now and
/// then would hold up updates forever. A modem of 1990 is faster.
const MIN_RATE: u64 = 1_024;

/// What a gzip stream begins with (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

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
    pub(super) encoding: Encoding,
    pub(super) body: Body,
}

/// What comes next of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// More bytes.
    Bytes(Bytes),
    /// Everything that came so far is void: the content changed while it was fetched, or upstream could only begin anew.
    /// `etag`, `last_modified` and `length` of the [`Content`] are those of what comes now.
    Anew,
}

/// What the bytes are to the content (RFC 9110, section 8.4). Nothing but `identity` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoding {
    /// The content itself. So is an archive whose name ends in `.gz` and which is labelled `gzip`: servers that guess
    /// headers from names do that, and its digest is of the bytes as they come.
    Identity,
    /// Compressed on the way, though nobody asked for it.
    Gzip,
    /// Whatever else it is called.
    Other(String),
}

impl Encoding {
    /// What `Content-Encoding` means for the content of these URLs: asked for, and where redirects led.
    pub(super) fn of(header: Option<&str>, urls: [&Url; 2]) -> Self {
        let name = header.unwrap_or_default().trim().to_ascii_lowercase();
        let is_gzip = name == "gzip" || name == "x-gzip";
        let is_itself = |url: &Url| {
            let path = url.path().to_ascii_lowercase();
            path.ends_with(".gz") || path.ends_with(".tgz")
        };
        match name.as_str() {
            "" | "identity" => Self::Identity,
            _ if is_gzip && urls.into_iter().any(is_itself) => Self::Identity,
            _ if is_gzip => Self::Gzip,
            _ => Self::Other(name.chars().take(40).collect()),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Other(name) => name,
        }
    }
}

#[derive(Debug)]
pub(super) struct Body {
    pub(super) incoming: Incoming,
    /// Until the body's end, then it is kept for the next request.
    pub(super) connection: Option<Connection>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) url: String,
    pub(super) host: String,
    /// Bytes of the content that came so far, over however many connections.
    pub(super) received: u64,
    pub(super) limit: u64,
    pub(super) setting: &'static str,
    pub(super) pace: Pace,
    pub(super) resumes: u32,
    /// How far it had come when it was last resumed.
    pub(super) farthest: u64,
}

/// How fast it comes, over this connection.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    received: u64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), received: 0 }
    }

    fn is_too_slow(&self, grace: Duration) -> bool {
        let elapsed = self.started.elapsed();
        elapsed > grace && self.received < MIN_RATE.saturating_mul(elapsed.as_secs())
    }
}

impl Content {
    /// What comes next, as upstream has it; `None` at the end, where as many bytes came as were announced. Where the
    /// body breaks off and upstream gave a strong `ETag`, the rest is asked for.
    ///
    /// # Errors
    /// The body stalls, drips, is cut off, exceeds its limit, or is not the content itself but an encoding of it.
    pub async fn next(&mut self) -> Result<Option<Piece>, UpstreamError> {
        match self.encoding {
            Encoding::Identity => self.piece().await,
            Encoding::Gzip | Encoding::Other(_) => Err(self.encoded(None)),
        }
    }

    /// Bytes of it that came so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.body.received
    }

    /// Whether the bytes that come are the content itself, so that their number is its length.
    #[must_use]
    pub fn is_itself(&self) -> bool {
        self.encoding == Encoding::Identity
    }

    /// The whole content in memory, decompressed where it came as gzip: for what is small by its limit, which holds for
    /// both forms.
    ///
    /// # Errors
    /// As [`Content::next`]; or it is in an encoding that nobody asked for and that is not gzip.
    pub async fn whole(&mut self) -> Result<Vec<u8>, UpstreamError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            match piece {
                Piece::Bytes(bytes) => whole.extend_from_slice(&bytes),
                Piece::Anew => whole.clear(),
            }
        }
        match self.encoding {
            Encoding::Identity => Ok(whole),
            // Labelled, but not compressed: there is nothing to do.
            Encoding::Gzip if !whole.starts_with(&GZIP) => Ok(whole),
            Encoding::Gzip => self.inflate(&whole),
            Encoding::Other(_) => Err(self.encoded(None)),
        }
    }

    async fn piece(&mut self) -> Result<Option<Piece>, UpstreamError> {
        loop {
            let broken = match self.read().await {
                Ok(bytes) => return Ok(bytes.map(Piece::Bytes)),
                Err(broken @ (UpstreamError::Truncated { .. } | UpstreamError::Timeout { .. })) => broken,
                Err(error) => return Err(error),
            };
            match self.resume(broken).await? {
                Resumed::Onward => {}
                Resumed::Anew => return Ok(Some(Piece::Anew)),
            }
        }
    }

    /// Whether what is announced is within the limit.
    pub(super) fn within_limit(&self) -> Result<(), UpstreamError> {
        match self.length {
            Some(length) if length > self.body.limit => Err(self.body.too_large(Some(length))),
            Some(_) | None => Ok(()),
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let body = &mut self.body;
        let Some(bytes) = body.frame(self.length).await? else {
            if self.length.is_some_and(|length| length != body.received) {
                return Err(body.truncated(self.length, None));
            }
            if let Some(connection) = body.connection.take() {
                body.exchange.keep(connection);
            }
            return Ok(None);
        };
        body.received += bytes.len() as u64;
        body.pace.received += bytes.len() as u64;
        if body.received > body.limit {
            return Err(body.too_large(None));
        }
        if body.pace.is_too_slow(body.exchange.dialer.timeouts.grace) {
            return Err(UpstreamError::Slow { url: body.url.clone(), rate: MIN_RATE });
        }
        Ok(Some(bytes))
    }

    fn inflate(&self, compressed: &[u8]) -> Result<Vec<u8>, UpstreamError> {
        let mut whole = Vec::new();
        let mut decoder = MultiGzDecoder::new(compressed).take(self.body.limit.saturating_add(1));
        decoder.read_to_end(&mut whole).map_err(|error| self.encoded(Some(error)))?;
        if whole.len() as u64 > self.body.limit {
            return Err(self.body.too_large(None));
        }
        Ok(whole)
    }

    fn encoded(&self, source: Option<std::io::Error>) -> UpstreamError {
        UpstreamError::Encoded { url: self.body.url.clone(), encoding: self.encoding.name().to_owned(), source }
    }
}

impl Body {
    async fn frame(&mut self, length: Option<u64>) -> Result<Option<Bytes>, UpstreamError> {
        let stall = self.exchange.dialer.timeouts.stall;
        let deadline = tokio::time::Instant::now() + stall;
        loop {
            let frame = tokio::time::timeout_at(deadline, self.incoming.frame()).await.map_err(|_| {
                let (host, act) = (self.host.clone(), "send more");
                UpstreamError::Timeout { host, act, limit: stall, step: Step::Http }
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| self.truncated(length, Some(innermost(&error).into())))?;
            // Trailers say nothing that anybody here asks for.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    fn too_large(&self, announced: Option<u64>) -> UpstreamError {
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
