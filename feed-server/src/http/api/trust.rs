//! `/api/v1/trust`: what a bundle is held to here, for whoever looks at one without importing it.

use actix_web::{HttpResponse, web};

use super::views::{ReleaseSummary, TrustView};
use crate::app::App;
use crate::http::auth::{Allowed, Read};
use crate::http::errors::Answer;

/// What a bundle is held to here.
#[utoipa::path(
    get, path = "/api/v1/trust", tag = "imports", security(("read" = [])),
    responses((status = 200, description = "What a bundle is held to here", body = TrustView))
)]
pub async fn get(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let view = web::block(move || {
        let trust = app.bundle_trust()?;
        Ok::<_, bundles::report::Failure>(TrustView {
            role: app.role().to_string(),
            root: String::from_utf8_lossy(&trust.root).into_owned(),
            held: trust.floors.held,
            highest_serial: trust.floors.highest_serial,
            signed_time: trust.floors.signed_time,
            release: app.newest().as_ref().map(ReleaseSummary::from),
            limits: app.config.limits.clone(),
            max_upload: app.config.bundles.max_upload,
        })
    })
    .await??;
    Ok(HttpResponse::Ok().json(view))
}
