//! The administrators' API, and the headends' report. `/api/v1/openapi.json` describes it.

pub mod audit;
pub mod backup;
pub mod description;
pub mod evidence;
pub mod headends;
pub mod history;
pub mod holding;
pub mod imports;
pub mod ise;
pub mod keys;
pub mod monitoring;
pub mod releases;
pub mod report;
pub mod settings;
pub mod status;
pub mod sync;
pub mod tokens;
pub mod trust;
pub mod views;

use actix_web::error::JsonPayloadError;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{Route, web};
use bundles::Reason;

use super::errors::{self, Problem};
use super::routes::{self, At, to};

/// What all of them begin with.
const BASE: &str = "/api/v1";

/// Bodies of the API are some hundreds of bytes; more is not for it.
const MAX_JSON_BYTES: usize = 64 << 10;

/// Every route, those of one path one after the other.
fn routes() -> Vec<At> {
    let get = |path, handler: Route| At(path, Method::GET, handler);
    let (post, delete) = (
        |path, handler: Route| At(path, Method::POST, handler),
        |path, handler: Route| At(path, Method::DELETE, handler),
    );
    vec![
        get("/openapi.json", to(description::openapi)),
        get("/status", to(status::get)),
        get("/settings", to(settings::get)),
        get("/history", to(history::get)),
        get("/releases", to(releases::list)),
        post("/releases/hold", to(holding::hold)),
        post("/releases/resume", to(holding::resume)),
        get("/releases/{serial}", to(releases::get)),
        get("/releases/{serial}/evidence", to(evidence::get)),
        post("/releases/{serial}/republish", to(holding::republish)),
        get("/sync", to(sync::get)),
        post("/sync", to(sync::start)),
        get("/runs", to(sync::runs)),
        get("/runs/{id}", to(sync::run)),
        get("/imports", to(imports::list)),
        post("/imports", to(imports::take)),
        get("/imports/{id}", to(imports::get)),
        get("/trust", to(trust::get)),
        get("/headends", to(headends::list)),
        post("/headends", to(headends::add)),
        get("/headends/{id}", to(headends::get)),
        delete("/headends/{id}", to(headends::remove)),
        post("/headends/{id}/token", to(headends::token)),
        At("/headends/{id}/report", Method::PUT, to(report::put)),
        get("/ise", to(ise::list)),
        post("/ise", to(ise::add)),
        get("/ise/guide", to(ise::guide)),
        delete("/ise/{name}", to(ise::remove)),
        get("/tokens", to(tokens::list)),
        post("/tokens", to(tokens::add)),
        delete("/tokens/{name}", to(tokens::revoke)),
        get("/keys", to(keys::list)),
        post("/keys/changes", to(keys::change)),
        get("/keys/request", to(keys::request)),
        delete("/keys/request", to(keys::cancel)),
        post("/keys/signatures", to(keys::sign)),
        get("/keys/root/{repository}", to(keys::root)),
        get("/audit", to(audit::list)),
        get("/backup", to(backup::get)),
    ]
}

/// Registers the routes.
pub fn configure(config: &mut web::ServiceConfig) {
    let mut api = web::scope(BASE)
        .wrap(DefaultHeaders::new().add(("cache-control", "no-store")))
        .wrap(from_fn(audit::note_refusals))
        .app_data(web::JsonConfig::default().limit(MAX_JSON_BYTES).error_handler(|error, _| unreadable(&error)))
        .app_data(web::PathConfig::default().error_handler(|error, _| errors::refused(&error)))
        .app_data(web::QueryConfig::default().error_handler(|error, _| errors::refused(&error)));
    for resource in routes::resources(routes()) {
        api = api.service(resource);
    }
    config.service(api.default_service(web::to(errors::no_such_route)));
}

fn unreadable(error: &JsonPayloadError) -> actix_web::Error {
    match error {
        JsonPayloadError::ContentType => {
            let detail = "the request is not said to be JSON; send `Content-Type: application/json`";
            Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, Reason::BadRequest, detail).into()
        }
        error => errors::json_refused(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::OpenApi as _;
    use utoipa::openapi::path::PathItem;

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let registered: BTreeSet<_> =
            routes().into_iter().map(|At(path, method, _)| (format!("{BASE}{path}"), method.to_string())).collect();
        let mut described = BTreeSet::new();
        for (path, item) in description::Description::openapi().paths.paths {
            let PathItem { get, put, post, delete, patch, head, options, .. } = item;
            let methods = [
                ("GET", get),
                ("PUT", put),
                ("POST", post),
                ("DELETE", delete),
                ("PATCH", patch),
                ("HEAD", head),
                ("OPTIONS", options),
            ];
            let known = methods.into_iter().filter(|(_, operation)| operation.is_some());
            described.extend(known.map(|(method, _)| (path.clone(), method.to_owned())));
        }
        assert_eq!(registered, described);
    }
}
