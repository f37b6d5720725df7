//! HTTP's own rules for a file: tags, dates, conditions and ranges (RFC 9110, sections 8.8, 13 and 14).

use hyper::HeaderMap;
use hyper::header::{self, HeaderName};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// What to send of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200 with everything.
    Whole,
    /// 206 with the bytes from `start` up to, not including, `end`.
    Part {
        /// First byte.
        start: u64,
        /// One past the last.
        end: u64,
    },
    /// 304.
    NotModified,
    /// 416.
    OutOfRange,
}

/// Decides by the request's conditions and range.
pub(super) fn decide(headers: &HeaderMap, etag: &str, modified: Timestamp, length: u64) -> Answer {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // RFC 9110, 13.1.3: a date is looked at only where no tag is given.
    let unmodified = match text(header::IF_NONE_MATCH) {
        Some(tags) => {
            tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
        }
        None => text(header::IF_MODIFIED_SINCE).and_then(http_date).is_some_and(|since| modified <= since),
    };
    if unmodified {
        return Answer::NotModified;
    }
    let still_the_same = text(header::IF_RANGE)
        .is_none_or(|condition| condition == etag || http_date(condition).is_some_and(|since| since == modified));
    match text(header::RANGE) {
        Some(range) if still_the_same => part(range, length),
        Some(_) | None => Answer::Whole,
    }
}

/// One range is honoured; several, and units other than bytes, get everything, as the RFC allows.
fn part(range: &str, length: u64) -> Answer {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Answer::Whole;
    };
    let span = match (first.trim().parse::<u64>(), last.trim()) {
        (Ok(start), "") => Some((start, length)),
        (Ok(start), last) => last.parse::<u64>().ok().map(|last| (start, last.saturating_add(1).min(length))),
        (Err(_), last) if first.trim().is_empty() => {
            last.parse::<u64>().ok().map(|suffix| (length.saturating_sub(suffix), length))
        }
        (Err(_), _) => None,
    };
    match span {
        Some((start, end)) if start < end => Answer::Part { start, end },
        Some(_) => Answer::OutOfRange,
        None => Answer::Whole,
    }
}

/// A date in HTTP's form.
pub(super) fn http_date_of(at: Timestamp) -> String {
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const TAG: &str = "\"a\"";

    fn decide_with(name: HeaderName, value: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        decide(&headers, TAG, Timestamp::from_second(1_700_000_000).unwrap(), 100)
    }

    #[test]
    fn tags_and_dates() {
        let modified = http_date_of(Timestamp::from_second(1_700_000_000).unwrap());
        assert_eq!(modified, "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(decide_with(header::IF_NONE_MATCH, "\"b\", W/\"a\""), Answer::NotModified);
        assert_eq!(decide_with(header::IF_NONE_MATCH, "\"b\""), Answer::Whole);
        assert_eq!(decide_with(header::IF_MODIFIED_SINCE, &modified), Answer::NotModified);
        assert_eq!(decide_with(header::IF_MODIFIED_SINCE, "Tue, 14 Nov 2023 22:13:19 GMT"), Answer::Whole);
        assert_eq!(decide_with(header::IF_MODIFIED_SINCE, "yesterday"), Answer::Whole);
    }

    #[test]
    fn ranges() {
        for (range, answer) in [
            ("bytes=0-9", Answer::Part { start: 0, end: 10 }),
            ("bytes=90-", Answer::Part { start: 90, end: 100 }),
            ("bytes=-5", Answer::Part { start: 95, end: 100 }),
            ("bytes=50-1000", Answer::Part { start: 50, end: 100 }),
            ("bytes=100-", Answer::OutOfRange),
            ("bytes=x-", Answer::Whole),
            ("bytes=0-1,4-5", Answer::Whole),
            ("pages=1-2", Answer::Whole),
        ] {
            assert_eq!(decide_with(header::RANGE, range), answer, "{range}");
        }
    }
}
