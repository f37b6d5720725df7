//! `/api/v1/audit`: who did what. It is read here, and written by whatever happens; no route changes it.

use std::future::Future;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, rt, web};
use bundles::Reason;
use serde::Deserialize;

use super::views::AuditView;
use crate::app::App;
use crate::headends;
use crate::http::auth::{Admin, Allowed, Refused, peer};
use crate::http::errors::{Answer, Problem};
use crate::store::audit::{Act, AuditResult, Doing};
use crate::store::{Batch, Store};

/// A page of a hundred is what people look at, and a thousand are some hundred KiB.
const DEFAULT_RECORDS: usize = 100;
const MOST_RECORDS: usize = 1_000;

/// Which records.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Those with larger numbers, the next ones first; without it the newest.
    after: Option<u64>,
    /// At most this many; 100 without it, and 1000 at most.
    limit: Option<usize>,
}

/// Records of who did what, in the order in which it happened.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", security(("admin" = [])), params(Page),
    responses((status = 200, description = "Records, by their numbers", body = AuditView))
)]
pub async fn list(_: Allowed<Admin>, app: web::Data<App>, page: web::Query<Page>) -> Answer {
    let limit = page.limit.unwrap_or(DEFAULT_RECORDS).min(MOST_RECORDS);
    let view = web::block(move || {
        let Some(after) = page.after else {
            return Ok(AuditView { records: app.store.audit_newest(limit)?, more: false });
        };
        let mut records = app.store.audit_after(after, limit + 1)?;
        let more = records.len() > limit;
        records.truncate(limit);
        Ok::<_, Problem>(AuditView { records, more })
    })
    .await??;
    Ok(HttpResponse::Ok().json(view))
}

/// Looks at the store and changes it, together with the record of who did so.
///
/// # Errors
/// Those of `plan`, which then changed nothing; or the store cannot be read or written.
pub(super) async fn changed(
    app: web::Data<App>,
    doing: Doing,
    plan: impl FnOnce(&Store) -> Result<Batch, Problem> + Send + 'static,
) -> Result<(), Problem> {
    web::block(move || app.audited(doing, plan)).await?
}

/// For acts that write by themselves and take a while: that it began is in the trail before, and how it ended after. Goes on
/// whether or not anybody waits.
///
/// # Errors
/// Those of `act`; or it cannot be recorded, and then was not begun.
pub(super) async fn recorded<T: 'static>(
    app: &web::Data<App>,
    doing: Doing,
    act: impl Future<Output = Result<T, Problem>> + 'static,
) -> Result<T, Problem> {
    let app = app.clone();
    let going = rt::spawn(async move {
        let (trail, begun) = (app.clone(), doing.clone());
        web::block(move || trail.record(begun, AuditResult::Begun)).await??;
        let ended = act.await;
        let result = AuditResult::of(&ended);
        web::block(move || app.tell(doing, result)).await?;
        ended
    });
    going.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an act did not come to its end");
        Err(Problem::new(Reason::Internal, Reason::Internal.sentence()))
    })
}

/// What a request is after.
fn act_of(request: &HttpRequest) -> Act {
    let method = request.method();
    act(method, request.match_pattern().unwrap_or_default().as_str())
}

/// What a request of a route is after: one of the API's, or of the console's.
pub(in crate::http) fn act(method: &Method, route: &str) -> Act {
    match (method.as_str(), route.strip_prefix("/api/v1").unwrap_or(route)) {
        ("POST", "/tokens") => Act::TokenAdd,
        ("DELETE", "/tokens/{name}") => Act::TokenRevoke,
        ("POST", "/headends") => Act::HeadendAdd,
        ("POST", "/headends/{id}/token") => Act::HeadendToken,
        ("DELETE", "/headends/{id}") => Act::HeadendRemove,
        ("PUT", "/headends/{id}/report") => Act::Report,
        ("POST", "/sync" | "/updates/now") => Act::Sync,
        ("POST", "/login") => Act::Login,
        ("POST", "/logout") => Act::Logout,
        ("POST", "/imports" | "/import/upload" | "/import/{id}/take" | "/import/{id}/forget") => Act::Import,
        ("POST", "/ise") => Act::IseAdd,
        ("DELETE", "/ise/{name}") | ("POST", "/ise/{name}/remove") => Act::IseRemove,
        ("POST", "/releases/hold") => Act::ReleaseHold,
        ("POST", "/releases/resume") => Act::ReleaseResume,
        ("POST", "/releases/{serial}/republish") => Act::ReleaseRepublish,
        ("POST", "/keys/changes") => Act::KeysChange,
        ("DELETE", "/keys/request") => Act::KeysCancel,
        ("POST", "/keys/signatures") => Act::KeysSign,
        ("GET", "/backup") => Act::Backup,
        ("GET" | "HEAD", _) => Act::Read,
        _ => Act::Other,
    }
}

/// Puts attempts that were refused into the trail before they are answered. For `actix_web::middleware::from_fn`: outside of the
/// handlers, since what they take is read while their first argument waits, and nobody without a token is to make that happen.
///
/// # Errors
/// Those of what it wraps.
pub async fn note_refusals(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let response = next.call(request).await?;
    let request = response.request();
    let refused = request.extensions_mut().remove::<Refused>();
    if let (Some(refused), Some(app)) = (refused, request.app_data::<web::Data<App>>().cloned()) {
        let address = request.peer_addr().map(|peer| peer.ip());
        // Whatever else a client wrote there is nobody's name.
        let object = request.match_info().iter().map(|(_, value)| value).next().filter(|value| headends::is_id(value));
        let object = object.map(str::to_owned);
        let doing = Doing { who: refused.who, from: peer(request), act: act_of(request), object, detail: None };
        web::block(move || app.refused(doing, refused.reason, address)).await.map_err(Problem::from)?;
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi as _;
    use utoipa::openapi::path::PathItem;

    use super::*;

    #[test]
    fn whatever_changes_something_is_an_act_of_its_own() {
        let described = crate::http::api::description::Description::openapi();
        let mut acts = 0;
        for (path, PathItem { post, put, delete, patch, .. }) in &described.paths.paths {
            for (method, operation) in
                [(Method::POST, post), (Method::PUT, put), (Method::DELETE, delete), (Method::PATCH, patch)]
            {
                if operation.is_some() {
                    assert_ne!(act(&method, path), Act::Other, "{method} {path}");
                    acts += 1;
                }
            }
        }
        assert!(acts > 10, "{acts}");
    }
}
