//! `/api/v1/sync` and `/api/v1/runs`: update now, how far it is, and how runs went.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::views::{ProgressView, RunDetails, RunView, SyncAccepted, SyncRequest, SyncView};
use crate::app::App;
use crate::app::runs::Wishes;
use crate::http::auth::{Allowed, Operate, Read};
use crate::http::body;
use crate::http::errors::{Answer, Problem};
use crate::store::Who;
use crate::store::audit::{Act, AuditResult, Doing};

/// The store remembers a thousand runs; a page of a hundred is what people look at.
const DEFAULT_RUNS: usize = 100;

/// Asks for an update run now.
#[utoipa::path(
    post, path = "/api/v1/sync", tag = "sync", security(("operate" = [])), request_body = SyncRequest,
    responses(
        (status = 202, description = "It will run", body = SyncAccepted),
        (status = 400, description = "Nothing is fetched here", body = crate::http::errors::Problem),
        (status = 409, description = "One is going on", body = crate::http::errors::Problem),
    )
)]
pub async fn start(caller: Allowed<Operate>, app: web::Data<App>, body: web::Payload) -> Answer {
    let body = body::read(body, "the request", super::MAX_JSON_BYTES).await?;
    // Without a body as with `{}`; but a word that is misspelt must not pass for one that was not said.
    let wanted: SyncRequest = match body.as_ref() {
        [] => SyncRequest::default(),
        body => serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request(format!("the request cannot be read: {error}")))?,
    };
    let SyncRequest { accept_version_rollback, ignore_cooldown } = wanted;
    let wishes = Wishes { accept_version_rollback, ignore_cooldown };
    let run = ask(app, caller.who, caller.from, wishes).await?;
    Ok(HttpResponse::Accepted().json(SyncAccepted { run }))
}

/// Asks for a run on somebody's behalf, and puts that into the trail; its number.
///
/// # Errors
/// One is going on; nothing is fetched here; or the store cannot be read.
pub async fn ask(app: web::Data<App>, who: Who, from: Option<String>, wishes: Wishes) -> Result<u64, Problem> {
    let Wishes { accept_version_rollback, ignore_cooldown } = wishes;
    let flags = [("accept_version_rollback", accept_version_rollback), ("ignore_cooldown", ignore_cooldown)];
    let flags: Vec<_> = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).collect();
    let detail = (!flags.is_empty()).then(|| flags.join(", "));
    let mut doing = Doing { who: who.clone(), from, act: Act::Sync, object: None, detail };
    let request = web::block(move || {
        let asked = app.update_now(wishes);
        doing.object = asked.as_ref().ok().map(|request| request.run.to_string());
        // A run on a disk that is full changes nothing, and is to be seen failing.
        app.tell(doing, AuditResult::of(&asked.as_ref().map_err(Clone::clone)));
        asked
    })
    .await??;
    tracing::info!(run = request.run, accept_version_rollback, ignore_cooldown, by = %who, "an update run was asked for");
    Ok(request.run)
}

/// The run that is going on, and the last one.
#[utoipa::path(
    get, path = "/api/v1/sync", tag = "sync", security(("read" = [])),
    responses((status = 200, description = "The run that is going on, and the last one", body = SyncView))
)]
pub async fn get(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let running = running(&app);
    let last =
        web::block(move || app.recent_runs(2)).await??.iter().find(|run| run.outcome.is_some()).map(RunView::from);
    Ok(HttpResponse::Ok().json(SyncView { running, last }))
}

/// How many.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// At most this many, newest first.
    limit: Option<usize>,
}

/// The last runs, newest first.
#[utoipa::path(
    get, path = "/api/v1/runs", tag = "sync", security(("read" = [])), params(Page),
    responses((status = 200, description = "Runs", body = Vec<RunView>))
)]
pub async fn runs(_: Allowed<Read>, app: web::Data<App>, page: web::Query<Page>) -> Answer {
    let limit = page.limit.unwrap_or(DEFAULT_RUNS).min(crate::store::KEPT_RUNS);
    let runs: Vec<_> = web::block(move || app.recent_runs(limit)).await??.iter().map(RunView::from).collect();
    Ok(HttpResponse::Ok().json(runs))
}

/// One run.
#[utoipa::path(
    get, path = "/api/v1/runs/{id}", tag = "sync", security(("read" = [])),
    params(("id" = u64, Path, description = "The run's number")),
    responses(
        (status = 200, description = "The run", body = RunDetails),
        (status = 404, description = "There is no such run", body = crate::http::errors::Problem),
    )
)]
pub async fn run(_: Allowed<Read>, app: web::Data<App>, id: web::Path<u64>) -> Answer {
    let run = web::block(move || app.run(*id)).await??.ok_or_else(|| Problem::not_found("such run"))?;
    Ok(HttpResponse::Ok().json(RunDetails::from(run)))
}

/// The run that is going on or waits to begin.
pub(super) fn running(app: &App) -> Option<ProgressView> {
    if let Some(progress) = app.runs.progress() {
        return Some(ProgressView::from(&*progress));
    }
    app.runs.asked().map(|request| ProgressView {
        run: request.run,
        started: None,
        trigger: request.trigger,
        entries: 0,
        files_done: 0,
        received_bytes: 0,
        file: None,
    })
}
