//! What the head of an answer says.

use std::time::Duration;

use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER, SERVER,
};
use hyper::{StatusCode, Version};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::UpstreamError;
use crate::clock;

/// A header that is kept and sent back: longer ones are no validators but an attack on the store.
const MAX_VALIDATOR: usize = 512;

/// Characters of a header that people are shown: what servers call themselves is some twenty long.
const MAX_SHOWN: usize = 100;

/// What is of use to us.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) length: Option<u64>,
    pub(super) encoding: Option<String>,
    /// Upstream's `Date` less the local clock, seconds.
    pub(super) clock_offset: Option<i64>,
}

impl Head {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let validator = |name| header(headers, name).filter(|value| value.len() <= MAX_VALIDATOR);
        Self {
            etag: validator(ETAG),
            last_modified: validator(LAST_MODIFIED),
            length: header(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            encoding: header(headers, CONTENT_ENCODING),
            clock_offset: clock_offset(headers),
        }
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
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

/// Status and version, and what the server says of itself and of the time, for whoever watches.
pub(super) fn seen(status: StatusCode, version: Version, headers: &HeaderMap) -> String {
    let said = |name: HeaderName| {
        let value: String = header(headers, name.clone())?.chars().take(MAX_SHOWN).collect();
        Some(format!(", {name}: {value}"))
    };
    let said: String = [SERVER, DATE].into_iter().filter_map(said).collect();
    format!("{status}, {version:?}{said}")
}

/// What another status than 200 stands for.
pub(super) fn refusal(url: String, status: StatusCode, headers: &HeaderMap) -> UpstreamError {
    let retry_after = retry_after(headers);
    let asks_to_wait = status == StatusCode::FORBIDDEN && retry_after.is_some();
    if status == StatusCode::TOO_MANY_REQUESTS || asks_to_wait {
        UpstreamError::RateLimited { url, status, retry_after }
    } else {
        UpstreamError::Status { url, status, retry_after }
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3): which is by the server's clock, so it is held against the server's
/// own `Date`. One that has passed asks to wait for nothing, and is none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = parse_date(text)?;
    let now = headers.get(DATE).and_then(|date| parse_date(date.to_str().ok()?)).unwrap_or_else(clock::now);
    let seconds = until.as_second().checked_sub(now.as_second())?;
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}
