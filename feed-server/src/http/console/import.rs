//! Import: a zip is brought, looked at, and imported when somebody says so.

use std::sync::Arc;

use actix_multipart::{Multipart, MultipartError};
use actix_web::{HttpRequest, web};
use bundles::diagnosis::Mark;
use bundles::inspection::Inspection;
use bundles::report::Failure;
use bundles::{Component, Manifest, Version};
use futures_util::StreamExt as _;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::answers::{Shown, to};
use super::forms::{self, Posted};
use super::layout::{self, Content, Place};
use super::live::Part;
use super::session::{Session, check_site};
use super::words;
use crate::app::App;
use crate::app::imports::{ImportProgress, ImportStep};
use crate::app::runs::Wishes;
use crate::app::uploads::{Found, Upload};
use crate::http::api::imports::{hand_over, plain};
use crate::http::api::views::ImportView;
use crate::http::auth::{Operate, Read};
use crate::http::errors::{Problem, came_too_slowly};
use crate::store::StoreError;
use crate::store::audit::{Act, AuditResult};
use crate::store::imports::ImportKind;
use crate::store::records::Scope;

/// Where it is.
pub(super) const PLACE: Place = Place { name: "Import", path: "/import", least: Scope::Read };

const LIVE: &str = "/live/imports";

/// Imports that are listed.
const ROWS: usize = 20;

/// Between the connection and the disk: some ten KiB each.
const PIECES: usize = 16;

/// The field of the form that is the file; the one before it is the proof.
const FILE: &str = "zip";

/// No proof is longer.
const MAX_PROOF_BYTES: usize = 256;

/// Which zip is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Query {
    /// One that was just brought.
    upload: Option<String>,
}

/// Shows where to bring a zip, those that wait, and the last imports.
pub(super) async fn page(session: Session<Read>, app: web::Data<App>, query: web::Query<Query>) -> Shown {
    layout::show(session, app, &PLACE, move |app, session| {
        let may = session.may(Scope::Operate);
        let waiting = if may { app.uploads.waiting() } else { Vec::new() };
        let part = part(app)?;
        let newest = app.newest();
        let body = html! {
            h1 { "Import" }
            @if let Some(id) = &query.upload && may && !waiting.iter().any(|upload| upload.id == *id) {
                p.note.warn role="status" { "That zip is not here any more: it was imported, or waited for too long." }
            }
            @for upload in &waiting { (look(app, session, upload, newest.as_ref())) }
            @if may { (bring(app, session)) } @else {
                p.hint { "A token with scope " code { "operate" } " may import." }
            }
            @if part.is_busy { noscript { p { a href=(PLACE.path) { "Load this page again" } " to see how far the import is." } } }
            (part.within(LIVE))
        };
        Ok(Content { title: PLACE.name.to_owned(), body })
    })
    .await
}

/// What is going on, and what became of the last ones.
pub(super) async fn live(_: Session<Read>, app: web::Data<App>) -> Shown {
    let part = web::block(move || part(&app)).await??;
    Ok(part.alone())
}

fn part(app: &App) -> Result<Part, StoreError> {
    let running = app.runs.importing();
    let imports: Vec<ImportView> = app.recent_imports(ROWS)?.iter().map(ImportView::from).collect();
    let says = match (&running, imports.first()) {
        (Some(_), _) => "An import is going on.".to_owned(),
        (None, Some(last)) => format!("Import {}: {}", last.id, sentence(last)),
        (None, None) => String::new(),
    };
    let content = html! {
        @if let Some(running) = &running { (progress(running)) }
        (list(&imports))
    };
    Ok(Part { is_busy: running.is_some(), says, content })
}

/// Takes a zip as a form sends it (RFC 7578): the proof first, so that nothing is kept of what a stranger sends.
pub(super) async fn upload(
    session: Session<Operate>,
    request: HttpRequest,
    app: web::Data<App>,
    body: web::Payload,
) -> Shown {
    check_site(&request)?;
    let mut form = Multipart::new(request.headers(), body);
    let proof = first_field(&mut form).await?;
    session.check(&request, &proof)?;
    let mut file = match form.next().await {
        Some(Ok(field)) if field.name() == Some(FILE) => field,
        Some(Err(error)) => return Err(broken(&error).into()),
        Some(Ok(_)) | None => return Err(Problem::bad_request("the form holds no file; choose one first").into()),
    };
    let name = file.content_disposition().and_then(|disposition| disposition.get_filename()).map(plain);
    let name = name.filter(|name| !name.is_empty());
    let (sender, pieces) = mpsc::channel(PIECES);
    let (taking, by) = (app.clone(), session.name.clone());
    let taken = tokio::task::spawn_blocking(move || taking.take_upload(by, name, pieces));
    hand_over(&mut file, was_slow, sender).await;
    let taken = taken.await.map_err(|error| Problem::from(crate::app::internal(&error)))?;
    match taken {
        Ok(upload) => Ok(to(&format!("{}?upload={}", PLACE.path, upload.id))),
        Err(failure) => {
            let (doing, reason) = (session.doing(Act::Import), failure.reason);
            web::block(move || app.tell(doing, AuditResult::Failed(reason))).await?;
            Err(crate::http::api::imports::refused(&failure).into())
        }
    }
}

async fn first_field(form: &mut Multipart) -> Result<String, Problem> {
    let missing = || Problem::bad_request("the form does not begin with its proof; load the page again");
    let mut field = match form.next().await {
        Some(Ok(field)) if field.name() == Some(forms::PROOF) => field,
        Some(Err(error)) => return Err(broken(&error)),
        Some(Ok(_)) | None => return Err(missing()),
    };
    let mut proof = Vec::new();
    while let Some(bytes) = field.next().await {
        proof.extend_from_slice(&bytes.map_err(|error| broken(&error))?);
        if proof.len() > MAX_PROOF_BYTES {
            return Err(missing());
        }
    }
    String::from_utf8(proof).map_err(|_| missing())
}

fn was_slow(error: &MultipartError) -> bool {
    matches!(error, MultipartError::Payload(error) if came_too_slowly(error))
}

fn broken(error: &MultipartError) -> Problem {
    match error {
        error if was_slow(error) => Problem::too_slow(),
        error => {
            tracing::info!(%error, "a form with a file cannot be read");
            Problem::bad_request(
                "the form did not arrive whole, or is none; load the page again, and choose the file once more",
            )
        }
    }
}

/// What is wished of an import.
#[derive(Debug, Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    accept_version_rollback: Option<String>,
}

/// Imports one that waits.
pub(super) async fn take(app: web::Data<App>, id: web::Path<String>, posted: Posted<Operate, Fields>) -> Shown {
    let Posted { session, form } = posted;
    let Some(upload) = app.uploads.find(&id) else { return Ok(to(&format!("{}?upload=gone", PLACE.path))) };
    let wishes = Wishes { accept_version_rollback: form.accept_version_rollback.is_some(), ..Wishes::default() };
    let (app, doing) = (app.into_inner(), session.doing(Act::Import));
    // On this thread, whose runtime goes on with it.
    let asked = app.import_upload(&upload, session.name.clone(), session.from.clone(), wishes);
    if let Err(failure) = asked {
        let doing = match &upload.name {
            Some(name) => doing.with(name.clone()),
            None => doing,
        };
        let reason = failure.reason;
        // One that begins is recorded by whoever does it.
        web::block(move || app.tell(doing, AuditResult::Failed(reason))).await?;
        return Err(failure.into());
    }
    Ok(to(PLACE.path))
}

/// Nothing but the proof.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// Forgets one that waits.
pub(super) async fn forget(app: web::Data<App>, id: web::Path<String>, _: Posted<Operate, Nothing>) -> Shown {
    app.uploads.forget(&id);
    Ok(to(PLACE.path))
}

fn bring<R>(app: &App, session: &Session<R>) -> Markup {
    let most = app.config.bundles.max_upload;
    html! {
        section.card aria-labelledby="bring" {
            h2 #bring { "Bring a zip" }
            form #bring-form method="post" action="/import/upload" enctype="multipart/form-data" data-upload data-most=(most) {
                (forms::proof(session))
                label.drop for="zip" {
                    span { "Choose " code { "posture-bundle-N.zip" } " or the vendor’s " code { "posture-offline.zip" } ", or drop it here" }
                    input #zip type="file" name=(FILE) accept=".zip,application/zip" required;
                }
                p.hint { "It is looked at first, and nothing is changed by that. At most " (words::bytes(most)) "." }
                button.primary type="submit" { "Look at it" }
            }
        }
    }
}

/// A zip that waits, with all that is known about it.
fn look<R>(app: &App, session: &Session<R>, upload: &Arc<Upload>, newest: Option<&Manifest>) -> Markup {
    let refusal = upload.refusal(app.role());
    let heading = format!("upload-{}", upload.id);
    html! {
        section.card.upload aria-labelledby=(heading) {
            h2 id=(heading) { (upload.name.as_deref().unwrap_or("A zip without a name")) }
            @match &refusal {
                None => p.note.good role="status" { strong { "It can be imported here." } " " (good(upload)) },
                Some(failure) => p.note.bad role="alert" {
                    (words::reason(failure.reason)) " " strong { "It cannot be imported here:" } " " (failure.message)
                },
            }
            div.two {
                dl.facts {
                    div { dt { "What it is" } dd { (kind(upload.kind)) } }
                    @if let Found::Bundle(inspection) = &upload.found { (signed(inspection)) }
                    div { dt { "Size" } dd { (words::bytes(upload.length())) } }
                    div { dt { "SHA-256" } dd { (words::digest(&upload.sha256())) } }
                    div { dt { "Brought by" } dd { "token " code { (upload.by) } ", " (words::time(upload.at)) } }
                }
                (versions(upload, newest))
            }
            @if let Found::Bundle(inspection) = &upload.found { (checks(inspection)) }
            div.acts {
                @if refusal.is_none() {
                    form method="post" action={ "/import/" (upload.id) "/take" } {
                        (forms::proof(session))
                        @if upload.kind == ImportKind::VendorZip {
                            label.check { input type="checkbox" name="accept_version_rollback" value="1";
                                " Take it even where a version goes backwards" }
                        }
                        button.primary #import-now type="submit" { "Import" }
                    }
                }
                form method="post" action={ "/import/" (upload.id) "/forget" } {
                    (forms::proof(session))
                    button type="submit" { "Discard" }
                }
            }
        }
    }
}

fn good(upload: &Upload) -> String {
    match &upload.found {
        Found::Bundle(inspection) => {
            let why = &inspection.import.why;
            let mut letters = why.chars();
            let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
            format!("{first}{}.", letters.as_str())
        }
        Found::VendorZip(_) => "Everything in it is whole.".to_owned(),
    }
}

fn kind(kind: ImportKind) -> &'static str {
    match kind {
        ImportKind::Bundle => "a bundle: a signed release of a feed-server",
        ImportKind::VendorZip => {
            "the vendor’s zip, by its form; nobody signed it, and whoever imports it vouches for it"
        }
    }
}

fn signed(inspection: &Inspection) -> Markup {
    html! {
        @if let Some(facts) = &inspection.bundle {
            div { dt { "Release" } dd { (facts.serial) ", made " (words::time(facts.created)) } }
            div { dt { "Valid until" } dd { (words::time(facts.valid_until)) } }
            div { dt { "Source" } dd { (facts.source) } }
        }
        div { dt { "Signed by" } dd {
            @match &inspection.signer {
                Some(signer) => {
                    @if signer.is_trusted { (words::badge("good", "trusted here")) } @else { (words::badge("bad", "not trusted here")) }
                    " root " (signer.root.version) ", SHA-256 " code.digest { (signer.root.fingerprint) }
                }
                None => (words::badge("bad", "nobody that it shows")),
            }
        } }
    }
}

fn versions(upload: &Upload, newest: Option<&Manifest>) -> Markup {
    let inside: Vec<(&Component, &Version)> = match &upload.found {
        Found::Bundle(inspection) => inspection.bundle.iter().flat_map(|facts| &facts.versions).collect(),
        Found::VendorZip(Ok(components)) => components.iter().map(|held| (&held.component, &held.version)).collect(),
        Found::VendorZip(Err(_)) => Vec::new(),
    };
    let here = |component: &Component| {
        let held = newest?.components.iter().find(|held| held.component == *component)?;
        Some(words::version(&held.version))
    };
    html! {
        @if !inside.is_empty() {
            div.wide tabindex="0" role="region" aria-label="Versions" {
                table {
                    thead { tr { th scope="col" { "Component" } th scope="col" { "In the zip" } th scope="col" { "Here" } } }
                    tbody {
                        @for (component, version) in inside {
                            tr {
                                th scope="row" { (component) }
                                td.version { (words::version(version)) }
                                td.version { (here(component).unwrap_or_else(|| "–".to_owned())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn checks(inspection: &Inspection) -> Markup {
    html! {
        details {
            summary { "Every check" }
            div.wide tabindex="0" role="region" aria-label="Checks" {
                table {
                    thead { tr { th scope="col" { "Check" } th scope="col" { "Result" } th scope="col" { "What was seen" } } }
                    tbody {
                        @for line in &inspection.verdict.steps {
                            tr {
                                th scope="row" { (bundles::diagnosis::Step::as_str(line.step)) }
                                td { (words::badge(colour(line.result), line.result.as_str())) }
                                td.sentence { (line.seen) @if let Some(Failure { message, .. }) = &line.failure { " " (message) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

const fn colour(mark: Mark) -> &'static str {
    match mark {
        Mark::Ok => "good",
        Mark::Warning => "warn",
        Mark::Failed => "bad",
        Mark::None | Mark::NotTried => "plain",
    }
}

fn progress(progress: &ImportProgress) -> Markup {
    let (step, done, total) = progress.step();
    let says = match step {
        ImportStep::Receiving => "The zip comes in",
        ImportStep::Checking => "Signatures and contents are checked",
        ImportStep::Publishing => "What is new is made visible",
    };
    html! {
        section.card aria-label="The import that is going on" {
            div.progress {
                p { strong { "An import is going on" } " (import " (progress.id) @if let Some(name) = &progress.brought.name { ", " code { (name) } } ")" }
                @if total > 0 { progress max=(total) value=(done.min(total)) aria-label=(says) {} } @else { progress aria-label=(says) {} }
                p.hint { (says) @if total > 0 { ": " (words::bytes(done)) " of " (words::bytes(total)) } }
            }
        }
    }
}

fn list(imports: &[ImportView]) -> Markup {
    html! {
        section.card aria-labelledby="imports" {
            h2 #imports { "Last imports" }
            @if imports.is_empty() { p.hint { "There was none yet." } } @else {
                div.wide tabindex="0" role="region" aria-labelledby="imports" {
                    table {
                        thead { tr { th scope="col" { "Import" } th scope="col" { "Began" } th scope="col" { "Brought by" } th scope="col" { "File" }
                            th scope="col" { "Result" } th scope="col" { "What happened" } th.number scope="col" { "Size" } } }
                        tbody {
                            @for import in imports {
                                tr data-import=(import.id) {
                                    th scope="row" { (import.id) }
                                    td { (words::time(import.started)) }
                                    td { (by(import)) }
                                    td.sentence { (import.name.as_deref().unwrap_or("–")) }
                                    td { @match &import.result {
                                        Some(result) => (words::result(result)),
                                        None => (words::badge("plain", "going on")),
                                    } }
                                    td.sentence { (sentence(import)) }
                                    td.number { (words::bytes(import.length)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn by(import: &ImportView) -> String {
    match (&import.token, &import.user) {
        (Some(token), _) => format!("token {token}"),
        (None, Some(user)) => format!("{user}, on the server"),
        (None, None) => import.by.replace('_', " "),
    }
}

fn sentence(import: &ImportView) -> String {
    let release = import.serial.map(|serial| format!("Release {serial}"));
    match (&import.message, import.result.as_deref(), release) {
        (Some(message), ..) => message.clone(),
        (None, Some("imported"), Some(release)) => format!("{release} was imported."),
        (None, Some("refreshed"), Some(release)) => format!("{release} was here; its signatures were renewed."),
        (None, Some(_), Some(release)) => format!("{release} was here already."),
        (None, Some(_), None) => "Nothing was new.".to_owned(),
        (None, None, _) => "It is not done yet.".to_owned(),
    }
}
