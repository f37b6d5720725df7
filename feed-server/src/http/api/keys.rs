//! `/api/v1/keys`: signing keys by fingerprint, and the roots that headends trust.

use actix_web::{HttpResponse, web};
use bundles::{Digest, Reason, Reasoned as _};

use super::views::{KeyView, KeysView, RootView};
use crate::app::App;
use crate::http::auth::{Allowed, Read};
use crate::http::errors::{Answer, Problem};
use crate::publish::{Keys, Repository};
use crate::upstream::trusted_root;

/// The signing keys' fingerprints, and those of the roots.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys", security(("read" = [])),
    responses((status = 200, description = "Fingerprints", body = KeysView))
)]
pub async fn list(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let keys = app.keys.iter().flat_map(Keys::fingerprints).map(|key| KeyView {
        repository: key.repository.to_string(),
        role: key.role.to_string(),
        key_id: key.key_id,
        fingerprint: key.fingerprint.to_string(),
    });
    let roots = Repository::ALL.into_iter().filter_map(|repository| {
        let fingerprint = app.publisher.root_fingerprint(repository)?.to_string();
        Some(RootView { repository: repository.to_string(), fingerprint })
    });
    let (keys, roots) = (keys.collect(), roots.collect());
    let trusted_root = web::block(move || trusted(&app)).await?;
    Ok(HttpResponse::Ok().json(KeysView { keys, roots, trusted_root }))
}

/// The root that a relay trusts.
fn trusted(app: &App) -> Option<String> {
    match trusted_root(&app.config.upstream) {
        Ok(root) => root.map(|root| Digest::of(&root).to_string()),
        Err(error) => {
            tracing::warn!(
                reason = error.reason().as_str(),
                error = error.whole_message(),
                "the trusted root is not told"
            );
            None
        }
    }
}

/// A repository's newest root file, byte for byte.
#[utoipa::path(
    get, path = "/api/v1/keys/root/{repository}", tag = "keys", security(("read" = [])),
    params(("repository" = String, Path, description = "`online` or `offline`")),
    responses(
        (status = 200, description = "The root file", body = Object),
        (status = 404, description = "There is no such repository, or this relay has not received it", body = crate::http::errors::Problem),
    )
)]
pub async fn root(_: Allowed<Read>, app: web::Data<App>, repository: web::Path<String>) -> Answer {
    let repository = Repository::ALL.into_iter().find(|known| known.to_string() == *repository);
    let repository = repository.ok_or_else(|| Problem::not_found("such repository"))?;
    match app.publisher.root_json(repository) {
        Some(root) => Ok(HttpResponse::Ok().content_type("application/json").body(root)),
        None => Err(Problem::new(Reason::NotFound, app.published.load().lacks(repository))),
    }
}
