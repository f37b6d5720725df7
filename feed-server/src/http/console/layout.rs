//! What stands around every page.

use actix_web::{HttpResponse, web};
use maud::{DOCTYPE, Markup, html};

use super::answers::Shown;
use super::session::Session;
use super::{NAVIGATION, assets, forms, words};
use crate::VERSION;
use crate::app::App;
use crate::app::warnings::Warning;
use crate::config::Role;
use crate::http::errors::{HTML, Problem};
use crate::store::records::Scope;

/// A page's place in the navigation.
#[derive(Debug)]
pub(super) struct Place {
    /// What it is called.
    pub(super) name: &'static str,
    /// Where it is.
    pub(super) path: &'static str,
    /// Whom it is shown to: those who may look at it.
    pub(super) least: Scope,
}

/// What is shown in the middle.
pub(super) struct Content {
    /// For the browser's tab.
    pub(super) title: String,
    /// From `h1` on.
    pub(super) body: Markup,
}

/// Shows a page at its place, made on a thread that may wait for the disk.
///
/// # Errors
/// Those of `make`.
pub(super) async fn show<R: 'static + Send>(
    session: Session<R>,
    app: web::Data<App>,
    place: &'static Place,
    make: impl FnOnce(&App, &Session<R>) -> Result<Content, Problem> + Send + 'static,
) -> Shown {
    let page = web::block(move || {
        let content = make(&app, &session)?;
        Ok::<_, Problem>(whole(&app, &session, place, &content))
    });
    Ok(HttpResponse::Ok().content_type(HTML).body(page.await??.into_string()))
}

fn whole<R>(app: &App, session: &Session<R>, place: &Place, content: &Content) -> Markup {
    let role = match app.role() {
        Role::Origin => "origin",
        Role::Relay => "relay",
    };
    document(
        &content.title,
        &html! {
            a.skip href="#main" { "Skip to content" }
            header.top {
                a.brand href="/" { (brand()) span.role { (role) } }
                nav aria-label="Pages" {
                    ul {
                        @for page in NAVIGATION.iter().filter(|page| session.may(page.least)) {
                            li { a href=(page.path) aria-current=[(page.path == place.path).then_some("page")] { (page.name) } }
                        }
                    }
                }
                form.who method="post" action="/logout" {
                    (forms::proof(session))
                    span { span.name { (session.name) } " " span.scope { (session.scope.as_str()) } }
                    button type="submit" { "Log out" }
                }
            }
            main #main tabindex="-1" {
                (warnings(&app.warnings()))
                (content.body)
            }
            footer { p { "feed-server " (VERSION) " · times are in " (words::zone(app.now())) } }
            div #says .unseen role="status" aria-live="polite" {}
        },
    )
}

fn warnings(warnings: &[Warning]) -> Markup {
    let line = |warning: &Warning| {
        html! {
            (words::badge("warn", warning.kind.as_str())) " since " (words::time(warning.since)) ": " (warning.message)
        }
    };
    match warnings {
        [] => html! {},
        [one] => html! { section.note.warn aria-label="Warning" { p { (line(one)) } } },
        many => html! {
            section.note.warn aria-label="Warnings" {
                details #warnings open {
                    summary { (words::counted(many.len(), "warning", "warnings")) }
                    ul { @for warning in many { li { (line(warning)) } } }
                }
            }
        },
    }
}

/// A page for somebody who is not known, or of an error.
pub(super) fn bare(title: &str, body: &Markup) -> Markup {
    document(
        title,
        &html! {
            header.top { a.brand href="/" { (brand()) } }
            main.narrow #main { (body) }
        },
    )
}

fn brand() -> Markup {
    html! { img src=(assets::ICON.address()) alt="" width="22" height="22"; span { "Posture Feed" } }
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Posture Feed" }
                link rel="icon" type="image/svg+xml" href=(assets::ICON.address());
                link rel="stylesheet" href=(assets::STYLE.address());
                script defer src=(assets::SCRIPT.address()) {}
            }
            body { (body) }
        }
    }
}
