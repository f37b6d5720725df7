//! ISE: deployments as far as they are seen, and what to type there.

use std::net::IpAddr;

use actix_web::{HttpRequest, web};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::answers::{Shown, done};
use super::forms::{self, Posted};
use super::layout::{self, Content, Place};
use super::session::Session;
use super::words;
use crate::app::App;
use crate::app::ise::{Deployment, Guide, GuideCertificate, IseState};
use crate::http::api::ise::{added, removed};
use crate::http::api::views::NewIse;
use crate::http::auth::{Admin, Read};
use crate::http::errors::Problem;
use crate::store::audit::Act;
use crate::store::ise::Stranger;
use crate::store::records::Scope;

/// Where it is.
pub(super) const PLACE: Place = Place { name: "ISE", path: "/ise", least: Scope::Read };

/// ISE's own default.
const DEFAULT_HOURS: u32 = 2;

/// All deployments.
pub(super) async fn list(session: Session<Read>, app: web::Data<App>) -> Shown {
    layout::show(session, app, &PLACE, |app, session| {
        let (deployments, strangers) = (app.ise_deployments()?, app.ise_strangers());
        let may_change = session.may(Scope::Admin);
        let body = html! {
            div.bar.spread { h1 { "ISE" } a.button href="/ise/connect" { "Connect ISE" } }
            p.hint { "ISE never reports: what its addresses ask for is all that is seen of it. What it made of that, nobody sees here." }
            section.card aria-label="Deployments" {
                @if deployments.is_empty() {
                    p { "There is no deployment yet." }
                } @else {
                    div.wide tabindex="0" role="region" aria-label="Deployments" { (table(session, &deployments, app.now(), may_change)) }
                }
            }
            @if !strangers.is_empty() { (offered(&strangers)) }
            @if may_change { (add_form(session)) }
        };
        Ok(Content { title: PLACE.name.to_owned(), body })
    })
    .await
}

fn table(session: &Session<Read>, deployments: &[Deployment], now: Timestamp, may_change: bool) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Deployment" } th scope="col" { "State" } th scope="col" { "What was seen" }
                th.number scope="col" { "Release" } th scope="col" { "Last index" } th scope="col" { "Addresses" }
                @if may_change { th scope="col" { span.unseen { "Remove" } } }
            } }
            tbody { @for deployment in deployments {
                @let name = &deployment.record.name;
                tr {
                    th scope="row" { (name) }
                    td { (state(deployment.state)) }
                    td.sentence { (seen(deployment)) }
                    td.number { @match deployment.seen.given { Some((serial, _)) => (serial), None => "–" } }
                    td { @match deployment.seen.polled {
                        Some(at) => { (words::time(at)) span.hint { " (" (words::from_now(at, now)) ")" } }
                        None => "never",
                    } }
                    td { @for (at, address) in deployment.record.addresses.iter().enumerate() { @if at > 0 { ", " } code { (address) } } }
                    @if may_change { td {
                        form method="post" action={ "/ise/" (name) "/remove" } {
                            (forms::proof(session))
                            button.danger type="submit" aria-label={ "Remove " (name) } { "Remove" }
                        }
                    } }
                }
            } }
        }
    }
}

fn state(state: IseState) -> Markup {
    let kind = match state {
        IseState::Fetched => "good",
        IseState::Partial => "warn",
        IseState::Refused => "bad",
        IseState::Silent => "mute",
    };
    words::badge(kind, state.as_str())
}

/// Why its state is what it is.
fn seen(Deployment { seen, state, fetched, lacking, record }: &Deployment) -> Markup {
    html! {
        @if *state == IseState::Refused { @if let Some(alert) = &seen.last_alert {
            "It broke off TLS at " (words::time(alert.at)) " (" code { (alert.alert) } " from " (alert.from) "): it does not trust this server’s authority. "
            a href="/ise/connect" { "Connect ISE" } " names it. "
        } }
        @if *state == IseState::Silent {
            @if seen.polled.is_some() { "It is to ask every " (words::counted(record.every_hours as usize, "hour", "hours")) ". " }
            @else { "It never asked for the index. " }
        }
        @if seen.given.is_some() {
            @if lacking.is_empty() { "It fetched all " (words::counted(fetched.len(), "archive", "archives")) "." }
            @else if *state == IseState::Fetched { "It has not fetched " (lacking.join(", ")) " yet; an update takes up to half an hour." }
            @else { "It has not fetched " (lacking.join(", ")) "." }
        }
        @if !seen.missing.is_empty() { " It asked in vain for " (seen.missing.join(", ")) "." }
    }
}

fn offered(strangers: &[Stranger]) -> Markup {
    html! {
        section.card aria-labelledby="strangers" {
            h2 #strangers { "Seen, belongs to no deployment" }
            div.wide tabindex="0" role="region" aria-labelledby="strangers" {
                table {
                    thead { tr { th scope="col" { "Address" } th scope="col" { "First" } th scope="col" { "Last" } th.number scope="col" { "Indexes" } } }
                    tbody { @for stranger in strangers { tr {
                        th scope="row" { code { (stranger.address) } }
                        td { (words::time(stranger.first)) } td { (words::time(stranger.last)) } td.number { (stranger.polls) }
                    } } }
                }
            }
        }
    }
}

fn add_form(session: &Session<Read>) -> Markup {
    html! {
        section.card aria-labelledby="add" {
            h2 #add { "Add a deployment" }
            form.bar method="post" action="/ise" {
                (forms::proof(session))
                div { label for="name" { "Name" } input #name type="text" name="name" required maxlength="253" autocomplete="off"; }
                div.grow {
                    label for="addresses" { "Addresses of its Admin nodes, or of what they come through" }
                    input #addresses type="text" name="addresses" required autocomplete="off" placeholder="192.0.2.10 2001:db8::10";
                }
                div { label for="every" { "Every (hours)" } input #every type="number" name="every_hours" min="1" max="744" value=(DEFAULT_HOURS); }
                button.primary type="submit" { "Add" }
            }
        }
    }
}

/// What is typed into the form.
#[derive(Debug, Deserialize)]
pub(super) struct Fields {
    name: String,
    addresses: String,
    every_hours: u32,
}

/// Adds a deployment.
pub(super) async fn add(request: HttpRequest, app: web::Data<App>, posted: Posted<Admin, Fields>) -> Shown {
    let Posted { session, form } = posted;
    let words = form.addresses.split([' ', ',', ';']).filter(|word| !word.is_empty());
    let parsed = words.map(|word| {
        word.parse::<IpAddr>().map_err(|_| Problem::bad_request(format!("{word:?} is no address; write IPv4 or IPv6")))
    });
    let addresses = parsed.collect::<Result<Vec<_>, _>>()?;
    let new = NewIse { name: form.name.trim().to_owned(), addresses, every_hours: form.every_hours, release: None };
    added(app, session.doing(Act::IseAdd), new).await?;
    Ok(done(&request, PLACE.path))
}

/// Removes one.
pub(super) async fn remove(
    request: HttpRequest,
    app: web::Data<App>,
    name: web::Path<String>,
    posted: Posted<Admin, Nothing>,
) -> Shown {
    removed(app, posted.session.doing(Act::IseRemove), name.into_inner()).await?;
    Ok(done(&request, PLACE.path))
}

/// A form without fields.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// What to type in ISE.
pub(super) async fn connect(session: Session<Read>, app: web::Data<App>) -> Shown {
    layout::show(session, app, &PLACE, |app, _| {
        let body = html! {
            p { a href="/ise" { "ISE" } }
            h1 { "Connect ISE" }
            (steps(&app.ise_guide()))
        };
        Ok(Content { title: "Connect ISE".to_owned(), body })
    })
    .await
}

fn steps(guide: &Guide) -> Markup {
    html! {
        section.note.warn aria-label="Before a fresh ISE updates" {
            p { "A fresh ISE creates its default policies, requirements and remediations with its first update, and only then: a partial first update is costly." }
        }
        div.two {
            section.card aria-labelledby="trust" {
                h2 #trust { "1. Trust this server" }
                p { "Administration > System > Certificates > Trusted Certificates > Import, with " em { "Trust for authentication of Cisco Services" } ":" }
                @match &guide.certificate { Some(certificate) => (authority(certificate)), None => p { "This server does not answer by TLS (" code { "[listen] tls_certificate" } ")." } }
            }
            section.card aria-labelledby="type" {
                h2 #type { "2. Type" }
                p { "Administration > System > Settings > Posture > Updates, " em { "Web" } ":" }
                dl.facts {
                    div { dt { "Update Feed URL" } dd {
                        @match &guide.update_feed_url { Some(url) => code { (url) }, None => "not known" }
                        @if !guide.public_url_is_set { p.hint { "Set " code { "[serve] public_url" } " to the name that ISE reaches this server by." } }
                    } }
                    @if let Some(host) = &guide.proxy_bypass { div { dt { "Proxy bypass" } dd { code { (host) } p.hint { "Administration > System > Settings > Proxy, where ISE uses one" } } } }
                    div { dt { "The way back" } dd { em { "Set to Default" } ", beside the URL" } }
                }
            }
            section.card aria-labelledby="expect" {
                h2 #expect { "3. Update Now" }
                p { "The first update takes about 20 minutes. " em { "Update Information" } " shows afterwards:" }
                dl.facts { @for row in &guide.versions { div { dt { (row.label) } dd.version { @match &row.version { Some(version) => (version), None => "–" } } } } }
            }
            section.card aria-labelledby="look" {
                h2 #look { "4. Look" }
                dl.facts {
                    div { dt { "From here" } dd { a href="/ise" { "ISE" } } }
                    div { dt { "There, on the Primary Admin node" } dd { code { (guide.log_command) } } }
                }
            }
        }
    }
}

fn authority(certificate: &GuideCertificate) -> Markup {
    html! {
        dl.facts {
            div { dt { "Authority" } dd { (certificate.subject) } }
            @if let Some(sha256) = &certificate.sha256 { div { dt { "SHA-256" } dd { code.digest { (sha256) } } } }
            @if let Some(ends) = certificate.not_after { div { dt { "Until" } dd { (words::time(ends)) } } }
            div { dt { "File on the server" } dd { code { (certificate.file) }
                @if certificate.sha256.is_some() { ", its last certificate" } @else { " does not hold it; whoever issued that has it" } } }
        }
    }
}
