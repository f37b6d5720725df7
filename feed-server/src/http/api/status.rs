//! `/api/v1/status`: Update Information and what stands around it.

use actix_web::{HttpResponse, web};
use bundles::report::Failure;
use bundles::update_information::{LastStatus, UpdateInformation};

use super::views::{ExpiryView, HeadendCount, ReleaseSummary, RunView, StatusView};
use crate::app::App;
use crate::app::facts::Expiry;
use crate::http::auth::{Allowed, Read};
use crate::http::errors::{Answer, Problem};
use crate::store::records::{Outcome, RunRecord};
use crate::{VERSION, headends};

/// Runs in the status: a day of them at two-hour intervals.
const RUNS: usize = 12;

/// The state of the server.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "status", security(("read" = [])),
    responses((status = 200, description = "The state of the server", body = StatusView))
)]
pub async fn get(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let view = web::block(move || view(&app)).await??;
    Ok(HttpResponse::Ok().json(view))
}

fn view(app: &App) -> Result<StatusView, Problem> {
    let runs = app.recent_runs(RUNS)?;
    let newest = app.store.newest_release()?.map(|release| release.manifest);
    let running = super::sync::running(app);
    let last_success = app.store.run_facts()?.last_success;
    let last_ended = runs.iter().find(|run| run.outcome.is_some());
    let last_status = if running.is_some() { LastStatus::Running } else { last_status(last_ended) };
    let counts = headends::count(app.now(), &app.headends()?, &app.release_times()?);
    Ok(StatusView {
        version: VERSION.to_owned(),
        role: "origin".to_owned(),
        update_information: UpdateInformation::new(last_success, last_status, newest.as_ref()),
        release: newest.as_ref().map(ReleaseSummary::from),
        next_run: app.runs.next_due(),
        running,
        last_failure: last_ended.filter(|run| failure(run).is_some()).map(RunView::from),
        runs: runs.iter().map(RunView::from).collect(),
        metadata_expires: app.metadata_expires().into_iter().map(expiry).collect(),
        headends: counts.into_iter().map(|(state, count)| HeadendCount { state, count }).collect(),
        public_url: app.publisher.public_url().map(|url| url.to_string()),
    })
}

fn expiry((repository, role, expires): Expiry) -> ExpiryView {
    ExpiryView { repository: repository.to_string(), role: role.to_string(), expires }
}

fn failure(run: &RunRecord) -> Option<&Failure> {
    match &run.outcome {
        Some(Outcome::Failed { failure }) => Some(failure),
        Some(Outcome::Released { .. } | Outcome::Unchanged) | None => None,
    }
}

fn last_status(last: Option<&RunRecord>) -> LastStatus {
    match last {
        None => LastStatus::None,
        Some(run) => match failure(run) {
            None => LastStatus::Successful { at: run.ended.unwrap_or(run.started) },
            Some(failure) => LastStatus::Failed { at: run.ended.unwrap_or(run.started), failure: failure.clone() },
        },
    }
}
