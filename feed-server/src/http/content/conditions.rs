//! Conditional requests (RFC 9110, section 13).

use actix_web::http::header::{self, HeaderMap, HeaderName};
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answer it.
    Send,
    /// The client has it, under this tag: 304.
    NotModified(String),
    /// The client wanted another one: 412.
    Failed,
}

/// In the order of RFC 9110, section 13.2.2.
///
/// `answered` is the tag of what would be sent, and `is_its` tells the tags of all forms of the same content that the client
/// can read. A client that has any of them is up to date; its tag is the one that is told, since a cache knows its copy by it.
///
/// Dates are compared for equality, as nginx does by default, and not for order: an index that went back to an older
/// release has an older date, and is another one all the same.
pub(super) fn evaluate(
    headers: &HeaderMap,
    answered: &str,
    is_its: impl Fn(&str) -> bool,
    modified: Timestamp,
) -> Outcome {
    if headers.contains_key(header::IF_MATCH) {
        if !listed(headers, &header::IF_MATCH).any(|tag| tag == "*" || is_its(tag)) {
            return Outcome::Failed;
        }
    } else if text(headers, &header::IF_UNMODIFIED_SINCE).and_then(date).is_some_and(|date| date != modified) {
        return Outcome::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        // Weak comparison: caches that compress make a strong tag weak.
        let tags = || listed(headers, &header::IF_NONE_MATCH).map(|tag| tag.strip_prefix("W/").unwrap_or(tag));
        if tags().any(|tag| tag == "*" || tag == answered) {
            return Outcome::NotModified(answered.to_owned());
        }
        return tags().find(|tag| is_its(tag)).map_or(Outcome::Send, |tag| Outcome::NotModified(tag.to_owned()));
    }
    if text(headers, &header::IF_MODIFIED_SINCE).and_then(date) == Some(modified) {
        return Outcome::NotModified(answered.to_owned());
    }
    Outcome::Send
}

/// The `Range` header, unless its `If-Range` is about other content.
pub(super) fn range<'a>(headers: &'a HeaderMap, etag: &str, modified: Timestamp) -> Option<&'a str> {
    let range = text(headers, &header::RANGE)?;
    if !headers.contains_key(header::IF_RANGE) {
        return Some(range);
    }
    let condition = text(headers, &header::IF_RANGE)?.trim();
    (condition == etag || date(condition) == Some(modified)).then_some(range)
}

/// For `Last-Modified`.
pub(in crate::http) fn http_date(timestamp: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp).unwrap_or_default()
}

fn date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A list of entity tags. Ours hold no comma, so a tag with one in it does no harm.
fn listed<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const TAG: &str = "\"abc\"";
    const OTHER_FORM: &str = "\"abc-zstd\"";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn modified() -> Timestamp {
        Timestamp::from_second(784_111_777).unwrap()
    }

    fn not_modified() -> Outcome {
        Outcome::NotModified(TAG.to_owned())
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn dates_are_written_as_http_writes_them() {
        assert_eq!(http_date(modified()), DATE);
        assert_eq!(date(DATE), Some(modified()));
    }

    #[test]
    fn each_condition_alone_and_in_its_order() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        for (pairs, outcome) in [
            (vec![], Outcome::Send),
            (vec![(IF_NONE_MATCH, TAG)], not_modified()),
            (vec![(IF_NONE_MATCH, "*")], not_modified()),
            (vec![(IF_NONE_MATCH, "\"x\", W/\"abc\" ,\"y\"")], not_modified()),
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, TAG)], not_modified()),
            (vec![(IF_NONE_MATCH, "W/\"abc-zstd\"")], Outcome::NotModified(OTHER_FORM.to_owned())),
            (vec![(IF_NONE_MATCH, "\"abc-zstd\", \"abc\"")], not_modified()),
            (vec![(IF_MATCH, OTHER_FORM)], Outcome::Send),
            (vec![(IF_NONE_MATCH, "\"x\"")], Outcome::Send),
            (vec![(IF_NONE_MATCH, "abc")], Outcome::Send),
            (vec![(IF_MODIFIED_SINCE, DATE)], not_modified()),
            (vec![(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:38 GMT")], Outcome::Send),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Outcome::Send),
            // The tag is more precise than the date, so the date is not looked at.
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, DATE)], Outcome::Send),
            (vec![(IF_MATCH, TAG)], Outcome::Send),
            (vec![(IF_MATCH, "*")], Outcome::Send),
            (vec![(IF_MATCH, "W/\"abc\"")], Outcome::Failed),
            (vec![(IF_MATCH, "\"x\""), (IF_NONE_MATCH, TAG)], Outcome::Failed),
            (vec![(IF_UNMODIFIED_SINCE, DATE)], Outcome::Send),
            (vec![(IF_UNMODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")], Outcome::Failed),
        ] {
            let is_its = |tag: &str| tag == TAG || tag == OTHER_FORM;
            assert_eq!(evaluate(&headers(&pairs), TAG, is_its, modified()), outcome, "{pairs:?}");
        }
    }

    #[test]
    fn a_range_of_other_content_is_not_answered_with_a_part() {
        use header::{IF_RANGE, RANGE};
        let range_if = |condition: &str| {
            let headers = headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, condition)]);
            range(&headers, TAG, modified()).is_some()
        };
        assert!(range_if(TAG) && range_if(DATE));
        assert!(!range_if("\"x\"") && !range_if("W/\"abc\"") && !range_if("Sun, 06 Nov 1994 08:49:38 GMT"));
        assert!(range(&headers(&[(RANGE, "bytes=0-1")]), TAG, modified()).is_some());
    }
}
