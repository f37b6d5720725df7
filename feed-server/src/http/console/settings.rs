//! Settings: the configuration as it holds, and where each value comes from. Nothing is changed here: the file is.

use actix_web::web;
use maud::{Markup, html};

use super::answers::Shown;
use super::layout::{self, Content, Place};
use super::session::Session;
use super::words;
use crate::app::App;
use crate::config::{Origin, Setting};
use crate::http::auth::Admin;
use crate::store::records::Scope;

/// Where they are.
pub(super) const PLACE: Place = Place { name: "Settings", path: "/settings", least: Scope::Admin };

/// Shows every key.
pub(super) async fn page(session: Session<Admin>, app: web::Data<App>) -> Shown {
    layout::show(session, app, &PLACE, |app, _| {
        let settings = app.settings();
        let said = settings.iter().filter(|setting| setting.origin != Origin::Default).count();
        let body = html! {
            h1 { "Settings" }
            section.card aria-label="Where they come from" {
                p {
                    @match app.config.origins.file() {
                        Some(file) => { "Read from " code { (file.display()) } " when the server started." }
                        None => "There is no configuration file; what is not said otherwise is the default.",
                    }
                    " " (words::counted(said, "value is", "values are")) " not the default. "
                }
                p.hint { "They are changed in the file, and hold after a restart; " code { "feed-server check-config --show" }
                    " shows what would hold then. Secrets are never shown." }
            }
            @for (name, rows) in sections(&settings) { (section(name, &rows)) }
        };
        Ok(Content { title: PLACE.name.to_owned(), body })
    })
    .await
}

/// Settings by the tables that they stand in.
fn sections(settings: &[Setting]) -> Vec<(&str, Vec<&Setting>)> {
    let mut sections: Vec<(&str, Vec<&Setting>)> = Vec::new();
    for setting in settings {
        let name = setting.key.split(['.', ' ']).next().unwrap_or_default();
        match sections.last_mut() {
            Some((last, rows)) if *last == name => rows.push(setting),
            Some(_) | None => sections.push((name, vec![setting])),
        }
    }
    sections
}

fn section(name: &str, rows: &[&Setting]) -> Markup {
    let id = format!("settings-{name}");
    html! {
        section.card aria-labelledby=(id) {
            h2 id=(id) { "[" (name) "]" }
            div.wide tabindex="0" role="region" aria-labelledby=(id) {
                table.settings {
                    thead { tr { th scope="col" { "Key" } th scope="col" { "Value" } th scope="col" { "From" } } }
                    tbody {
                        @for setting in rows {
                            tr {
                                th scope="row" { code { (setting.key) } }
                                td.sentence { @match &setting.value { Some(value) => code { (value) }, None => span.hint { "not set" } } }
                                td { (from(&setting.origin)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn from(origin: &Origin) -> Markup {
    let (kind, word) = match origin {
        Origin::Default => return html! { span.hint { "default" } },
        Origin::File { .. } => ("plain", "file"),
        Origin::Environment { .. } => ("warn", "environment"),
        Origin::CommandLine { .. } => ("warn", "command line"),
        Origin::SecretFile { .. } => ("good", "secret file"),
        Origin::Credential { .. } => ("good", "credential"),
    };
    html! {
        (words::badge(kind, word))
        @match origin {
            Origin::File { line, .. } => { " line " (line) }
            other => { " " code { (other.place().unwrap_or_default()) } }
        }
    }
}
