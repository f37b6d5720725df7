//! `/api/v1/openapi.json`: the API, as machines read it. What every route of a kind can answer is said here once.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{
    audit, backup, evidence, headends, history, holding, imports, ise, keys, releases, report, settings, status, sync,
    tokens, trust,
};
use crate::http::errors::PROBLEM_JSON;

/// The description of every route.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Posture Feed", description = "Administrators' API of a feed-server, and the headends' report."),
    paths(
        openapi, status::get, settings::get, history::get, releases::list, releases::get,
        evidence::get, holding::hold, holding::resume, holding::republish, sync::start, sync::get, sync::runs, sync::run,
        imports::take, imports::list, imports::get, trust::get,
        headends::list, headends::get, headends::add, headends::remove, headends::token, report::put,
        ise::list, ise::add, ise::guide, ise::remove, tokens::list, tokens::add, tokens::revoke, keys::list, keys::root, keys::change, keys::request,
        keys::cancel, keys::sign, audit::list, backup::get,
    ),
    modifiers(&Schemes, &Refusals)
)]
pub struct Description;

/// The ways to prove who one is.
#[derive(Debug)]
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        for (name, whose) in [
            ("read", "An administrator's token of any scope"),
            ("operate", "An administrator's token with scope operate or admin"),
            ("admin", "An administrator's token with scope admin"),
            (HEADEND, "The headend's own token; or, in its place, a client certificate that names it"),
            ("control", "None over the network: the control socket alone, which is its owner's"),
        ] {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(whose)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

const HEADEND: &str = "headend";

/// What routes answer besides what each says of itself; and that whatever goes wrong is a problem (RFC 9457).
#[derive(Debug)]
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            let PathItem { get, put, post, delete, patch, .. } = item;
            for operation in [get, put, post, delete, patch].into_iter().flatten() {
                describe(path, operation);
            }
        }
    }
}

fn describe(path: &str, operation: &mut Operation) {
    let mut also =
        vec![("500", "It cannot be read or stored, or a mistake of the server's"), ("503", "The server is stopping")];
    let headend = SecurityRequirement::new::<_, [&str; 0], &str>(HEADEND, []);
    match operation.security.as_deref() {
        None | Some([]) => {}
        Some([anyone]) if *anyone == SecurityRequirement::default() => {}
        Some(schemes) => {
            also.push(("401", "No token, or one that is not known, has ended, or is not for this"));
            also.push(("429", "Too many wrong tokens from this address; `Retry-After` says for how long"));
            if !schemes.contains(&headend) {
                also.push(("403", "The token's scope is too small"));
            }
        }
    }
    if path.contains('{') {
        also.push(("404", "There is no such thing"));
    }
    if path.contains('{') || operation.parameters.is_some() || operation.request_body.is_some() {
        also.push(("400", "The request cannot be read"));
    }
    if operation.request_body.is_some() {
        also.push(("413", "The request is larger than is taken"));
        also.push(("415", "The request is of another type"));
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in also {
        responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(ResponseBuilder::new().description(description).build()));
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
        {
            as_problem(response);
        }
    }
}

fn as_problem(response: &mut Response) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    response.content.clear();
    response.content.insert(PROBLEM_JSON.to_owned(), content.into());
}

/// Anyone may ask for it, so it is made once.
static OPENAPI: LazyLock<String> = LazyLock::new(|| Description::openapi().to_json().unwrap_or_default());

/// This description, as JSON.
#[must_use]
pub fn text() -> &'static str {
    &OPENAPI
}

/// This description.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "description", security(()),
    responses((status = 200, description = "The description of every route", body = Object))
)]
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text())
}
