//! `/api/v1/releases`: what there is to run.

use actix_web::{HttpResponse, web};
use bundles::{Reason, Serial};

use super::views::{ReleaseDetails, ReleaseSummary};
use crate::app::App;
use crate::http::auth::{Allowed, Read};
use crate::http::errors::{Answer, Problem};

/// Retained releases, newest first.
#[utoipa::path(
    get, path = "/api/v1/releases", tag = "releases", security(("read" = [])),
    responses((status = 200, description = "Retained releases", body = Vec<ReleaseSummary>))
)]
pub async fn list(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let releases = web::block(move || app.store.releases(app.config.data.retain_releases)).await??;
    let summaries: Vec<_> = releases.iter().map(ReleaseSummary::from).collect();
    Ok(HttpResponse::Ok().json(summaries))
}

/// One release's manifest, and which one's content it has again.
#[utoipa::path(
    get, path = "/api/v1/releases/{serial}", tag = "releases", security(("read" = [])),
    params(("serial" = u64, Path, description = "The release's number")),
    responses(
        (status = 200, description = "The release's manifest", body = Object),
        (status = 404, description = "There is no such release", body = crate::http::errors::Problem),
    )
)]
pub async fn get(_: Allowed<Read>, app: web::Data<App>, serial: web::Path<Serial>) -> Answer {
    let serial = serial.into_inner();
    let release = web::block(move || app.store.release(serial)).await??;
    let release = release.ok_or_else(|| {
        let detail = format!("there is no release {serial}; `feed-server release list` shows those that are retained");
        Problem::new(Reason::NotFound, detail)
    })?;
    Ok(HttpResponse::Ok().json(ReleaseDetails { manifest: release.manifest, content_of: release.content_of }))
}
