//! `/api/v1/releases/{serial}/evidence`: all that is known of where a release came from, and who runs it, to be filed.

use actix_web::{HttpResponse, web};
use bundles::{Reason, Serial};
use jiff::SignedDuration;

use super::views::{EvidenceView, ImportView, RunDetails, RunsIt};
use crate::app::App;
use crate::http::auth::{Admin, Allowed};
use crate::http::errors::{Answer, Problem};
use crate::store::audit::{Act, AuditRecord};
use crate::store::imports::{ImportOutcome, ImportRecord};
use crate::store::records::{Outcome, ReleaseRecord, RunRecord};
use crate::store::{Store, StoreError};

/// Records of the trail that are read at once.
const PAGE: usize = 1_000;

/// Releases that were made of one another, each by an operator: more than anybody does.
const MOST_AGAIN: usize = 100;

/// A release that is released again is recorded with that act, by a clock that shows whole seconds.
const AT_ONCE: SignedDuration = SignedDuration::from_mins(1);

/// Where a release came from, with what was presented and by whom, the digest of every file, and which headends run it now.
#[utoipa::path(
    get, path = "/api/v1/releases/{serial}/evidence", tag = "releases", security(("admin" = [])),
    params(("serial" = u64, Path, description = "The release's number")),
    responses(
        (status = 200, description = "What is known of it", body = EvidenceView),
        (status = 404, description = "There is no such release", body = crate::http::errors::Problem),
    )
)]
pub async fn get(_: Allowed<Admin>, app: web::Data<App>, serial: web::Path<Serial>) -> Answer {
    let serial = serial.into_inner();
    let view = web::block(move || view(&app, serial)).await??;
    let view = view.ok_or_else(|| {
        let detail = format!("there is no release {serial}; `feed-server release list` shows those that are retained");
        Problem::new(Reason::NotFound, detail)
    })?;
    Ok(HttpResponse::Ok().json(view))
}

fn view(app: &App, serial: Serial) -> Result<Option<EvidenceView>, StoreError> {
    let store = &app.store;
    let Some(release) = store.release(serial)? else { return Ok(None) };
    let (brought, lineage) = lineage(store, &release)?;
    let run = store.runs(usize::MAX)?.into_iter().find(|run| run_made(run, brought));
    let import = store.imports(usize::MAX)?.into_iter().find(|import| import_brought(import, brought));
    let acts = acts(store, |record| is_about(record, run.as_ref(), import.as_ref(), &release))?;
    let runs_it = app.headends()?.into_iter().filter_map(|(headend, report)| {
        let report = report.filter(|report| report.report.serial == Some(serial))?;
        Some(RunsIt { headend: headend.id, reported: report.received })
    });
    let got_index = app.ise_deployments()?.into_iter();
    let got_index = got_index.filter(|it| it.seen.given.is_some_and(|(given, _)| given == serial));
    Ok(Some(EvidenceView {
        taken: release.taken,
        manifest: release.manifest,
        content_of: lineage,
        run: run.map(RunDetails::from),
        import: import.as_ref().map(ImportView::from),
        acts,
        headends: runs_it.collect(),
        ise: got_index.map(|it| it.record.name).collect(),
        at: app.now(),
    }))
}

/// The release that its content came with, and those whose content each has again, the nearest first.
fn lineage(store: &Store, release: &ReleaseRecord) -> Result<(Serial, Vec<Serial>), StoreError> {
    let (mut of, mut brought, mut all) = (release.content_of, release.manifest.serial, Vec::new());
    while let Some(serial) = of.filter(|_| all.len() < MOST_AGAIN) {
        all.push(serial);
        brought = serial;
        of = store.release(serial)?.and_then(|earlier| earlier.content_of);
    }
    Ok((brought, all))
}

fn run_made(run: &RunRecord, made: Serial) -> bool {
    matches!(run.outcome, Some(Outcome::Released { serial }) if serial == made)
}

fn import_brought(import: &ImportRecord, brought: Serial) -> bool {
    matches!(import.outcome, Some(ImportOutcome::Imported { serial }) if serial == brought)
}

fn acts(store: &Store, is_about: impl Fn(&AuditRecord) -> bool) -> Result<Vec<AuditRecord>, StoreError> {
    let (mut acts, mut after) = (Vec::new(), 0);
    loop {
        let page = store.audit_after(after, PAGE)?;
        let Some(last) = page.last().map(|record| record.id) else { return Ok(acts) };
        after = last;
        acts.extend(page.into_iter().filter(&is_about));
    }
}

/// Whether it asked for the run, was the import, or released the content again at that time.
fn is_about(
    record: &AuditRecord,
    run: Option<&RunRecord>,
    import: Option<&ImportRecord>,
    release: &ReleaseRecord,
) -> bool {
    let is = |number: u64| record.doing.object.as_deref() == Some(number.to_string().as_str());
    match record.doing.act {
        Act::Sync => run.is_some_and(|run| is(run.id)),
        Act::Import => import.is_some_and(|import| is(import.id)),
        Act::ReleaseRepublish => {
            let after = record.at.duration_since(release.manifest.created);
            release.content_of.is_some_and(|of| is(of.get())) && (SignedDuration::ZERO..=AT_ONCE).contains(&after)
        }
        Act::TokenAdd
        | Act::TokenRevoke
        | Act::HeadendAdd
        | Act::HeadendToken
        | Act::HeadendRemove
        | Act::IseAdd
        | Act::IseRemove
        | Act::ReleaseHold
        | Act::ReleaseResume
        | Act::Login
        | Act::Logout
        | Act::KeysInit
        | Act::KeysChange
        | Act::KeysCancel
        | Act::KeysSign
        | Act::Backup
        | Act::Read
        | Act::Report
        | Act::Other
        | Act::AuditForget => false,
    }
}
