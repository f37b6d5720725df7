//! The rest of a body that broke off (RFC 9110, sections 13.1.5 and 14): asked for only where what is there already can
//! be told apart from whatever upstream has by then.

use bundles::Reasoned as _;
use hyper::header::{CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use hyper::{Method, StatusCode};

use super::body::{Encoding, Pace};
use super::exchange::Answered;
use super::head::{self, Head};
use super::hosts::shown;
use super::{Content, UpstreamError};

/// How often one file is taken up again. A line that breaks six times within one file will not carry it.
const MAX_RESUMES: u32 = 5;

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumed {
    /// With the bytes that follow.
    Onward,
    /// From its beginning, since it is another content now, or the server cannot do better.
    Anew,
}

impl Content {
    /// Goes on after `broken`, or fails as it did.
    pub(super) async fn resume(&mut self, broken: UpstreamError) -> Result<Resumed, UpstreamError> {
        let Some(headers) = self.conditions() else { return Err(broken) };
        let (url, received, resumes) = (shown(&self.url), self.body.received, self.body.resumes);
        tracing::info!(url, received, error = %broken, "the download broke off; asking for the rest");
        tokio::time::sleep(self.body.exchange.dialer.timeouts.resume * 2_u32.pow(resumes)).await;
        self.body.resumes += 1;
        self.body.farthest = received;
        self.body.connection = None;
        let answered = match self.body.exchange.follow(Method::GET, &self.url, &headers).await {
            Ok(answered) => answered,
            // A refused password says more than that the line broke: it stands in the way of every later run, too.
            Err(error @ UpstreamError::ProxyAuth { .. }) => return Err(error),
            Err(error) => {
                tracing::info!(url, error = error.whole_message(), "the rest could not be asked for");
                return Err(broken);
            }
        };
        match answered.response.status() {
            StatusCode::PARTIAL_CONTENT => self.go_on(answered),
            StatusCode::OK => self.begin_anew(answered),
            StatusCode::RANGE_NOT_SATISFIABLE => Err(self.not_resumed("there is no such range (status 416)")),
            status => Err(head::refusal(url, status, answered.response.headers())),
        }
    }

    /// What to ask with, where there is a strong validator (a weak one does not stand for bytes), and each attempt so
    /// far has brought something.
    fn conditions(&self) -> Option<HeaderMap> {
        let etag = self.etag.as_ref().filter(|etag| etag.starts_with('"'))?;
        let body = &self.body;
        if body.resumes >= MAX_RESUMES || body.received <= body.farthest {
            return None;
        }
        let range = HeaderValue::from_str(&format!("bytes={}-", body.received)).ok()?;
        Some(HeaderMap::from_iter([(RANGE, range), (IF_RANGE, HeaderValue::from_str(etag).ok()?)]))
    }

    fn go_on(&mut self, answered: Answered) -> Result<Resumed, UpstreamError> {
        let headers = answered.response.headers();
        let head = Head::of(headers);
        if head.etag.is_some() && head.etag != self.etag {
            return Err(self.not_resumed("its ETag is another one, though it was asked for as it was"));
        }
        let range = headers.get(CONTENT_RANGE).and_then(|value| range(value.to_str().ok()?));
        let Some((first, total)) = range else {
            return Err(self.not_resumed("the answer does not say which range it is"));
        };
        if first != self.body.received {
            return Err(self.not_resumed("the answer is another range than was asked for"));
        }
        if total.is_some() && self.length.is_some() && total != self.length {
            return Err(self.not_resumed("it has another length now"));
        }
        // A server may send less than the whole rest, and this would look like the end of it.
        let Some(length) = self.length.or(total) else {
            return Err(self.not_resumed("nobody says how long the whole is"));
        };
        // A server that knows nothing of If-Range, or something in between: then it may be a part of anything.
        if head.etag.is_none() {
            return Err(self.not_resumed("the answer has no ETag"));
        }
        if Encoding::of(head.encoding.as_deref(), [&self.url, &answered.url]) != self.encoding {
            return Err(self.not_resumed("it has another Content-Encoding"));
        }
        self.length = Some(length);
        self.continue_with(answered);
        self.within_limit().map(|()| Resumed::Onward)
    }

    fn begin_anew(&mut self, answered: Answered) -> Result<Resumed, UpstreamError> {
        let head = Head::of(answered.response.headers());
        if head.etag != self.etag {
            // Other content: how far the old one came says nothing.
            self.body.farthest = 0;
        }
        self.encoding = Encoding::of(head.encoding.as_deref(), [&self.url, &answered.url]);
        self.etag = head.etag;
        self.last_modified = head.last_modified;
        self.length = head.length;
        self.url = answered.url.clone();
        self.body.received = 0;
        self.continue_with(answered);
        self.within_limit().map(|()| Resumed::Anew)
    }

    fn continue_with(&mut self, answered: Answered) {
        self.body.incoming = answered.response.into_body();
        self.body.connection = Some(answered.connection);
        self.body.pace = Pace::new();
    }

    fn not_resumed(&self, problem: &'static str) -> UpstreamError {
        UpstreamError::NotResumed { url: shown(&self.url), received: self.body.received, problem }
    }
}

/// `bytes 100-199/1000`, or `*` where the length of the whole is unknown: the first position, and that length.
fn range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse::<u64>().ok()?),
    };
    let is_sound = first <= last && total.is_none_or(|total| last < total);
    is_sound.then_some((first, total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(range("bytes 100-199/1000"), Some((100, Some(1000))));
        assert_eq!(range("bytes 0-0/*"), Some((0, None)));
        for unsound in ["bytes */1000", "bytes 5-4/10", "bytes 0-10/10", "bytes 0-9", "0-9/10", "bytes a-b/c", ""] {
            assert_eq!(range(unsound), None, "{unsound}");
        }
    }

    proptest! {
        #[test]
        fn any_range_is_read_or_not_but_never_panics(text in "(bytes )?[0-9*/ -]{0,40}") {
            let _ = range(&text);
        }
    }
}
