//! `/api/v1/keys`: signing keys by fingerprint, and the roots that headends trust.

use actix_web::{HttpResponse, web};
use bundles::report::Failure;
use bundles::{Digest, Reason, Reasoned as _};

use super::audit::recorded;
use super::views::{KeyView, KeysChange, KeysView, NextRootView, RootView};
use crate::app::App;
use crate::http::auth::{Admin, Allowed, Read};
use crate::http::body;
use crate::http::errors::{Answer, Problem};
use crate::publish::{Change, PublishError, Repository, Request, Role};
use crate::store::audit::Act;
use crate::upstream::trusted_root;

/// Two roots with scores of keys and signatures.
const MAX_REQUEST_BYTES: usize = 256 << 10;

/// The signing keys' fingerprints, and those of the roots.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys", security(("read" = [])),
    responses((status = 200, description = "Fingerprints", body = KeysView))
)]
pub async fn list(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let keys = app.publisher.keys().into_iter().map(|key| KeyView {
        repository: key.repository.to_string(),
        role: key.role.to_string(),
        key_id: key.key_id,
        fingerprint: key.fingerprint.to_string(),
        at_hand: key.path.is_some(),
    });
    let roots = Repository::ALL.into_iter().filter_map(|repository| {
        let fingerprint = app.publisher.root_fingerprint(repository)?.to_string();
        Some(RootView { repository: repository.to_string(), fingerprint })
    });
    let (keys, roots) = (keys.collect(), roots.collect());
    let (trusted_root, waiting) = web::block(move || (trusted(&app), app.publisher.waiting_roots())).await?;
    let waiting = waiting.map_err(|error| problem(&error))?.into_iter().map(NextRootView::from).collect();
    Ok(HttpResponse::Ok().json(KeysView { keys, roots, trusted_root, waiting }))
}

/// Makes the next root: other keys, another threshold, or the same with a later end.
#[utoipa::path(
    post, path = "/api/v1/keys/changes", tag = "keys", security(("admin" = [])), request_body = KeysChange,
    responses(
        (status = 200, description = "The next root of each repository; in place where no signatures are lacking", body = Vec<NextRootView>),
        (status = 400, description = "There can be no such root, or one waits already", body = crate::http::errors::Problem),
        (status = 404, description = "There is no such key", body = crate::http::errors::Problem),
    )
)]
pub async fn change(caller: Allowed<Admin>, app: web::Data<App>, wanted: web::Json<KeysChange>) -> Answer {
    let (repositories, change) = read(wanted.into_inner())?;
    let what = change.words();
    let asked = app.clone();
    let rotated = recorded(&app, caller.doing(Act::KeysChange).with(&what), async move {
        asked.publisher.change_keys(repositories, change, asked.now()).await.map_err(|error| problem(&error))
    })
    .await?;
    tracing::info!(what, ?rotated, by = %caller.who, "made the next root");
    Ok(HttpResponse::Ok().json(rotated.into_iter().map(NextRootView::from).collect::<Vec<_>>()))
}

fn read(wanted: KeysChange) -> Result<(Vec<Repository>, Change), Problem> {
    let KeysChange { repositories, roles, remove, public, root_keys: make, threshold } = wanted;
    let unknown = |what: &str, name: &str| Problem::bad_request(format!("there is no {what} {name:?}"));
    let repositories: Vec<_> = repositories
        .iter()
        .map(|name| Repository::of(name).ok_or_else(|| unknown("repository", name)))
        .collect::<Result<_, _>>()?;
    let repositories = if repositories.is_empty() { Repository::ALL.to_vec() } else { repositories };
    let roles =
        roles.iter().map(|name| Role::of(name).ok_or_else(|| unknown("role", name))).collect::<Result<_, _>>()?;
    let public = public.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
    let public = public.map_err(|error| Problem::bad_request(format!("a public key cannot be read: {error}")))?;
    Ok((repositories, Change { roles, remove, public, make, threshold }))
}

/// The roots that wait for signatures, to be carried to where root keys are.
#[utoipa::path(
    get, path = "/api/v1/keys/request", tag = "keys", security(("admin" = [])),
    responses(
        (status = 200, description = "The request, for `feed-server keys sign`", body = Object),
        (status = 404, description = "No root waits for signatures", body = crate::http::errors::Problem),
    )
)]
pub async fn request(_: Allowed<Admin>, app: web::Data<App>) -> Answer {
    let request = app.publisher.signing_request(app.now()).await.map_err(|error| problem(&error))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(request.to_bytes()))
}

/// Gives up the roots that wait for signatures, and the keys that were made for them.
#[utoipa::path(
    delete, path = "/api/v1/keys/request", tag = "keys", security(("admin" = [])),
    responses(
        (status = 204, description = "They wait no longer"),
        (status = 404, description = "No root waits for signatures", body = crate::http::errors::Problem),
    )
)]
pub async fn cancel(caller: Allowed<Admin>, app: web::Data<App>) -> Answer {
    let asked = app.clone();
    let given_up = recorded(&app, caller.doing(Act::KeysCancel), async move {
        asked.publisher.cancel_keys(asked.now()).await.map_err(|error| problem(&error))
    })
    .await?;
    tracing::info!(?given_up, by = %caller.who, "gave up roots that waited for signatures");
    Ok(HttpResponse::NoContent().finish())
}

/// Takes signatures that were made elsewhere: a request that was signed.
#[utoipa::path(
    post, path = "/api/v1/keys/signatures", tag = "keys", security(("admin" = [])), request_body = Object,
    responses(
        (status = 200, description = "The roots; in place where no signatures are lacking", body = Vec<NextRootView>),
        (status = 400, description = "It cannot be read", body = crate::http::errors::Problem),
        (status = 404, description = "No root waits for signatures", body = crate::http::errors::Problem),
    )
)]
pub async fn sign(caller: Allowed<Admin>, app: web::Data<App>, body: web::Payload) -> Answer {
    let signed = body::read(body, "a signed request", MAX_REQUEST_BYTES).await?;
    let signed = Request::read(&signed).map_err(|error| Problem::from(Failure::of(&error)))?;
    let asked = app.clone();
    let rotated = recorded(&app, caller.doing(Act::KeysSign), async move {
        asked.publisher.import_signatures(signed, asked.now()).await.map_err(|error| problem(&error))
    })
    .await?;
    tracing::info!(?rotated, by = %caller.who, "took signatures of roots");
    Ok(HttpResponse::Ok().json(rotated.into_iter().map(NextRootView::from).collect::<Vec<_>>()))
}

/// What was asked for and cannot be is told; what went wrong inside is for the log.
fn problem(error: &PublishError) -> Problem {
    match error {
        PublishError::Change(error) => Failure::of(error).into(),
        error => Problem::inside(error),
    }
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
