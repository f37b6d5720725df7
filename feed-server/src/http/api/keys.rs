//! `/api/v1/keys`: signing keys by fingerprint, and the roots that headends trust.

use actix_web::{HttpResponse, web};

use super::views::{KeyView, KeysView, RootView};
use crate::app::App;
use crate::http::auth::{Allowed, Read};
use crate::http::errors::{Answer, Problem};
use crate::publish::Repository;

/// The signing keys' fingerprints, and those of the roots.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys", security(("read" = [])),
    responses((status = 200, description = "Fingerprints", body = KeysView))
)]
pub async fn list(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let keys = app.keys.fingerprints().into_iter().map(|key| KeyView {
        repository: key.repository.to_string(),
        role: key.role.to_string(),
        key_id: key.key_id,
        fingerprint: key.fingerprint.to_string(),
    });
    let roots = Repository::ALL.into_iter().map(|repository| RootView {
        repository: repository.to_string(),
        fingerprint: app.publisher.root_fingerprint(repository).to_string(),
    });
    Ok(HttpResponse::Ok().json(KeysView { keys: keys.collect(), roots: roots.collect() }))
}

/// A repository's newest root file, byte for byte.
#[utoipa::path(
    get, path = "/api/v1/keys/root/{repository}", tag = "keys", security(("read" = [])),
    params(("repository" = String, Path, description = "`online` or `offline`")),
    responses(
        (status = 200, description = "The root file", body = Object),
        (status = 404, description = "There is no such repository", body = crate::http::errors::Problem),
    )
)]
pub async fn root(_: Allowed<Read>, app: web::Data<App>, repository: web::Path<String>) -> Answer {
    let repository = Repository::ALL.into_iter().find(|known| known.to_string() == *repository);
    let repository = repository.ok_or_else(|| Problem::not_found("such repository"))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(app.publisher.root_json(repository)))
}
