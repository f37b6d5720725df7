//! Posture updates: Update Information as ISE shows it, what stands around it, and *Update now*.

use actix_web::{HttpRequest, web};
use bundles::update_information::{LastStatus, UpdateInformation};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::answers::{Shown, done};
use super::forms::{self, Posted};
use super::layout::{self, Content, Place};
use super::live::Part;
use super::session::Session;
use super::words;
use crate::app::runs::Wishes;
use crate::app::{App, if_readable};
use crate::config::Role;
use crate::http::api::status;
use crate::http::api::sync;
use crate::http::api::views::{CooldownView, ExpiryView, PresentedView, ProgressView, RunView, StatusView};
use crate::http::auth::{Operate, Read};
use crate::http::pictures::{content_age, versions};
use crate::store::evidence::{ChainRecord, common_name};
use crate::store::records::{Scope, Trigger};

/// The first page.
pub(super) const PLACE: Place = Place { name: "Posture updates", path: "/", least: Scope::Read };

const LIVE: &str = "/live/updates";

/// What ends within this is shown as ending soon, as the warnings have it.
const ENDS_SOON: SignedDuration = crate::app::warnings::EXPIRES_SOON;

/// In the order in which each vouches for the next.
const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// Shows how things are.
pub(super) async fn page(session: Session<Read>, app: web::Data<App>) -> Shown {
    layout::show(session, app, &PLACE, |app, session| {
        let status = status::view(app);
        let part = part(app, session, &status);
        let body = html! {
            h1 { "Posture updates" }
            // Who reads without JavaScript sees a run end as well.
            @if part.is_busy { noscript { p { a href="/" { "Load this page again" } " to see how far the update is." } } }
            (part.within(LIVE))
            @let history = if_readable(app.history());
            @let now = app.now();
            div.two {
                section.card aria-label="Content" { (content_age(&history.releases, now)) }
                section.card aria-label="Versions" { (versions(&history.releases, now)) }
            }
        };
        Ok(Content { title: PLACE.name.to_owned(), body })
    })
    .await
}

/// The same without what stands around it.
pub(super) async fn live(session: Session<Read>, app: web::Data<App>) -> Shown {
    let part = web::block(move || part(&app, &session, &status::view(&app))).await?;
    Ok(part.alone())
}

/// How the run is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    accept_version_rollback: Option<String>,
    #[serde(default)]
    ignore_cooldown: Option<String>,
}

/// Asks for an update run.
pub(super) async fn now(request: HttpRequest, app: web::Data<App>, posted: Posted<Operate, Fields>) -> Shown {
    let Posted { session, form } = posted;
    let wishes = Wishes {
        accept_version_rollback: form.accept_version_rollback.is_some(),
        ignore_cooldown: form.ignore_cooldown.is_some(),
    };
    sync::ask(app, session.who(), session.from, wishes).await?;
    Ok(done(&request, PLACE.path))
}

fn part(app: &App, session: &Session<Read>, status: &StatusView) -> Part {
    let now = app.now();
    Part { is_busy: status.running.is_some(), says: says(status), content: content(app, session, status, now) }
}

/// What is read out when it changes.
fn says(status: &StatusView) -> String {
    match (&status.running, &status.last_failure, &status.release) {
        (Some(_), _, _) => "An update is running.".to_owned(),
        (None, Some(failed), _) => format!("The last update failed: {}", failed.message.as_deref().unwrap_or_default()),
        (None, None, Some(release)) => format!("Release {} is the newest.", release.serial),
        (None, None, None) => String::new(),
    }
}

fn content(app: &App, session: &Session<Read>, status: &StatusView, now: Timestamp) -> Markup {
    html! {
        @for (what, problem) in problems(status) {
            div.note.bad role="note" { p { strong { (what) ": " } (problem) } }
        }
        @if let Some(failed) = &status.last_failure { (failing(failed, status)) }
        div.two {
            section.card aria-labelledby="information" {
                h2 #information { "Update Information" }
                (information(&status.update_information))
            }
            section.card aria-labelledby="next" {
                h2 #next { "Updates" }
                (act(app, session, status))
                (around(app, status, now))
            }
        }
        @if let Some(presented) = &status.upstream_chain { (chains(presented, now)) }
        (runs(&status.runs))
        (metadata(&status.metadata_expires, now))
    }
}

fn problems(status: &StatusView) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    problems.extend(status.cannot_store.clone().map(|problem| ("Storage", problem)));
    problems.extend(status.cannot_publish.as_ref().map(|failure| ("Publishing", failure.to_string())));
    problems
}

fn failing(failed: &RunView, status: &StatusView) -> Markup {
    let stays = status.release.as_ref().map(|release| format!("Release {} stays what headends get.", release.serial));
    html! {
        section.note.bad aria-label="The last update failed" {
            p {
                @if let Some(reason) = failed.reason { (words::reason(reason)) " " }
                strong { "The last update failed. " }
                (failed.message.as_deref().unwrap_or_default())
            }
            p.hint { @if let Some(stays) = stays { (stays) " " } "Check next: " code { "feed-server doctor" }
                " tries every step on the way and explains the first that fails." }
        }
    }
}

/// The panel, with ISE's own labels in its order.
fn information(information: &UpdateInformation) -> Markup {
    html! {
        dl.facts {
            div { dt { "Last successful update on" } dd {
                @match information.last_success {
                    Some(at) => (words::ise_time(at)),
                    None => "No Update since Installation",
                }
            } }
            div { dt { "Last update status" } dd {
                @match &information.last_status {
                    LastStatus::None => "No update was attempted yet",
                    LastStatus::Running => "An update is running",
                    LastStatus::Successful { at } => { "Last update attempt at " (words::ise_time(*at)) " was successful" }
                    LastStatus::Failed { at, failure } => {
                        "Last update attempt at " (words::ise_time(*at)) " failed (" code { (failure.reason) } ")"
                    }
                }
            } }
            @for row in &information.versions {
                @let label = row.component.label().map_or_else(|| format!("{} version", row.component), str::to_owned);
                div { dt { (label) } dd.version data-component=(row.component) {
                    @match &row.version { Some(version) => (words::version(version)), None => "–" }
                } }
            }
        }
    }
}

fn act(app: &App, session: &Session<Read>, status: &StatusView) -> Markup {
    let fetches = app.config.upstream.fetches();
    html! {
        @if let Some(running) = &status.running {
            (progress(running))
        } @else if !fetches {
            p.hint { "Nothing is fetched here: this server is fed by hand." }
        } @else if session.may(Scope::Operate) {
            form method="post" action="/updates/now" data-quiet {
                (forms::proof(session))
                @if !status.cooldowns.is_empty() {
                    label.check { input type="checkbox" name="ignore_cooldown" value="1"; " Ask upstream although it asked for a pause" }
                }
                button.primary #update-now type="submit" { "Update now" }
            }
        } @else {
            p.hint { "A token with scope " code { "operate" } " may update now." }
        }
    }
}

fn progress(running: &ProgressView) -> Markup {
    let ProgressView { run, entries, files_done, received_bytes, file, .. } = running;
    html! {
        div.progress {
            p { strong { "An update is running" } " (run " (run) ")" }
            @if *entries > 0 {
                progress max=(entries) value=(files_done) aria-label="Files that arrived" {}
                p.hint { (files_done) " of " (words::counted(*entries, "file", "files")) ", " (words::bytes(*received_bytes)) " received" }
            } @else {
                progress aria-label="Asking upstream" {}
                p.hint { "Asking upstream" }
            }
            @if let Some(file) = file {
                p.hint { code { (file.name) } " " (words::bytes(file.received_bytes))
                    @if let Some(length) = file.length { " of " (words::bytes(length)) } }
            }
        }
    }
}

fn around(app: &App, status: &StatusView, now: Timestamp) -> Markup {
    html! {
        dl.facts {
            div { dt { "Next run" } dd {
                @match status.next_run {
                    Some(at) => { (words::time(at)) " " span.hint { "(" (words::from_now(at, now)) ")" } }
                    None => "none is scheduled",
                }
            } }
            div { dt { "Release" } dd {
                @match &status.release {
                    Some(release) => { (release.serial) ", made " (words::time(release.created)) }
                    None => "none yet",
                }
            } }
            @if let Some(source) = status.release.as_ref().and_then(|release| release.source.as_ref()) {
                div { dt { "Source" } dd { (source) @if let Some(by) = &source.vouched_by { p.hint { (by) } } } }
            }
            @if app.role() == Role::Relay {
                div { dt { "Follows" } dd { (status.follows.as_deref().unwrap_or("nobody: it is fed by hand")) } }
            }
            @if let Some(import) = &status.importing {
                div { dt { "Import" } dd { "number " (import.id) " is going on" } }
            }
            @for cooldown in &status.cooldowns { (cooling(cooldown, now)) }
            @if let Some(refused) = &status.proxy_password_refused {
                div { dt { "Proxy" } dd { (words::badge("bad", "proxy_auth")) " " (refused.proxy) " refused the password at "
                    (words::time(refused.since)) "; it is not tried again by itself, so that no account is locked. "
                    em { "Update now" } " tries once." } }
            }
            div { dt { "Headends" } dd {
                @let some: Vec<_> = status.headends.iter().filter(|count| count.count > 0).collect();
                @if some.is_empty() { "none" }
                @for count in some { span.count { (count.count) " " (words::state(count.state)) } " " }
            } }
        }
    }
}

fn cooling(cooldown: &CooldownView, now: Timestamp) -> Markup {
    let CooldownView { url, until, status, proxy, .. } = cooldown;
    html! {
        div { dt { "Cool-down" } dd { (url) @if let Some(proxy) = proxy { " by " (proxy) } " is left alone until " (words::time(*until))
            " (" (words::from_now(*until, now)) "), since it answered with status " (status) } }
    }
}

fn chains(presented: &PresentedView, now: Timestamp) -> Markup {
    html! {
        section.card aria-labelledby="chain" {
            h2 #chain { "Upstream’s certificates" }
            p.hint { "As presented in run " (presented.run) " at " (words::time(presented.at)) ", the server’s own first." }
            @for chain in &presented.chains { (table_of(chain, now)) }
        }
    }
}

fn table_of(chain: &ChainRecord, now: Timestamp) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label={ "Certificates of " (chain.host) } {
            table {
                caption {
                    (chain.host) " "
                    @if chain.trusted { (words::badge("good", "trusted")) } @else { (words::badge("bad", "refused")) }
                    @if let Some(failure) = &chain.failure { " " (failure) }
                }
                thead { tr { th scope="col" { "Subject" } th scope="col" { "Issued by" } th scope="col" { "Valid until" } th scope="col" { "Left" } th scope="col" { "Key" } } }
                tbody {
                    @for certificate in &chain.certificates {
                        tr {
                            th scope="row" title=(certificate.subject) { (common_name(&certificate.subject)) }
                            td title=(certificate.issuer) { (common_name(&certificate.issuer)) }
                            td { (words::day(certificate.not_after)) }
                            td { (left(certificate.not_after, ENDS_SOON, now)) }
                            td { (certificate.key) }
                        }
                    }
                }
            }
        }
    }
}

/// How long something is still good.
fn left(ends: Timestamp, soon: SignedDuration, now: Timestamp) -> Markup {
    let left = ends.duration_since(now);
    if left.is_negative() || left.is_zero() {
        words::badge("bad", "ended")
    } else if left <= soon {
        words::badge("warn", &words::duration(left))
    } else {
        html! { (words::duration(left)) }
    }
}

fn runs(runs: &[RunView]) -> Markup {
    html! {
        section.card aria-labelledby="runs" {
            h2 #runs { "Last runs" }
            @if runs.is_empty() { p.hint { "There was none yet." } } @else {
                div.wide tabindex="0" role="region" aria-labelledby="runs" {
                    table {
                        thead { tr { th scope="col" { "Run" } th scope="col" { "Began" } th scope="col" { "Took" } th scope="col" { "Asked by" }
                            th scope="col" { "Result" } th scope="col" { "What happened" } th.number scope="col" { "Received" } } }
                        tbody { @for run in runs { (line(run)) } }
                    }
                }
            }
        }
    }
}

fn line(run: &RunView) -> Markup {
    let trigger = match run.trigger {
        Trigger::Schedule => "schedule",
        Trigger::Retry => "retry",
        Trigger::Operator => "operator",
    };
    html! {
        tr {
            th scope="row" { (run.id) }
            td { (words::time(run.started)) }
            td { @if let Some(ended) = run.ended { (words::duration(ended.duration_since(run.started))) } }
            td { (trigger) }
            td { @match &run.result {
                Some(result) => (words::result(result)),
                None => (words::badge("plain", if run.ended.is_some() { "cut off" } else { "running" })),
            } }
            td.sentence {
                @match (&run.message, run.serial) {
                    (Some(message), _) => (message),
                    (None, Some(serial)) => { "Release " (serial) " was made." }
                    (None, None) if run.result.is_some() => "Nothing had changed.",
                    (None, None) => "",
                }
                @if let Some(url) = &run.source_url { " By the fallback " (url) "." }
            }
            td.number { (words::bytes(run.received_bytes)) }
        }
    }
}

/// A row for each repository, a column for each role.
fn metadata(expires: &[ExpiryView], now: Timestamp) -> Markup {
    let mut repositories: Vec<_> = expires.iter().map(|expiry| &expiry.repository).collect();
    repositories.dedup();
    let ends = |repository: &str, role: &str| {
        expires
            .iter()
            .find(|expiry| expiry.repository == repository && expiry.role == role)
            .map(|expiry| expiry.expires)
    };
    html! {
        @if !expires.is_empty() {
            section.card aria-labelledby="metadata" {
                h2 #metadata { "Signed metadata is valid until" }
                div.wide tabindex="0" role="region" aria-labelledby="metadata" {
                    table {
                        thead { tr { th scope="col" { "Repository" } @for role in ROLES { th scope="col" { (role) } } } }
                        tbody { @for repository in repositories {
                            tr {
                                th scope="row" { (repository) }
                                @for role in ROLES {
                                    td { @if let Some(at) = ends(repository, role) {
                                        (words::time(at)) " " span.hint { (left(at, SignedDuration::from_hours(24), now)) }
                                    } }
                                }
                            }
                        } }
                    }
                }
            }
        }
    }
}
