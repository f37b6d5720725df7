//! What is asked for, and the answer as it comes in.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bundles::Digest;
use bundles::increment::{IncrementError, Unpacking};
use reqwest::Response;
use serde::{Deserialize, Serialize};
use url::Url;

use super::error::boxed;
use super::{FetchError, REQUEST_TIMEOUT, SLOWEST_BYTES_PER_SECOND};
use crate::clock::patience;

/// Something packed that is larger than what it opens to saves nothing; this much is the packing's own.
const PACKING: u64 = 1 << 10;

/// Content that is here already, for the server to tell other content by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary {
    bytes: Vec<u8>,
    sha256: Digest,
}

impl Dictionary {
    /// Of any bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { sha256: Digest::of(&bytes), bytes }
    }

    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What servers know it by.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }
}

/// How content may come.
#[derive(Debug, Clone, Copy)]
pub enum Codings<'d> {
    /// As it is.
    Identity,
    /// Or packed.
    Zstd,
    /// Or told by this.
    Increment(&'d Dictionary),
}

impl<'d> Codings<'d> {
    /// Everything that is understood here.
    #[must_use]
    pub fn all(dictionary: Option<&'d Dictionary>) -> Self {
        dictionary.map_or(Self::Zstd, Self::Increment)
    }

    pub(super) const fn accept(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Zstd => "zstd",
            Self::Increment(_) => "dcz, zstd",
        }
    }

    /// The coding of an answer.
    pub(super) fn of(&self, url: &Url, response: &Response) -> Result<Coding, FetchError> {
        let mut given = response.headers().get_all(reqwest::header::CONTENT_ENCODING).iter();
        let found = match (given.next(), given.next()) {
            (None, _) => return Ok(Coding::Identity),
            (Some(one), None) => one.to_str().unwrap_or_default().trim().to_ascii_lowercase(),
            (Some(_), Some(_)) => "several".to_owned(),
        };
        match (found.as_str(), self) {
            ("" | "identity", _) => Ok(Coding::Identity),
            ("zstd", Self::Zstd | Self::Increment(_)) => Ok(Coding::Zstd),
            ("dcz", Self::Increment(_)) => Ok(Coding::Dcz),
            _ => {
                let found = found.escape_debug().take(40).collect::<String>().into();
                Err(FetchError::Coding { url: boxed(url), found })
            }
        }
    }
}

/// How content came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// Packed.
    Zstd,
    /// Told by what is here already.
    Dcz,
}

/// A request for content.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Bytes that the content may have, opened.
    pub limit: u64,
    /// How it may come.
    pub codings: Codings<'a>,
    /// Its first byte that is wanted; of content as it is alone.
    pub from: u64,
    /// The tag of what is here, if that is all that is wanted to be known.
    pub unless: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// All of it, as it is.
    #[must_use]
    pub const fn whole(limit: u64) -> Self {
        Self { limit, codings: Codings::Identity, from: 0, unless: None }
    }

    /// All of it, in one of these codings.
    #[must_use]
    pub const fn packed(limit: u64, codings: Codings<'a>) -> Self {
        Self { limit, codings, from: 0, unless: None }
    }
}

/// A small answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Small {
    /// The content.
    pub bytes: Vec<u8>,
    /// How it came.
    pub coding: Coding,
    /// Its tag, if it has a usable one: of the content in this form.
    pub etag: Option<String>,
}

/// An answer with content, of which nothing was read yet.
#[derive(Debug)]
pub struct Incoming<'d> {
    pub(super) response: Response,
    pub(super) url: Url,
    pub(super) limit: u64,
    pub(super) codings: Codings<'d>,
    pub(super) received: Arc<Meter>,
    /// How it comes.
    pub coding: Coding,
    /// The first byte that comes: the one asked for, or none but the first of all.
    pub from: u64,
}

impl Incoming<'_> {
    /// The answer's tag, if it has a usable one.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        let tag = self.response.headers().get(reqwest::header::ETAG)?.to_str().ok()?;
        // It goes into a file and back into a header.
        let usable = tag.len() <= 256 && tag.ends_with('"') && (tag.starts_with('"') || tag.starts_with("W/\""));
        usable.then(|| tag.to_owned())
    }

    /// Reads it to its end, opened: never more than asked for, and never more packed bytes than that by much.
    ///
    /// # Errors
    /// It does not come to its end, or does not open.
    pub async fn read(self, into: impl Write) -> Result<(), FetchError> {
        let left = self.limit.saturating_sub(self.from);
        let patience = patience(REQUEST_TIMEOUT + Duration::from_secs(left / SLOWEST_BYTES_PER_SECOND));
        let url = self.url.clone();
        let unpacked = async {
            let (url, limit, coding) = (self.url.clone(), self.limit, self.coding);
            let failed = |source| match source {
                IncrementError::Write(error) => FetchError::Take(error),
                source => FetchError::Increment { url: boxed(&url), source },
            };
            match (coding, self.codings) {
                (Coding::Identity, _) => {
                    let mut into = into;
                    self.pieces(left, |piece| into.write_all(piece).map_err(FetchError::Take)).await
                }
                (Coding::Dcz, Codings::Increment(dictionary)) => {
                    let mut opened = Unpacking::increment(&dictionary.bytes, limit, into).map_err(failed)?;
                    self.pieces(limit.saturating_add(PACKING), |piece| opened.push(piece).map_err(failed)).await?;
                    opened.finish().map(drop).map_err(failed)
                }
                (Coding::Zstd | Coding::Dcz, _) => {
                    let mut opened = Unpacking::zstd(limit, into).map_err(failed)?;
                    self.pieces(limit.saturating_add(PACKING), |piece| opened.push(piece).map_err(failed)).await?;
                    opened.finish().map(drop).map_err(failed)
                }
            }
        };
        tokio::time::timeout(patience, unpacked).await.map_err(|_| FetchError::TooSlow { url: boxed(&url) })?
    }

    /// The same, held in memory.
    ///
    /// # Errors
    /// As [`Incoming::read`].
    pub async fn bytes(self) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        self.read(&mut bytes).await?;
        Ok(bytes)
    }

    /// The same, with what is to be known of the answer.
    ///
    /// # Errors
    /// As [`Incoming::read`].
    pub async fn small(self) -> Result<Small, FetchError> {
        let (coding, etag) = (self.coding, self.etag());
        Ok(Small { bytes: self.bytes().await?, coding, etag })
    }

    async fn pieces(
        mut self,
        most: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        let too_large = || FetchError::TooLarge { url: boxed(&self.url), limit: self.limit };
        // What is announced need not be fetched to know that it is too much.
        if self.response.content_length().is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let mut left = most;
        loop {
            let piece = self.response.chunk().await.map_err(|error| FetchError::classify_body(&self.url, error))?;
            let Some(piece) = piece else { return Ok(()) };
            self.received.add(self.coding, piece.len() as u64);
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| FetchError::TooLarge { url: boxed(&self.url), limit: self.limit })?;
            take(&piece)?;
        }
    }
}

/// Content bytes by how they came, and what was of no use packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Received {
    /// As they are.
    pub identity: u64,
    /// Packed.
    pub zstd: u64,
    /// Increments.
    pub dcz: u64,
    /// Files that were asked for as they are after what came packed was refused.
    pub fallbacks: u64,
}

impl Received {
    /// Whether nothing came yet.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes, however they came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.identity.saturating_add(self.zstd).saturating_add(self.dcz)
    }

    /// These and more.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.identity, more.identity),
            (&mut self.zstd, more.zstd),
            (&mut self.dcz, more.dcz),
            (&mut self.fallbacks, more.fallbacks),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Counts what comes in.
#[derive(Debug, Default)]
pub(super) struct Meter {
    identity: AtomicU64,
    zstd: AtomicU64,
    dcz: AtomicU64,
    pub(super) fallbacks: AtomicU64,
}

impl Meter {
    fn add(&self, coding: Coding, bytes: u64) {
        let counter = match coding {
            Coding::Identity => &self.identity,
            Coding::Zstd => &self.zstd,
            Coding::Dcz => &self.dcz,
        };
        counter.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Received {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Received {
            identity: read(&self.identity),
            zstd: read(&self.zstd),
            dcz: read(&self.dcz),
            fallbacks: read(&self.fallbacks),
        }
    }

    pub(super) fn take(&self) -> Received {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Received {
            identity: take(&self.identity),
            zstd: take(&self.zstd),
            dcz: take(&self.dcz),
            fallbacks: take(&self.fallbacks),
        }
    }
}

/// Reads on a little where only the status counts: a connection is of use again only after its answer was read.
pub(super) async fn drain(mut response: Response) {
    const AT_MOST: usize = 64 << 10;
    const PATIENCE: Duration = Duration::from_secs(1);
    let rest = async {
        let mut read = 0;
        while let Ok(Some(piece)) = response.chunk().await {
            read += piece.len();
            if read > AT_MOST {
                break;
            }
        }
    };
    // However it ends: this is for speed alone.
    let _ = tokio::time::timeout(PATIENCE, rest).await;
}

/// A `Content-Range: bytes 5-9/10`: the first byte and the length of the whole, where it says one.
pub(super) fn content_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    let length = match length.trim() {
        "*" => None,
        length => Some(length.parse().ok()?),
    };
    Some((from.trim().parse().ok()?, length))
}

/// Writes to a file what comes in, and tells of it.
pub(crate) struct Watched<W, F> {
    pub(crate) into: W,
    pub(crate) told: F,
}

impl<W: Write, F: FnMut(usize)> Write for Watched<W, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.into.write(bytes)?;
        (self.told)(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_that_can_be_checked() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for none in ["", "bytes */10", "bytes 5/10", "items 5-9/10", "bytes -5-9/10", "bytes 5-9/x"] {
            assert_eq!(content_range(none), None, "{none}");
        }
    }
}
