//! Releases: what there is, what each one changed, and what to carry away of it.

use std::sync::Arc;

use actix_web::web;
use arc_swap::ArcSwap;
use bundles::release::{ReleasedComponent, ReleasedFile};
use bundles::{Component, Digest, Manifest, Reason, Serial, Version};
use jiff::Timestamp;
use maud::{Markup, html};

use super::answers::Shown;
use super::layout::{self, Content, Place};
use super::session::Session;
use super::{hold, words};
use crate::app::App;
use crate::http::auth::Read;
use crate::http::errors::Problem;
use crate::publish::{Published, Repository};
use crate::store::records::{ReleaseRecord, Scope};

/// Where they are.
pub(super) const PLACE: Place = Place { name: "Releases", path: "/releases", least: Scope::Read };

/// What a release did to a component.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    component: Component,
    /// `None` where it came with this release.
    before: Option<Version>,
    /// `None` where it went.
    after: Option<Version>,
}

/// The retained ones, newest first.
pub(super) async fn list(session: Session<Read>, app: web::Data<App>) -> Shown {
    layout::show(session, app, &PLACE, |app, session| {
        let retained = app.config.data.retain_releases;
        // One more, to tell what the oldest of them changed.
        let releases = app.store.releases(retained.saturating_add(1))?;
        let served = app.published.load().serial();
        let lines = releases.iter().enumerate().take(retained).map(|(at, release)| {
            let before = releases.get(at + 1).map(|before| &before.manifest);
            line(release, before, served)
        });
        let body = html! {
            div.bar.spread { h1 { "Releases" } }
            (hold::panel(app, session))
            section.card aria-label="Releases" {
                @if releases.is_empty() {
                    p { "There is no release yet. The first update, or the first import, makes one." }
                } @else {
                    div.wide tabindex="0" role="region" aria-label="Releases, newest first" {
                        table {
                            thead { tr { th scope="col" { "Release" } th scope="col" { "Made" } th scope="col" { "Source" }
                                th scope="col" { "What changed" } th.number scope="col" { "Archives" } } }
                            tbody { @for line in lines { (line) } }
                        }
                    }
                }
            }
        };
        Ok(Content { title: PLACE.name.to_owned(), body })
    })
    .await
}

fn line(release: &ReleaseRecord, before: Option<&Manifest>, served: Option<Serial>) -> Markup {
    let manifest = &release.manifest;
    html! {
        tr {
            th scope="row" {
                a href={ "/releases/" (manifest.serial) } { (manifest.serial) }
                @if served == Some(manifest.serial) { " " (words::badge("good", "served")) }
            }
            td { (words::time(manifest.created)) }
            td.short { (kind(release)) }
            td.sentence.changes { (summary(manifest, before)) }
            td.number { (words::bytes(archive_bytes(manifest))) }
        }
    }
}

/// Where it is from, in a word or two.
fn kind(release: &ReleaseRecord) -> Markup {
    use bundles::release::SourceKind;
    html! {
        @match release.manifest.source.kind { SourceKind::VendorFeed => "vendor’s feed", SourceKind::VendorZip => "vendor’s zip" }
        @if release.taken.is_some() { ", by its origin" }
        @if let Some(again) = release.content_of { ", the content of " (again) " again" }
    }
}

fn summary(manifest: &Manifest, before: Option<&Manifest>) -> Markup {
    let Some(before) = before else {
        let count = manifest.components.len();
        return html! { (words::counted(count, "component", "components")) " " span.hint { "(nothing before it is retained)" } };
    };
    let changes = changes(before, manifest);
    html! {
        @if changes.is_empty() { span.hint { "the same content" } }
        @for change in &changes { span { (change.component) " " (told(change)) } " " }
    }
}

fn told(change: &Change) -> Markup {
    html! {
        @match (&change.before, &change.after) {
            (Some(before), Some(after)) if before == after => { span.version { (words::version(after)) } " (other files)" }
            (Some(before), Some(after)) => {
                span.version { (words::version(before)) } " → " span.version { (words::version(after)) }
            }
            (None, Some(after)) => { "new, " span.version { (words::version(after)) } }
            (Some(_), None) | (None, None) => "gone",
        }
    }
}

/// What one release changed of the one before, in the order of components.
fn changes(before: &Manifest, after: &Manifest) -> Vec<Change> {
    let find = |manifest: &Manifest, component: &Component| {
        manifest.components.iter().find(|released| released.component == *component).cloned()
    };
    let gone = before.components.iter().map(|released| &released.component);
    let mut components: Vec<_> = after.components.iter().map(|released| &released.component).chain(gone).collect();
    components.sort();
    components.dedup();
    let change = |component: &Component| {
        let (old, new) = (find(before, component), find(after, component));
        let is_same = match (&old, &new) {
            (Some(old), Some(new)) => old.version == new.version && digests(old) == digests(new),
            (Some(_), None) | (None, Some(_) | None) => false,
        };
        let version = |released: Option<ReleasedComponent>| released.map(|released| released.version);
        (!is_same).then(|| Change { component: component.clone(), before: version(old), after: version(new) })
    };
    components.into_iter().filter_map(change).collect()
}

fn digests(released: &ReleasedComponent) -> Vec<&Digest> {
    released.files.iter().map(|file| &file.archive.sha256).collect()
}

fn archive_bytes(manifest: &Manifest) -> u64 {
    manifest.components.iter().flat_map(|released| &released.files).map(|file| file.archive.length).sum()
}

/// One of them.
pub(super) async fn one(
    session: Session<Read>,
    app: web::Data<App>,
    published: web::Data<ArcSwap<Published>>,
    serial: web::Path<Serial>,
) -> Shown {
    let (serial, published) = (serial.into_inner(), published.load_full());
    layout::show(session, app, &PLACE, move |app, session| {
        let release = app.store.release(serial)?.ok_or_else(|| {
            let detail = format!("there is no release {serial}; the page Releases lists those that are retained");
            Problem::new(Reason::NotFound, detail)
        })?;
        let before = Serial::new(serial.get().saturating_sub(1)).map(|before| app.store.release(before)).transpose()?;
        let before = before.flatten().map(|before| before.manifest);
        let is_newest = app.store.highest_serial()? == Some(serial);
        let body = html! {
            (details(app, &release, before.as_ref(), &published))
            (hold::again(app, session, &release, is_newest))
        };
        Ok(Content { title: format!("Release {serial}"), body })
    })
    .await
}

fn details(app: &App, release: &ReleaseRecord, before: Option<&Manifest>, published: &Arc<Published>) -> Markup {
    let manifest = &release.manifest;
    let is_served = published.serial() == Some(manifest.serial);
    html! {
        p.where { a href="/releases" { "Releases" } }
        div.bar.spread {
            h1 { "Release " (manifest.serial) @if is_served { " " (words::badge("good", "served")) } }
        }
        div.two {
            section.card aria-labelledby="about" {
                h2 #about { "About" }
                dl.facts {
                    div { dt { "Made" } dd { (words::time(manifest.created)) } }
                    @if let Some(taken) = release.taken { div { dt { "Came here" } dd { (words::time(taken)) } } }
                    div { dt { "Source" } dd { (manifest.source) } }
                    @if let Some(by) = &manifest.source.vouched_by { div { dt { "Vouched for by" } dd { (by) } } }
                    @if let Some(sha256) = &manifest.source.sha256 { div { dt { "Its SHA-256" } dd { (words::digest(sha256)) } } }
                    @if let Some(again) = release.content_of {
                        div { dt { "Content" } dd { "that of release " (again) ", under a new number" } }
                    }
                    div { dt { "Archives" } dd { (words::bytes(archive_bytes(manifest))) } }
                    @if is_served { @if let Some((role, ends)) = valid_until(app) {
                        div { dt { "Bundle valid until" } dd { (words::time(ends)) span.hint { " (" (role) " metadata)" } } }
                    } }
                }
            }
            section.card aria-labelledby="changed" {
                h2 #changed { "Changes" @if let Some(before) = before { " against release " (before.serial) } }
                (changed(manifest, before))
            }
        }
        (downloads(manifest.serial, published))
        (components(manifest))
    }
}

/// The first end of what a bundle of the newest release is signed with.
fn valid_until(app: &App) -> Option<(String, Timestamp)> {
    let offline = app.metadata_expires().into_iter().filter(|(repository, ..)| *repository == Repository::Offline);
    offline.min_by_key(|(.., ends)| *ends).map(|(_, role, ends)| (role.to_string(), ends))
}

fn changed(manifest: &Manifest, before: Option<&Manifest>) -> Markup {
    let Some(before) = before else { return html! { p.hint { "The release before it is not retained." } } };
    let changes = changes(before, manifest);
    html! {
        @if changes.is_empty() { p { "None: the content is the same." } } @else {
            dl.facts { @for change in &changes { div { dt { (change.component) } dd { (told(change)) } } } }
        }
    }
}

fn downloads(serial: Serial, published: &Published) -> Markup {
    let files = [
        ("For ISE", format!("/offline/posture-offline-{serial}.zip")),
        ("For relays and headends", format!("/offline/posture-bundle-{serial}.zip")),
    ];
    let files: Vec<_> = files.iter().filter_map(|(what, path)| Some((what, path, published.get(path)?))).collect();
    html! {
        section.card aria-labelledby="downloads" {
            h2 #downloads { "To carry away" }
            @if files.is_empty() { p.hint { "No zip of this release is here: those of the retained releases are built after each update." } } @else {
                div.wide tabindex="0" role="region" aria-labelledby="downloads" {
                    table {
                        thead { tr { th scope="col" { "File" } th scope="col" { "For" } th.number scope="col" { "Size" } th scope="col" { "SHA-256" } th scope="col" { "Beside it" } } }
                        tbody { @for (what, path, served) in files {
                            @let name = path.rsplit('/').next().unwrap_or_default();
                            tr {
                                th scope="row" { a href=(path) download { (name) } }
                                td { (what) @if let Some(origin) = served.zip_origin { span.hint { " (" (origin) ")" } } }
                                td.number { (words::bytes(served.length)) }
                                td { (words::digest(&served.sha256)) }
                                td {
                                    @for (ending, called) in [(".sheet.txt", "sheet to print"), (".sha256", "SHA-256 file")] {
                                        @let beside = format!("{path}{ending}");
                                        @if published.get(&beside).is_some() { a href=(beside) { (called) } " " }
                                    }
                                }
                            }
                        } }
                    }
                }
            }
        }
    }
}

fn components(manifest: &Manifest) -> Markup {
    html! {
        section.card aria-labelledby="components" {
            h2 #components { "Components" }
            div.wide tabindex="0" role="region" aria-labelledby="components" {
                table {
                    thead { tr { th scope="col" { "Component" } th scope="col" { "Version" } th scope="col" { "Archive" } th.number scope="col" { "Size" }
                        th.number scope="col" { "Opened" } th scope="col" { "SHA-256 of the archive" } } }
                    tbody { @for released in &manifest.components {
                        @for (at, file) in released.files.iter().enumerate() { (file_of(released, file, at)) }
                    } }
                }
            }
        }
    }
}

fn file_of(released: &ReleasedComponent, file: &ReleasedFile, at: usize) -> Markup {
    let rows = released.files.len();
    html! {
        tr {
            @if at == 0 {
                th scope="rowgroup" rowspan=(rows) { (released.component) }
                td.version rowspan=(rows) title=(released.version) { (words::version(&released.version)) }
            }
            td { (file.archive.name) }
            td.number { (words::bytes(file.archive.length)) }
            td.number { (words::bytes(file.payload.length)) }
            td { (words::digest(&file.archive.sha256)) }
        }
    }
}
