//! The public content: `/repo`, `/offline` and the vendor's layout, answered from one immutable picture of the tree.
//!
//! No path of a request ever reaches the file system: what is not in the picture is not there.

mod coding;
mod conditions;
mod range;
mod stream;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::PathBuf;

use actix_web::body::SizedStream;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _, web};
use arc_swap::ArcSwap;
use bundles::{Digest, Reason, Serial};
use bytes::Bytes;
use futures_util::stream::empty;

use self::coding::Accepted;
use self::conditions::Outcome;
pub(super) use self::conditions::http_date;
use self::range::{Part, Wanted};
use super::errors::Problem;
use crate::increments::{self, Prepared, Variant};
use crate::publish::{Body, Cache, Published, Repository, Served, ZipOrigin};

/// `web/secure/spa/posture-update.xml`: the one that is there as soon as there is a release.
const INDEX: &str = "/web/secure/spa/posture-update.xml";

/// What the vendor's layout is below.
pub(super) const VENDOR_LAYOUT: &str = "/web/secure/spa/";

/// How long an ISE node is asked to wait where there is no release yet: a first sync takes minutes.
const RETRY_AFTER_SECONDS: &str = "120";

/// Whose name says that it stands for one content (a digest, a version, a release number).
const IMMUTABLE: &str = "max-age=31536000, immutable";

/// May be kept, and is to be asked for again each time.
const REVALIDATE: &str = "no-cache";

/// Who made a zip: `vendor`, or `built-from-feed`.
pub(crate) const ZIP_ORIGIN_HEADER: &str = "posture-feed-zip-origin";

/// What answers hang on where content has or may have other forms.
const VARY: &str = "accept-encoding, available-dictionary";

/// RFC 9842, section 2.1.
const USE_AS_DICTIONARY: header::HeaderName = header::HeaderName::from_static("use-as-dictionary");

/// What was asked for of the vendor's layout, for whoever sees what ISE does; kept with the answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum OfVendorLayout {
    /// The index of that release.
    Index(Serial),
    /// An archive, and how long it is.
    Archive(Digest, u64),
    /// What is not there.
    Missing,
}

/// The routes. They need `web::Data<ArcSwap<Published>>` and `web::Data<ArcSwap<Prepared>>`, and answer GET and HEAD.
pub fn configure(cfg: &mut web::ServiceConfig) {
    // Templates that are worth counting apart come first; the last ones catch what is missing.
    for template in [
        "/repo/metadata/{file}",
        "/repo/targets/{file}",
        "/offline/metadata/{file}",
        "/offline/targets/{file}",
        "/offline/{file}",
        INDEX,
        "/web/secure/spa/r/{serial}/{file}",
        "/repo/{path:.*}",
        "/offline/{path:.*}",
        "/web/secure/spa/{path:.*}",
    ] {
        cfg.service(
            web::resource(template)
                .route(web::get().to(get))
                .route(web::head().to(get))
                .default_service(web::to(other_method)),
        );
    }
}

async fn get(
    request: HttpRequest,
    published: web::Data<ArcSwap<Published>>,
    prepared: web::Data<ArcSwap<Prepared>>,
) -> HttpResponse {
    let published = published.load_full();
    let path = request.path();
    // `+` is the one character of our names that some clients escape without need.
    let found = match published.get(path) {
        None if path.contains('%') => published.get(&path.replace("%2B", "+").replace("%2b", "+")),
        found => found,
    };
    let mut response = match found {
        Some(served) => answer(&request, served, &prepared.load_full()).await,
        None => missing(path, &published),
    };
    if path.starts_with(VENDOR_LAYOUT) {
        let asked = match (found, published.serial()) {
            (None, _) => Some(OfVendorLayout::Missing),
            (Some(_), Some(serial)) if path == INDEX => Some(OfVendorLayout::Index(serial)),
            (Some(served), _) if path != INDEX => Some(OfVendorLayout::Archive(served.sha256, served.length)),
            (Some(_), _) => None,
        };
        if let Some(asked) = asked {
            response.extensions_mut().insert(asked);
        }
    }
    response
}

async fn answer(request: &HttpRequest, served: &Served, prepared: &Prepared) -> HttpResponse {
    let accepted = Accepted::of(request.headers());
    // Parts are of the content itself (RFC 9110, section 14.2: ranges are defined for GET alone).
    let wants_part = request.method() == Method::GET && request.headers().contains_key(header::RANGE);
    let variant = if wants_part { None } else { accepted.choose(prepared.of(&served.sha256), served.length) };
    let tag = |variant: Option<&Variant>| match variant {
        Some(variant) => coding::etag(&served.sha256, variant.coding),
        None => served.etag.clone(),
    };
    let answered = tag(variant);
    let is_its = |tag: &str| accepted.may_be_tagged(tag, &served.etag);
    match conditions::evaluate(request.headers(), &answered, is_its, served.modified) {
        Outcome::Failed => {
            return problem(StatusCode::PRECONDITION_FAILED, Reason::BadRequest, "The file is another one by now.");
        }
        Outcome::NotModified(tag) => return with_validators(StatusCode::NOT_MODIFIED, served, &tag).finish(),
        Outcome::Send => {}
    }
    if let Some(variant) = variant
        && let Some(response) = coded(request, served, variant, &answered, prepared).await
    {
        return response;
    }
    identity(request, served, prepared, wants_part).await
}

/// Content in another form; `None` where that cannot be read, since the content itself is there.
async fn coded(
    request: &HttpRequest,
    served: &Served,
    variant: &Variant,
    etag: &str,
    prepared: &Prepared,
) -> Option<HttpResponse> {
    let whole = Part { first: 0, length: variant.length };
    let body = match &variant.body {
        increments::Body::Memory(bytes) => Content::Here(bytes.clone()),
        increments::Body::Stored if request.method() == Method::HEAD => Content::Here(Bytes::new()),
        increments::Body::Stored => match stream::open(prepared.opener(variant), variant.length, whole).await {
            Ok(body) => Content::Stream(body),
            Err(error) => {
                tracing::debug!(sha256 = %variant.sha256, %error, "a prepared form cannot be read; the content itself is sent");
                return None;
            }
        },
    };
    let mut response = with_validators(StatusCode::OK, served, etag);
    response.insert_header((header::CONTENT_TYPE, served.content_type));
    response.insert_header((header::CONTENT_ENCODING, variant.coding.as_str()));
    describe(&mut response, served, prepared);
    if request.method() == Method::HEAD {
        return Some(response.body(SizedStream::new(variant.length, empty::<Result<_, std::io::Error>>())));
    }
    Some(match body {
        Content::Here(bytes) => response.body(bytes),
        Content::Stream(stream) => response.body(stream),
    })
}

/// A body that is to be sent.
enum Content<S> {
    Here(Bytes),
    Stream(S),
}

/// The content as it is, or a part of it.
async fn identity(request: &HttpRequest, served: &Served, prepared: &Prepared, wants_part: bool) -> HttpResponse {
    let wanted = if wants_part {
        conditions::range(request.headers(), &served.etag, served.modified)
            .map_or(Wanted::Whole, |header| range::parse(header, served.length))
    } else {
        Wanted::Whole
    };
    let (status, part) = match wanted {
        Wanted::Whole => (StatusCode::OK, Part { first: 0, length: served.length }),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => {
            let mut response =
                problem(StatusCode::RANGE_NOT_SATISFIABLE, Reason::BadRequest, "The file is shorter than the range.");
            if let Ok(range) = header::HeaderValue::from_str(&format!("bytes */{}", served.length)) {
                response.headers_mut().insert(header::CONTENT_RANGE, range);
            }
            return response;
        }
    };
    let mut response = with_validators(status, served, &served.etag);
    response.insert_header((header::LAST_MODIFIED, http_date(served.modified)));
    response.insert_header((header::CONTENT_TYPE, served.content_type));
    response.insert_header((header::ACCEPT_RANGES, "bytes"));
    describe(&mut response, served, prepared);
    if status == StatusCode::PARTIAL_CONTENT {
        response.insert_header((header::CONTENT_RANGE, part.content_range(served.length)));
    }
    if request.method() == Method::HEAD {
        // A stream that is never read: only its length counts.
        return response.body(SizedStream::new(part.length, empty::<Result<_, std::io::Error>>()));
    }
    match &served.body {
        Body::Memory(bytes) => response.body(part.of(bytes)),
        Body::File(path) => match stream::open(opener(path.clone()), served.length, part).await {
            Ok(body) => response.body(body),
            Err(error) => unreadable(served, &error),
        },
    }
}

fn opener(path: PathBuf) -> impl FnOnce() -> std::io::Result<File> + Send + 'static {
    move || File::open(path)
}

/// What every answer about a file says, 304 too.
fn with_validators(status: StatusCode, served: &Served, etag: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    let cache = match served.cache {
        Cache::Immutable => IMMUTABLE,
        Cache::Revalidate => REVALIDATE,
    };
    response.insert_header((header::ETAG, etag));
    response.insert_header((header::CACHE_CONTROL, cache));
    if !is_compressed(served) {
        response.insert_header((header::VARY, VARY));
    }
    response
}

/// What only answers with content say.
fn describe(response: &mut HttpResponseBuilder, served: &Served, prepared: &Prepared) {
    if let Some(origin) = served.zip_origin {
        let origin = match origin {
            ZipOrigin::Vendor => "vendor",
            ZipOrigin::BuiltFromFeed => "built-from-feed",
        };
        response.insert_header((ZIP_ORIGIN_HEADER, origin));
    }
    if let Some(pattern) = served.dictionary_for.as_deref().filter(|_| prepared.is_base(served.length)) {
        response.insert_header((USE_AS_DICTIONARY, format!("match={pattern}")));
    }
}

/// Whether there is never another form of it.
fn is_compressed(served: &Served) -> bool {
    matches!(served.content_type, "application/gzip" | "application/zip")
}

/// A file of the picture that cannot be read: gone with its release a moment ago, or damage.
fn unreadable(served: &Served, error: &std::io::Error) -> HttpResponse {
    if error.kind() == std::io::ErrorKind::NotFound {
        return problem(StatusCode::NOT_FOUND, Reason::NotFound, Reason::NotFound.sentence());
    }
    tracing::error!(sha256 = %served.sha256, %error, "a published file cannot be read; check the disk");
    problem(StatusCode::INTERNAL_SERVER_ERROR, Reason::Storage, Reason::Storage.sentence())
}

fn missing(path: &str, published: &Published) -> HttpResponse {
    if path.starts_with("/repo/") && !published.has(Repository::Online) {
        // Not found, and not "later": `feed-client enroll` goes on to the offline repository.
        return problem(StatusCode::NOT_FOUND, Reason::NotFound, published.lacks(Repository::Online));
    }
    // Bundles are of the offline repository, and come with it. The zip for ISE is there without.
    let is_offline = |path: &str| {
        ["metadata/", "targets/", "posture-bundle"]
            .iter()
            .any(|part| path.strip_prefix("/offline/").is_some_and(|rest| rest.starts_with(part)))
    };
    if is_offline(path) && published.has(Repository::Online) && !published.has(Repository::Offline) {
        return problem(StatusCode::NOT_FOUND, Reason::NotFound, published.lacks(Repository::Offline));
    }
    let detail = match (path, published.serial()) {
        (INDEX | "/offline/posture-offline.zip" | "/offline/posture-bundle.zip", None) => {
            "There is no release yet; ask again after the first update."
        }
        (INDEX, Some(_)) if published.newest().is_some_and(|newest| newest.index.is_none()) => {
            "The newest release was made of the vendor's own zip, which holds no index: ISE takes the zip itself, from \
             /offline/posture-offline.zip, under Administration > System > Settings > Posture > Updates > Offline."
        }
        (INDEX, Some(_)) => {
            "There is a release, but no index for it here; [serve] public_url has to say what this server is called."
        }
        ("/offline/posture-offline.zip" | "/offline/posture-bundle.zip", Some(_)) => {
            "The zip of the first release is being built; ask again soon."
        }
        // Every refresh ends with this answer, so it is short.
        (path, _) if path.ends_with(".root.json") => {
            return problem(StatusCode::NOT_FOUND, Reason::NotFound, "There is no such root.");
        }
        _ => return problem(StatusCode::NOT_FOUND, Reason::NotFound, Reason::NotFound.sentence()),
    };
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, Reason::NotFound, detail);
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER_SECONDS));
    response
}

async fn other_method() -> HttpResponse {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, Reason::BadRequest, "Only GET and HEAD are known here.");
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    response
}

fn problem(status: StatusCode, reason: Reason, detail: &str) -> HttpResponse {
    Problem::with_status(status, reason, detail).error_response()
}
