//! `/api/v1/history`: the fleet and the releases over time, which pictures are drawn of.

use actix_web::{HttpResponse, web};

use super::views::HistoryView;
use crate::app::App;
use crate::http::auth::{Allowed, Read};
use crate::http::errors::Answer;

/// Samples of the fleet, one every quarter of an hour and fewer of older days, for about a quarter of a year; and the releases
/// that there were, the newest thousand.
#[utoipa::path(
    get, path = "/api/v1/history", tag = "status", security(("read" = [])),
    responses((status = 200, description = "The fleet and the releases over time, oldest first", body = HistoryView))
)]
pub async fn get(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let history = web::block(move || app.history()).await??;
    Ok(HttpResponse::Ok().json(HistoryView { samples: history.samples, releases: history.releases }))
}
