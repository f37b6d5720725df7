//! The operators' console: pages for people, made here, readable without JavaScript, and of nothing but this server's own.
//!
//! Pages show what the API shows and do what it does, by the same functions of [`crate::app`]; whoever looks is known by a
//! `session::Session`. A page is a file that gives its `layout::Place` and routes to the two tables in here.

mod answers;
mod assets;
mod audit;
mod forms;
mod headends;
mod hold;
mod import;
mod ise;
mod layout;
mod live;
mod login;
mod releases;
mod session;
mod settings;
mod updates;
mod words;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, Route, web};

use self::layout::Place;
use super::api::audit::note_refusals;
use super::errors;
use super::routes::{At, resources, to};

/// The pages that the navigation leads to, in its order. The first one is where people arrive.
const NAVIGATION: &[Place] =
    &[updates::PLACE, releases::PLACE, headends::PLACE, ise::PLACE, import::PLACE, settings::PLACE, audit::PLACE];

/// Every route.
fn routes() -> Vec<At> {
    let get = |path, handler: fn() -> Route| [At(path, Method::GET, handler()), At(path, Method::HEAD, handler())];
    let post = |path, handler: Route| [At(path, Method::POST, handler)];
    let mut routes = Vec::new();
    routes.extend(get("/", || to(updates::page)));
    routes.extend(get("/live/updates", || to(updates::live)));
    routes.extend(post("/updates/now", to(updates::now)));
    routes.extend(get("/releases", || to(releases::list)));
    routes.extend(post("/releases/hold", to(hold::hold)));
    routes.extend(post("/releases/resume", to(hold::resume)));
    routes.extend(get("/releases/{serial}", || to(releases::one)));
    routes.extend(post("/releases/{serial}/republish", to(hold::republish)));
    routes.extend(get("/headends", || to(headends::list)));
    routes.extend(get("/live/headends", || to(headends::live)));
    routes.extend(get("/headends/{id}", || to(headends::one)));
    routes.extend(get("/import", || to(import::page)));
    routes.extend(get("/live/imports", || to(import::live)));
    routes.extend(post("/import/upload", to(import::upload)));
    routes.extend(post("/import/{id}/take", to(import::take)));
    routes.extend(post("/import/{id}/forget", to(import::forget)));
    routes.extend(get("/settings", || to(settings::page)));
    routes.extend(get("/ise", || to(ise::list)));
    routes.extend(post("/ise", to(ise::add)));
    routes.extend(get("/ise/connect", || to(ise::connect)));
    routes.extend(post("/ise/{name}/remove", to(ise::remove)));
    routes.extend(get("/audit", || to(audit::list)));
    routes.extend(get("/login", || to(login::page)));
    routes.extend(post("/login", to(login::log_in)));
    routes.extend(get("/login/state", || to(login::state)));
    routes.extend(post("/logout", to(login::log_out)));
    routes.extend(get(assets::ROUTE, || to(assets::get)));
    routes
}

/// What a page may load and do: its own style, scripts and pictures, and nothing that is written into it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Other sites are told nothing; this one is told that a form is its own, which `no-referrer` would withhold from it (Fetch,
/// "append a request `Origin` header").
const REFERRER: &str = "same-origin";

/// Registers the routes.
pub fn configure(config: &mut web::ServiceConfig) {
    for resource in resources(routes()) {
        let resource = resource
            .app_data(web::PathConfig::default().error_handler(|error, _| errors::refused(&error)))
            .app_data(web::QueryConfig::default().error_handler(|error, _| errors::refused(&error)))
            .wrap(from_fn(note_refusals))
            .wrap(from_fn(dress));
        config.service(resource);
    }
}

/// Says what browsers may do with pages, where [`super::server`] says what they may not do with data.
async fn dress(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(REFERRER));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::api::audit::act;
    use crate::store::audit::Act;

    #[test]
    fn the_navigation_leads_to_pages() {
        let pages: BTreeSet<_> =
            routes().iter().filter(|At(_, method, _)| method == Method::GET).map(|At(path, ..)| *path).collect();
        assert!(NAVIGATION.iter().all(|place| pages.contains(place.path)), "{pages:?}");
        assert_eq!(NAVIGATION[0].path, "/");
    }

    #[test]
    fn whatever_changes_something_is_an_act_of_its_own() {
        for At(path, method, _) in routes() {
            let is_change = !matches!(method.as_str(), "GET" | "HEAD");
            assert!(!is_change || !matches!(act(&method, path), Act::Other | Act::Read), "{method} {path}");
        }
    }
}
