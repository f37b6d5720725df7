//! Counts every request by route template, and the bytes of its answer. Labels come from closed sets, never from input.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, web};
use prometheus::IntCounter;

use super::content::OfVendorLayout;
use crate::app::App;
use crate::app::ise::Asked;

/// What no route fits.
const UNMATCHED: &str = "unmatched";

/// For `actix_web::middleware::from_fn`.
///
/// # Errors
/// Those of what it wraps.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let app = request.app_data::<web::Data<App>>().cloned();
    let method = request.method().clone();
    let response = match next.call(request).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) => {
            if let Some(app) = app {
                count(&app, UNMATCHED, &method, error.as_response_error().status_code(), began);
            }
            return Err(error);
        }
    };
    let Some(app) = app else { return Ok(response) };
    let observed = Observed::of(&app, &response);
    let pattern = response.request().match_pattern();
    count(&app, pattern.as_deref().unwrap_or(UNMATCHED), &method, response.status(), began);
    if method == Method::HEAD {
        return Ok(response);
    }
    let observed = observed.and_then(|observed| observed.unless_done(response.status()));
    let encoding = encoding(response.headers().get(header::CONTENT_ENCODING));
    let sent = app.metrics.http.sent_bytes_total.with_label_values(&[encoding]);
    Ok(response.map_body(|_, body| Counted { body, sent, observed }.boxed()))
}

fn count(app: &App, route: &str, method: &Method, status: StatusCode, began: Instant) {
    let metrics = &app.metrics.http;
    metrics.http_requests_total.with_label_values(&[route, method_label(method), status.as_str()]).inc();
    if status == StatusCode::NOT_FOUND && route.starts_with(super::content::VENDOR_LAYOUT) {
        metrics.vendor_layout_misses_total.with_label_values::<&str>(&[]).inc();
    }
    metrics.http_request_duration_seconds.0.with_label_values(&[route]).observe(began.elapsed().as_secs_f64());
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn encoding(value: Option<&header::HeaderValue>) -> &'static str {
    match value.map(header::HeaderValue::as_bytes) {
        Some(b"dcz") => "dcz",
        Some(b"zstd") => "zstd",
        Some(b"gzip") => "gzip",
        Some(_) | None => "identity",
    }
}

/// A request of the vendor's layout, until it is known what came of it.
struct Observed {
    app: web::Data<App>,
    from: IpAddr,
    asked: OfVendorLayout,
    path: String,
    /// Bytes that the answer lacks still.
    left: u64,
}

impl Observed {
    /// Of the network alone: who opens the control socket is no ISE node.
    fn of(app: &web::Data<App>, response: &ServiceResponse<BoxBody>) -> Option<Self> {
        let asked = response.response().extensions().get::<OfVendorLayout>().copied()?;
        let from = response.request().peer_addr()?.ip();
        let path = response.request().path().to_owned();
        let left = match (asked, response.status()) {
            (OfVendorLayout::Archive(_, length), StatusCode::PARTIAL_CONTENT) => {
                let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
                last_part(range, length)?
            }
            _ => match response.response().body().size() {
                BodySize::Sized(length) => length,
                BodySize::None | BodySize::Stream => 0,
            },
        };
        Some(Self { app: app.clone(), from, asked, path, left })
    }

    /// Itself, where it hangs on the body: an archive that breaks off is none.
    fn unless_done(self, status: StatusCode) -> Option<Self> {
        match (self.asked, status) {
            (OfVendorLayout::Missing, StatusCode::NOT_FOUND) | (_, StatusCode::NOT_MODIFIED) => self.tell(),
            (OfVendorLayout::Index(_) | OfVendorLayout::Archive(..), StatusCode::OK | StatusCode::PARTIAL_CONTENT) => {
                return Some(self);
            }
            _ => {}
        }
        None
    }

    fn sent(&mut self, bytes: u64) {
        if self.left > 0 && bytes >= self.left {
            self.tell();
        }
        self.left = self.left.saturating_sub(bytes);
    }

    fn tell(&self) {
        let asked = match self.asked {
            OfVendorLayout::Index(serial) => Asked::Index(serial),
            OfVendorLayout::Archive(sha256, _) => Asked::Archive(sha256),
            OfVendorLayout::Missing => Asked::Missing(&self.path),
        };
        self.app.ise.asked(self.from, asked, self.app.now());
    }
}

/// How many bytes a part has that ends where the file does: who fetched the rest before has all of it then.
fn last_part(range: &str, length: u64) -> Option<u64> {
    let (first, last) = range.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (last + 1 == length).then(|| length - first)
}

struct Counted {
    body: BoxBody,
    sent: IntCounter,
    observed: Option<Observed>,
}

impl MessageBody for Counted {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.sent.inc_by(bytes.len() as u64);
            if let Some(observed) = &mut self.observed {
                observed.sent(bytes.len() as u64);
            }
        }
        polled
    }

    /// What is in memory is handed on whole, without a box around it: that is what clients poll.
    fn try_into_bytes(self) -> Result<Bytes, Self> {
        let Self { body, sent, mut observed } = self;
        match body.try_into_bytes() {
            Ok(bytes) => {
                sent.inc_by(bytes.len() as u64);
                if let Some(observed) = &mut observed {
                    observed.sent(bytes.len() as u64);
                }
                Ok(bytes)
            }
            Err(body) => Err(Self { body, sent, observed }),
        }
    }
}
