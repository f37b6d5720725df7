//! What a page is answered with where it cannot be shown: a page that says so, or the way to the log-in.

use actix_web::error::BlockingError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use bundles::report::Failure;
use maud::html;

use super::{layout, live};
use crate::http::errors::{HTML, Problem};
use crate::store::StoreError;

/// The answer of a page's handler.
pub(super) type Shown = Result<HttpResponse, Unshown>;

/// Why a page is not shown.
#[derive(Debug)]
pub(super) struct Unshown {
    problem: Problem,
    /// What was asked for by somebody who is to log in first, and can be shown after that.
    log_in_for: Option<String>,
}

impl Unshown {
    /// Whoever asks is to log in. A person is led there; a page that asks by itself is told, and leads there.
    pub(super) fn unknown(request: &HttpRequest, problem: Problem) -> Self {
        let asked = if request.method().is_safe() { request.uri().to_string() } else { "/".to_owned() };
        Self { problem, log_in_for: (!live::is_by_itself(request)).then_some(asked) }
    }
}

impl From<Problem> for Unshown {
    fn from(problem: Problem) -> Self {
        Self { problem, log_in_for: None }
    }
}

impl From<StoreError> for Unshown {
    fn from(error: StoreError) -> Self {
        Problem::from(error).into()
    }
}

impl From<BlockingError> for Unshown {
    fn from(error: BlockingError) -> Self {
        Problem::from(error).into()
    }
}

impl From<Failure> for Unshown {
    fn from(failure: Failure) -> Self {
        Problem::from(failure).into()
    }
}

impl std::fmt::Display for Unshown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl ResponseError for Unshown {
    fn status_code(&self) -> StatusCode {
        if self.log_in_for.is_some() { StatusCode::SEE_OTHER } else { self.problem.status_code() }
    }

    fn error_response(&self) -> HttpResponse {
        if let Some(asked) = &self.log_in_for {
            return to(&super::login::address(asked));
        }
        // Headers such as `Retry-After` are the same for programs and for people.
        let mut response = self.problem.error_response();
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(HTML));
        let body = html! {
            h1 { (self.problem.title) }
            p #problem { (self.problem.detail) }
            p.hint { "Reason: " code { (self.problem.reason) } }
            p { a href="/" { "Back to Posture updates" } }
        };
        response.set_body(layout::bare(&self.problem.title, &body).into_string()).map_into_boxed_body()
    }
}

/// Leads the browser to another page, by GET.
pub(super) fn to(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
}

/// An act is done: a person is led to the page that shows it, and a script stays where it is.
pub(super) fn done(request: &HttpRequest, path: &str) -> HttpResponse {
    if live::is_by_itself(request) { HttpResponse::NoContent().finish() } else { to(path) }
}
