//! `/api/v1/status`: Update Information and what stands around it.

use actix_web::{HttpResponse, web};
use bundles::Reasoned as _;
use bundles::report::Failure;
use bundles::update_information::{LastStatus, UpdateInformation};

use super::views::{
    CooldownView, ExpiryView, HeadendCount, ImportProgressView, ImportView, PasswordRefusedView, PresentedView,
    ReleaseSummary, RunView, ServerCertificateView, StatusView,
};
use crate::app::facts::Expiry;
use crate::app::{App, if_readable};
use crate::http::auth::{Allowed, Read};
use crate::http::errors::Answer;
use crate::store::free_bytes;
use crate::store::records::{Outcome, RunRecord};
use crate::upstream::shown;
use crate::{VERSION, headends};

/// Runs in the status: a day of them at two-hour intervals.
const RUNS: usize = 12;

/// The state of the server.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "status", security(("read" = [])),
    responses((status = 200, description = "The state of the server", body = StatusView))
)]
pub async fn get(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let view = web::block(move || view(&app)).await?;
    Ok(HttpResponse::Ok().json(view))
}

/// Where the catalog cannot be read, what is known without it.
#[must_use]
pub fn view(app: &App) -> StatusView {
    let facts = app.store.run_facts();
    let cannot_store =
        facts.as_ref().err().map(|error| format!("nothing new can be stored: {}", error.reason().sentence()));
    let last_success = if_readable(facts).last_success;
    let runs = match app.recent_runs(RUNS) {
        Ok(runs) => runs,
        Err(_) => app.runs.last().into_iter().collect(),
    };
    let newest = app.newest();
    let running = super::sync::running(app);
    let last_ended = runs.iter().find(|run| run.outcome.is_some());
    let last_status = if running.is_some() { LastStatus::Running } else { last_status(last_ended) };
    let (headends, releases) = (if_readable(app.headends()), if_readable(app.release_times()));
    let counts = headends::count(app.now(), &headends, &releases);
    let learned = app.learned();
    StatusView {
        version: VERSION.to_owned(),
        role: app.role().to_string(),
        follows: app.followed().map(shown),
        update_information: UpdateInformation::new(last_success, last_status, newest.as_ref()),
        release: newest.as_ref().map(|newest| ReleaseSummary {
            content_of: if_readable(app.store.release(newest.serial)).and_then(|release| release.content_of),
            ..ReleaseSummary::from(newest)
        }),
        holding: app.holding(),
        cannot_store,
        cannot_publish: app.publisher.failure(),
        next_run: app.runs.next_due(),
        sync_interval_seconds: app.config.upstream.fetches().then_some(app.config.schedule.every.as_secs()),
        store_free_bytes: free_bytes(&app.config.data.directory).ok(),
        running,
        importing: app.runs.importing().as_deref().map(ImportProgressView::from),
        last_import: if_readable(app.recent_imports(2))
            .iter()
            .find(|import| import.outcome.is_some())
            .map(ImportView::from),
        last_failure: last_ended.filter(|run| failure(run).is_some()).map(RunView::from),
        server_certificate: app.certificate.get().map(|certificate| ServerCertificateView::of(certificate)),
        warnings: app.warnings_of(&learned),
        upstream_chain: learned.chains.presented.map(PresentedView::from),
        cooldowns: app.cooling().iter().map(CooldownView::from).collect(),
        proxy_password_refused: app.password_refused().as_ref().map(PasswordRefusedView::from),
        runs: runs.iter().map(RunView::from).collect(),
        metadata_expires: app.metadata_expires().into_iter().map(expiry).collect(),
        headends: counts.into_iter().map(|(state, count)| HeadendCount { state, count }).collect(),
        public_url: app.publisher.public_url().map(|url| url.to_string()),
    }
}

fn expiry((repository, role, expires): Expiry) -> ExpiryView {
    ExpiryView { repository: repository.to_string(), role: role.to_string(), expires }
}

fn failure(run: &RunRecord) -> Option<&Failure> {
    match &run.outcome {
        Some(Outcome::Failed { failure }) => Some(failure),
        Some(Outcome::Released { .. } | Outcome::Unchanged | Outcome::Held { .. }) | None => None,
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
