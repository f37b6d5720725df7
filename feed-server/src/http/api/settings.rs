//! `/api/v1/settings`: what is configured, and where each value comes from.

use actix_web::{HttpResponse, web};

use super::views::SettingsView;
use crate::app::App;
use crate::http::auth::{Admin, Allowed};
use crate::http::errors::Answer;

/// The configuration that this server runs with. It names paths and hosts, so it is for administrators; secrets are left out.
#[utoipa::path(
    get, path = "/api/v1/settings", tag = "status", security(("admin" = [])),
    responses((status = 200, description = "The configuration, and where each value comes from", body = SettingsView))
)]
pub async fn get(_: Allowed<Admin>, app: web::Data<App>) -> Answer {
    let view = web::block(move || SettingsView::new(app.config.origins.file(), &app.settings())).await?;
    Ok(HttpResponse::Ok().json(view))
}
