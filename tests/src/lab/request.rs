//! What was asked of the lab upstream, for tests and people to read.

use hyper::Request;
use hyper::header::{self, HeaderName};
use serde::Serialize;

/// How many requests are remembered: a long demo must not grow without end, and no scenario looks back further.
pub(super) const MAX_LOGGED: usize = 10_000;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedRequest {
    /// Such as `GET`.
    pub method: String,
    /// With the query, where there is one.
    pub path: String,
    /// The `Host` header.
    pub host: Option<String>,
    /// The condition on the content's tag.
    pub if_none_match: Option<String>,
    /// The condition on the content's date.
    pub if_modified_since: Option<String>,
    /// The part asked for.
    pub range: Option<String>,
    /// Who asked.
    pub user_agent: Option<String>,
    /// The answer's status.
    pub status: u16,
}

impl LoggedRequest {
    pub(super) fn new<B>(request: &Request<B>, status: u16) -> Self {
        let header =
            |name: HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned);
        Self {
            method: request.method().to_string(),
            path: request.uri().path_and_query().map_or_else(|| request.uri().path(), |p| p.as_str()).to_owned(),
            host: header(header::HOST),
            if_none_match: header(header::IF_NONE_MATCH),
            if_modified_since: header(header::IF_MODIFIED_SINCE),
            range: header(header::RANGE),
            user_agent: header(header::USER_AGENT),
            status,
        }
    }

    /// Whether the request depends on a tag or a date.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.if_none_match.is_some() || self.if_modified_since.is_some()
    }
}
