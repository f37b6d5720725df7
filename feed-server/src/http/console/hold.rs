//! What an operator does when the vendor ships something bad: on the page Releases, and on that of a release.

use std::sync::Arc;

use actix_web::{HttpRequest, rt, web};
use bundles::Serial;
use maud::{Markup, html};
use serde::Deserialize;

use super::answers::{Shown, done};
use super::forms::{self, Posted};
use super::releases::PLACE;
use super::session::Session;
use super::words;
use crate::app::holding::HoldingError;
use crate::app::{App, internal};
use crate::config::Role;
use crate::http::api::holding::problem;
use crate::http::auth::{Operate, Read};
use crate::store::audit::Act;
use crate::store::holding::{Hold, Holding, Withdrawal};
use crate::store::records::{ReleaseRecord, Scope};

/// As long as a reason may be.
const MOST_REASON: usize = 500;

/// What is typed.
#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    reason: String,
}

/// Holds releases.
pub(super) async fn hold(request: HttpRequest, app: web::Data<App>, posted: Posted<Operate, Reason>) -> Shown {
    let Posted { session, form } = posted;
    let doing = session.doing(Act::ReleaseHold);
    web::block(move || app.hold(doing, &form.reason)).await?.map_err(problem)?;
    Ok(done(&request, PLACE.path))
}

/// Resumes them.
pub(super) async fn resume(request: HttpRequest, app: web::Data<App>, posted: Posted<Operate, Reason>) -> Shown {
    let Posted { session, form } = posted;
    let doing = session.doing(Act::ReleaseResume);
    web::block(move || app.resume(doing, &form.reason)).await?.map_err(problem)?;
    Ok(done(&request, PLACE.path))
}

/// Releases one again.
pub(super) async fn republish(
    request: HttpRequest,
    app: web::Data<App>,
    serial: web::Path<Serial>,
    posted: Posted<Operate, Reason>,
) -> Shown {
    let Posted { session, form } = posted;
    let doing = session.doing(Act::ReleaseRepublish);
    let app: Arc<App> = app.into_inner();
    // Goes on whether or not anybody waits.
    let going = rt::spawn(app.republish(doing, serial.into_inner(), Some(form.reason)));
    let made = going.await.unwrap_or_else(|error| Err(HoldingError::Other(internal(&error))));
    made.map_err(problem)?;
    Ok(done(&request, PLACE.path))
}

/// What is held, and the forms that hold or resume.
pub(super) fn panel(app: &App, session: &Session<Read>) -> Markup {
    let holding = app.holding();
    let may = session.may(Scope::Operate);
    html! {
        @if holding.is_held() {
            section.note.warn aria-label="Held" {
                (held(&holding))
                @if may { (form(session, "/releases/resume", "resume", "Resume", "Why it may go on")) }
            }
        }
        @if holding.hold.is_none() && may {
            section.card aria-labelledby="hold-heading" {
                h2 #hold-heading { "Hold releases" }
                p.hint { "No new release is made or followed here until they are resumed. Headends and ISE stay on what they run; upstream is asked all the same." }
                (form(session, "/releases/hold", "hold", "Hold", "Why, for whoever is woken next"))
            }
        }
    }
}

fn held(Holding { hold, withdrawal }: &Holding) -> Markup {
    html! {
        @if let Some(Hold { since, by, reason }) = hold {
            p { (words::badge("warn", "held")) " No new release since " (words::time(*since)) ", by " (by) ": " (reason) }
        }
        @if let Some(Withdrawal { since, by, reason, serial, content_of, files }) = withdrawal {
            p {
                (words::badge("warn", "withdrawn")) " Release " (serial) " has the content of " (content_of) " again since "
                (words::time(*since)) ", by " (by) @if let Some(reason) = reason { ": " (reason) }
            }
            details {
                summary { (words::counted(files.len(), "file does", "files do")) " not come back while upstream serves one of them" }
                ul { @for file in files { li { (file.name) " " (words::digest(&file.sha256)) } } }
            }
            @if hold.is_some() { p.hint { "The first Resume ends the hold; what is withdrawn stays so until the second, or until upstream has mended it." } }
        }
    }
}

/// The form on a release's page that releases it again; none where that cannot be.
pub(super) fn again(app: &App, session: &Session<Read>, release: &ReleaseRecord, is_newest: bool) -> Markup {
    let serial = release.manifest.serial;
    if is_newest || app.role() == Role::Relay || !session.may(Scope::Operate) {
        return html! {};
    }
    html! {
        section.card aria-labelledby="again-heading" {
            h2 #again-heading { "Release it again" }
            p.hint {
                "Its content becomes the next release, so that no headend sees a rollback. What that takes the place of does not come back "
                "while upstream serves it."
            }
            (form(session, &format!("/releases/{serial}/republish"), "republish", "Release again", "Why, for whoever is woken next"))
        }
    }
}

fn form(session: &Session<Read>, action: &str, id: &str, button: &str, label: &str) -> Markup {
    html! {
        form.bar method="post" action=(action) {
            (forms::proof(session))
            div.grow {
                label for=(id) { (label) }
                input id=(id) type="text" name="reason" required maxlength=(MOST_REASON) autocomplete="off";
            }
            button.danger[id != "resume"] type="submit" { (button) }
        }
    }
}
