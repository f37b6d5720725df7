//! Errors as `application/problem+json` (RFC 9457) with the reason; no path and nothing of the inside leaks.

use actix_web::error::{JsonPayloadError, PayloadError};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use bundles::report::Failure;
use bundles::{Reason, Reasoned};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The media type of the console's pages, among them those that say what is wrong.
pub const HTML: &str = "text/html; charset=utf-8";

/// What an error's body says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status, again.
    pub status: u16,
    /// The HTTP status in words.
    pub title: String,
    /// The reason's word.
    #[schema(value_type = String, example = "bad_request")]
    pub reason: Reason,
    /// What happened, to what, and what to do next.
    pub detail: String,
    /// Seconds to wait before it is worth another try, as `Retry-After`.
    #[serde(skip)]
    #[schema(ignore)]
    pub retry_after: Option<u64>,
}

/// The answer of a handler that may fail.
pub type Answer = Result<HttpResponse, Problem>;

impl Problem {
    /// With the reason's usual status.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self::with_status(status_of(reason), reason, detail)
    }

    /// With a status of one's own.
    #[must_use]
    pub fn with_status(status: StatusCode, reason: Reason, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { status: status.as_u16(), title, reason, detail: detail.into(), retry_after: None }
    }

    /// From an error whose message may name what is inside: that goes to the log, the reason's sentence to the client.
    #[must_use]
    pub fn inside(error: &dyn Reasoned) -> Self {
        let reason = error.reason();
        tracing::error!(reason = reason.as_str(), error = error.whole_message(), "a request failed");
        Self::new(reason, reason.sentence())
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Reason::NotFound, format!("there is no {what} here; check the address"))
    }

    /// None of those that `feed-server {kind} list` shows is called that. The name is quoted: it is whatever a client sent.
    #[must_use]
    pub fn none_called(kind: &str, name: &str) -> Self {
        let detail = format!("there is no {kind} {name:?}; `feed-server {kind} list` shows those that there are");
        Self::new(Reason::NotFound, detail)
    }

    /// For an error of which nothing but the status is to be told.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        let reason = match status {
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::URI_TOO_LONG => Reason::TooLarge,
            StatusCode::REQUEST_TIMEOUT => Reason::Timeout,
            StatusCode::NOT_FOUND => Reason::NotFound,
            status if status.is_server_error() => Reason::Internal,
            _ => Reason::BadRequest,
        };
        Self::with_status(status, reason, reason.sentence())
    }

    /// The request's body was given up.
    #[must_use]
    pub fn too_slow() -> Self {
        let detail = "the request's body came too slowly; what is on the way here lets hardly anything through";
        Self::with_status(StatusCode::REQUEST_TIMEOUT, Reason::Timeout, detail)
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, detail)
    }
}

/// The failure's message was written for people outside; it is passed on.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::new(failure.reason, failure.message)
    }
}

impl From<crate::store::StoreError> for Problem {
    fn from(error: crate::store::StoreError) -> Self {
        Self::inside(&error)
    }
}

/// The pool of threads for blocking work is gone: the server is stopping.
impl From<actix_web::error::BlockingError> for Problem {
    fn from(_: actix_web::error::BlockingError) -> Self {
        Self::with_status(StatusCode::SERVICE_UNAVAILABLE, Reason::Internal, "the server is stopping; try again later")
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.detail, self.reason)
    }
}

impl std::error::Error for Problem {}

impl Reasoned for Problem {
    fn reason(&self) -> Reason {
        self.reason
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, PROBLEM_JSON));
        // A cache must not go on saying that the next root is not there once it is.
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"posture-feed\""));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The status that goes with a reason where nothing says otherwise.
#[must_use]
pub const fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::BadRequest | Reason::BadArchive | Reason::DigestMismatch | Reason::Expectation => {
            StatusCode::BAD_REQUEST
        }
        Reason::Unauthorized => StatusCode::UNAUTHORIZED,
        Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::Busy
        | Reason::VersionRollback
        | Reason::Rollback
        | Reason::Freeze
        | Reason::Signature
        | Reason::Expired => StatusCode::CONFLICT,
        Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::RateLimited | Reason::Cooldown => StatusCode::TOO_MANY_REQUESTS,
        Reason::Storage | Reason::Internal | Reason::Clock | Reason::HookFailed => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Reason::Dns
        | Reason::Connect
        | Reason::ProxyConnect
        | Reason::ProxyAuth
        | Reason::ProxyRefused
        | Reason::TlsUntrusted
        | Reason::TlsExpired
        | Reason::TlsName
        | Reason::TlsIntercepted
        | Reason::HttpStatus
        | Reason::NotAFeed
        | Reason::HostNotAllowed
        | Reason::Truncated => StatusCode::BAD_GATEWAY,
    }
}

/// What no route fits.
pub async fn no_such_route() -> Answer {
    Err(Problem::not_found("such address"))
}

/// A route that knows these methods and not the request's.
#[must_use]
pub fn no_such_method(request: &HttpRequest, allow: &str) -> HttpResponse {
    let detail =
        format!("{} is not among this address's methods ({allow}); see /api/v1/openapi.json", request.method());
    let problem = Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, Reason::BadRequest, detail);
    let mut response = problem.error_response();
    if let Ok(allow) = header::HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// For extractors' configurations: whatever they refuse is the client's to mend.
pub fn refused(error: &impl ResponseError) -> actix_web::Error {
    let reason =
        if error.status_code() == StatusCode::PAYLOAD_TOO_LARGE { Reason::TooLarge } else { Reason::BadRequest };
    Problem::new(reason, format!("the request cannot be read: {error}")).into()
}

/// The same of bodies in JSON.
pub fn json_refused(error: &JsonPayloadError) -> actix_web::Error {
    match error {
        JsonPayloadError::Payload(error) if came_too_slowly(error) => Problem::too_slow().into(),
        error => refused(error),
    }
}

/// Whether it is an error that is none of ours.
#[must_use]
pub fn is_foreign<B>(answer: &HttpResponse<B>) -> bool {
    let status = answer.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_ours = |kind: &header::HeaderValue| kind == PROBLEM_JSON || kind == HTML;
    is_error && !answer.headers().get(header::CONTENT_TYPE).is_some_and(is_ours)
}

/// Whether a body was given up since it came too slowly.
#[must_use]
pub fn came_too_slowly(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_an_error_status() {
        for reason in Reason::ALL {
            let status = status_of(*reason);
            assert!(status.is_client_error() || status.is_server_error(), "{reason}");
        }
    }

    #[test]
    fn what_is_inside_stays_inside() {
        let error = crate::store::StoreError::InUse { path: "/var/lib/secret".into() };
        let problem = Problem::from(error);
        assert!(!problem.detail.contains("secret"), "{problem}");
        assert_eq!((problem.status, problem.reason), (409, Reason::Busy));
    }

    #[actix_web::test]
    async fn the_body_says_all_of_it() {
        let response = Problem::new(Reason::Unauthorized, "no token").error_response();
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), PROBLEM_JSON);
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "status": 401, "title": "Unauthorized", "reason": "unauthorized", "detail": "no token"
        });
        assert_eq!(body, expected);
    }
}
