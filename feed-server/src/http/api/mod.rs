//! The administrators' API, and the headends' report. `/api/v1/openapi.json` describes it.

pub mod audit;
pub mod backup;
pub mod headends;
pub mod imports;
pub mod keys;
pub mod monitoring;
pub mod releases;
pub mod report;
pub mod status;
pub mod sync;
pub mod tokens;
pub mod trust;
pub mod views;

use std::sync::LazyLock;

use actix_web::{HttpResponse, Resource, web};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::errors::no_such_method;

/// Bodies of the API are some hundreds of bytes; more is not for it.
const MAX_JSON_BYTES: usize = 64 << 10;

/// The description of every route below.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Posture Feed", description = "Administrators' API of a feed-server, and the headends' report."),
    paths(
        status::get, releases::list, releases::get, sync::start, sync::get, sync::runs, sync::run,
        imports::take, imports::list, imports::get, trust::get,
        headends::list, headends::get, headends::add, headends::remove, headends::token, report::put,
        tokens::list, tokens::add, tokens::revoke, keys::list, keys::root, keys::change, keys::request,
        keys::cancel, keys::sign, backup::get, audit::list,
    ),
    modifiers(&Schemes)
)]
pub struct Description;

/// The ways to prove who one is.
#[derive(Debug)]
struct Schemes;

impl utoipa::Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        for (name, whose) in [
            ("read", "An administrator's token of any scope"),
            ("operate", "An administrator's token with scope operate or admin"),
            ("admin", "An administrator's token with scope admin"),
            ("headend", "The headend's own token"),
            ("control", "None over the network: the control socket alone, which is its owner's"),
        ] {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(whose)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// Anyone may ask for it, so it is made once.
static OPENAPI: LazyLock<String> = LazyLock::new(|| Description::openapi().to_json().unwrap_or_default());

async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(OPENAPI.as_str())
}

/// The routes.
pub fn configure(config: &mut web::ServiceConfig) {
    let at = |path: &str| -> Resource { web::resource(path).default_service(web::to(no_such_method)) };
    let api = web::scope("/api/v1")
        .wrap(actix_web::middleware::DefaultHeaders::new().add(("cache-control", "no-store")))
        .wrap(actix_web::middleware::from_fn(audit::note_refusals))
        .app_data(
            web::JsonConfig::default().limit(MAX_JSON_BYTES).error_handler(|error, _| super::errors::refused(&error)),
        )
        .app_data(web::PathConfig::default().error_handler(|error, _| super::errors::refused(&error)))
        .app_data(web::QueryConfig::default().error_handler(|error, _| super::errors::refused(&error)))
        .service(at("/openapi.json").route(web::get().to(openapi)))
        .service(at("/audit").route(web::get().to(audit::list)))
        .service(at("/status").route(web::get().to(status::get)))
        .service(at("/releases").route(web::get().to(releases::list)))
        .service(at("/releases/{serial}").route(web::get().to(releases::get)))
        .service(at("/sync").route(web::get().to(sync::get)).route(web::post().to(sync::start)))
        .service(at("/runs").route(web::get().to(sync::runs)))
        .service(at("/runs/{id}").route(web::get().to(sync::run)))
        .service(at("/imports").route(web::get().to(imports::list)).route(web::post().to(imports::take)))
        .service(at("/trust").route(web::get().to(trust::get)))
        .service(at("/imports/{id}").route(web::get().to(imports::get)))
        .service(at("/headends").route(web::get().to(headends::list)).route(web::post().to(headends::add)))
        .service(at("/headends/{id}").route(web::get().to(headends::get)).route(web::delete().to(headends::remove)))
        .service(at("/headends/{id}/token").route(web::post().to(headends::token)))
        .service(at("/headends/{id}/report").route(web::put().to(report::put)))
        .service(at("/tokens").route(web::get().to(tokens::list)).route(web::post().to(tokens::add)))
        .service(at("/tokens/{name}").route(web::delete().to(tokens::revoke)))
        .service(at("/backup").route(web::get().to(backup::get)))
        .service(at("/keys").route(web::get().to(keys::list)))
        .service(at("/keys/changes").route(web::post().to(keys::change)))
        .service(at("/keys/request").route(web::get().to(keys::request)).route(web::delete().to(keys::cancel)))
        .service(at("/keys/signatures").route(web::post().to(keys::sign)))
        .service(at("/keys/root/{repository}").route(web::get().to(keys::root)))
        .default_service(web::to(super::errors::no_such_route));
    config.service(api);
}
