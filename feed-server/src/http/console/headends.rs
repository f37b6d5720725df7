//! Headends: which there are, how each is and why. Searched, sorted and cut into pages here, so that thousands are no burden to a
//! browser and need no script.

use std::cmp::Ordering;

use actix_web::web;
use bundles::{Component, Manifest, Reason, Serial};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::answers::Shown;
use super::layout::{self, Content, Place};
use super::live::Part;
use super::session::Session;
use super::words;
use crate::app::{App, if_readable};
use crate::headends::HeadendState;
use crate::http::api::headends::views;
use crate::http::api::views::HeadendView;
use crate::http::auth::Read;
use crate::http::errors::Problem;
use crate::http::pictures::fleet;
use crate::store::records::{ReportRecord, Scope};

/// Where they are.
pub(super) const PLACE: Place = Place { name: "Headends", path: "/headends", least: Scope::Read };

/// Rows of one page: a screen or three, some 60 KiB.
const ROWS: usize = 100;

/// Characters of a failure's message in a list: a line or two. A headend's own page has all of it.
const MAX_WHY: usize = 160;

/// What can be searched for: longer than any id.
const MAX_SEARCH: usize = 300;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    /// In the id, the failure's reason, the client's version, or a component's version.
    q: String,
    state: Option<HeadendState>,
    sort: Sort,
    /// Largest first.
    down: bool,
    /// Counted from 1.
    page: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { q: String::new(), state: None, sort: Sort::Id, down: false, page: 1 }
    }
}

/// By what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    Id,
    State,
    Release,
    Report,
}

impl Sort {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::State => "state",
            Self::Release => "release",
            Self::Report => "report",
        }
    }

    fn compare(self, a: &HeadendView, b: &HeadendView) -> Ordering {
        let release = |view: &HeadendView| view.report.as_ref().and_then(|record| record.report.serial);
        let received = |view: &HeadendView| view.report.as_ref().map(|record| record.received);
        let rank = |view: &HeadendView| HeadendState::ALL.iter().position(|state| *state == view.state);
        match self {
            Self::Id => a.id.cmp(&b.id),
            Self::State => rank(a).cmp(&rank(b)),
            Self::Release => release(a).cmp(&release(b)),
            Self::Report => received(a).cmp(&received(b)),
        }
    }
}

impl Query {
    fn fits(&self, view: &HeadendView) -> bool {
        let wanted = self.q.trim().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        wanted.is_empty()
            || has(&view.id)
            || view.report.as_ref().is_some_and(|ReportRecord { report, .. }| {
                report.last_failure.as_ref().is_some_and(|failure| has(failure.reason.as_str()))
                    || has(&report.client_version)
                    || report.components.values().any(|version| has(&version.to_string()))
            })
    }

    /// The same page with something else.
    fn address(&self, path: &str) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        if !self.q.is_empty() {
            pairs.append_pair("q", &self.q);
        }
        if let Some(state) = self.state {
            pairs.append_pair("state", state.as_str());
        }
        if self.sort != Sort::Id {
            pairs.append_pair("sort", self.sort.as_str());
        }
        if self.down {
            pairs.append_pair("down", "true");
        }
        if self.page > 1 {
            pairs.append_pair("page", &self.page.to_string());
        }
        match pairs.finish() {
            none if none.is_empty() => path.to_owned(),
            pairs => format!("{path}?{pairs}"),
        }
    }
}

/// All that fit.
pub(super) async fn list(session: Session<Read>, app: web::Data<App>, query: web::Query<Query>) -> Shown {
    let query = query.into_inner();
    layout::show(session, app, &PLACE, move |app, _| {
        let body = html! {
            div.bar.spread { h1 { "Headends" } }
            (search(&query))
            (part(app, &query)?.within(&query.address("/live/headends")))
            section.card aria-label="Over time" { (fleet(&if_readable(app.history()).samples, app.now())) }
        };
        Ok(Content { title: PLACE.name.to_owned(), body })
    })
    .await
}

/// The same without what stands around it.
pub(super) async fn live(_: Session<Read>, app: web::Data<App>, query: web::Query<Query>) -> Shown {
    Ok(web::block(move || part(&app, &query)).await??.alone())
}

fn search(query: &Query) -> Markup {
    html! {
        form.bar method="get" action="/headends" role="search" {
            div.grow {
                label for="q" { "Search" }
                input #q type="search" name="q" value=(query.q) maxlength=(MAX_SEARCH) placeholder="id, version or reason";
            }
            @if let Some(state) = query.state { input type="hidden" name="state" value=(state.as_str()); }
            @if query.sort != Sort::Id { input type="hidden" name="sort" value=(query.sort.as_str()); }
            @if query.down { input type="hidden" name="down" value="true"; }
            button type="submit" { "Search" }
        }
    }
}

/// What all of them are held against.
struct Against {
    now: Timestamp,
    newest: Option<Manifest>,
    since: Option<Timestamp>,
}

impl Against {
    fn of(app: &App) -> Result<Self, Problem> {
        let newest = app.newest();
        let times = app.release_times()?;
        let serial = newest.as_ref().map(|manifest| manifest.serial);
        let since = times.iter().find(|(known, _)| Some(*known) == serial).map(|(_, at)| *at);
        Ok(Self { now: app.now(), newest, since })
    }

    fn serial(&self) -> Option<Serial> {
        self.newest.as_ref().map(|manifest| manifest.serial)
    }
}

fn part(app: &App, query: &Query) -> Result<Part, Problem> {
    if query.q.len() > MAX_SEARCH {
        return Err(Problem::bad_request(format!("what is searched for has at most {MAX_SEARCH} characters")));
    }
    let against = Against::of(app)?;
    let all = views(app, None)?;
    let total = all.len();
    let mut found: Vec<_> = all.into_iter().filter(|view| query.fits(view)).collect();
    let counts = HeadendState::ALL.map(|state| (state, found.iter().filter(|view| view.state == state).count()));
    let of_any = found.len();
    found.retain(|view| query.state.is_none_or(|state| state == view.state));
    // By id where they are the same otherwise: the store gives them so, and the sort keeps that.
    found.sort_by(|a, b| if query.down { query.sort.compare(b, a) } else { query.sort.compare(a, b) });
    let pages = found.len().div_ceil(ROWS).max(1);
    let page = query.page.clamp(1, pages);
    let shown = found.iter().skip((page - 1) * ROWS).take(ROWS);
    let content = html! {
        (chips(query, &counts, of_any))
        section.card aria-label="Headends" {
            @if total == 0 {
                p { "There is no headend yet. " code { "feed-server headend add ID" } " adds one, and shows the token that it reports with." }
            } @else if found.is_empty() {
                p { "None fits what is searched for. " a href="/headends" { "Show all" } }
            } @else {
                div.wide tabindex="0" role="region" aria-label="Headends" {
                    table {
                        thead { tr {
                            (heading(query, Sort::Id, "Headend")) (heading(query, Sort::State, "State"))
                            th scope="col" { "Why" } (heading(query, Sort::Release, "Release"))
                            @for (_, name) in COLUMNS { th scope="col" { (name) } }
                            (heading(query, Sort::Report, "Last report"))
                        } }
                        tbody { @for view in shown { (line(view, &against)) } }
                    }
                }
                (pager(query, page, pages, found.len()))
            }
        }
    };
    Ok(Part { is_busy: false, says: String::new(), content })
}

/// The five versions, as short as a table needs them.
const COLUMNS: [(Component, &str); 5] = [
    (Component::Conditions, "Conditions"),
    (Component::AvAsChartWindows, "Windows"),
    (Component::AvAsChartMacosx, "Mac OSX"),
    (Component::AvAsChartLinux, "Linux"),
    (Component::SupportedOs, "OS"),
];

fn chips(query: &Query, counts: &[(HeadendState, usize)], of_any: usize) -> Markup {
    let chip = |state: Option<HeadendState>, name: &str, count: usize| {
        let address = Query { state, page: 1, ..query.clone() }.address("/headends");
        html! {
            li { a href=(address) aria-current=[(query.state == state).then_some("true")] { (name) " " span.tally { (count) } } }
        }
    };
    html! {
        nav.bar aria-label="States" {
            ul.chips {
                (chip(None, "all", of_any))
                @for (state, count) in counts { (chip(Some(*state), state.as_str(), *count)) }
            }
        }
    }
}

fn heading(query: &Query, sort: Sort, name: &str) -> Markup {
    let is_this = query.sort == sort;
    let down = is_this && !query.down;
    let address = Query { sort, down, page: 1, ..query.clone() }.address("/headends");
    let order = is_this.then_some(if query.down { "descending" } else { "ascending" });
    html! {
        th scope="col" aria-sort=[order] {
            a href=(address) { (name) @if is_this { span aria-hidden="true" { @if query.down { " ↓" } @else { " ↑" } } } }
        }
    }
}

fn line(view: &HeadendView, against: &Against) -> Markup {
    let report = view.report.as_ref().map(|record| &record.report);
    html! {
        tr {
            th scope="row" { a href={ "/headends/" (view.id) } { (view.id) } }
            td { (words::state(view.state)) }
            td.sentence { (why(view, against, Some(MAX_WHY))) }
            td { @match report.and_then(|report| report.serial) { Some(serial) => (serial), None => "–" } }
            @for (component, _) in &COLUMNS {
                td.version { @match report.and_then(|report| report.components.get(component)) { Some(version) => (words::version(version)), None => "–" } }
            }
            td { @match &view.report { Some(record) => (words::time(record.received)), None => "never" } }
        }
    }
}

/// Why its state is what it is, a failure's message cut to `most` characters.
fn why(view: &HeadendView, against: &Against, most: Option<usize>) -> Markup {
    let Some(ReportRecord { received, report }) = &view.report else {
        return html! { "It never reported; it was added " (words::from_now(view.added, against.now)) "." };
    };
    let interval = SignedDuration::from_secs(i64::try_from(report.interval_seconds).unwrap_or(i64::MAX));
    let newest = || against.serial().map_or_else(|| "none".to_owned(), |serial| serial.to_string());
    html! {
        @match (view.state, &report.last_failure) {
            (HeadendState::Silent, _) => {
                "No report for " (words::duration(against.now.duration_since(*received))) "; it is to report every " (words::duration(interval)) "."
            }
            (HeadendState::Failing, Some(failure)) => { (words::reason(failure.reason)) " " (words::cut(&failure.message, most.unwrap_or(usize::MAX))) }
            (HeadendState::Failing, None) => "Its last attempt failed.",
            (HeadendState::Behind, _) => {
                @match report.serial { Some(serial) => { "It runs release " (serial) }, None => "It runs none" }
                "; " (newest()) " is the newest"
                @if let Some(since) = against.since { ", for " (words::duration(against.now.duration_since(since))) }
                "."
            }
            (HeadendState::Current, _) => {
                @if report.serial == against.serial() { "It runs the newest release." } @else {
                    "Release " (newest()) " is new; it has two of its intervals (" (words::duration(interval)) ") to take it."
                }
            }
        }
    }
}

fn pager(query: &Query, page: usize, pages: usize, found: usize) -> Markup {
    let to = |page: usize| Query { page, ..query.clone() }.address("/headends");
    let first = (page - 1) * ROWS + 1;
    html! {
        nav.pages aria-label="Further headends" {
            span.hint { (first) " to " (found.min(page * ROWS)) " of " (found) }
            @if pages > 1 { span {
                @if page > 1 { a.button href=(to(page - 1)) rel="prev" { "Previous" } " " }
                @if page < pages { a.button href=(to(page + 1)) rel="next" { "Next" } }
            } }
        }
    }
}

/// One of them.
pub(super) async fn one(session: Session<Read>, app: web::Data<App>, id: web::Path<String>) -> Shown {
    let id = id.into_inner();
    layout::show(session, app, &PLACE, move |app, _| {
        let view = views(app, Some(&id))?.pop();
        let view = view.ok_or_else(|| {
            Problem::new(
                Reason::NotFound,
                format!("there is no headend {id:?}; the page Headends lists those that there are"),
            )
        })?;
        Ok(Content { title: view.id.clone(), body: details(&view, &Against::of(app)?) })
    })
    .await
}

fn details(view: &HeadendView, against: &Against) -> Markup {
    html! {
        p.where { a href="/headends" { "Headends" } }
        div.bar.spread { h1 { (view.id) " " (words::state(view.state)) } }
        p { (why(view, against, None)) }
        div.two {
            section.card aria-labelledby="about" {
                h2 #about { "About" }
                dl.facts {
                    div { dt { "Added" } dd { (words::time(view.added)) } }
                    div { dt { "Shows" } dd { @if view.has_token { "a token" } @else { "a certificate" } } }
                    @if let Some(record) = &view.report { (reported(record)) }
                }
            }
            section.card aria-labelledby="versions" {
                h2 #versions { "Versions" }
                (versions(view, against))
            }
        }
    }
}

fn reported(ReportRecord { received, report }: &ReportRecord) -> Markup {
    html! {
        div { dt { "Last report" } dd { (words::time(*received)) } }
        div { dt { "Last attempt" } dd { (words::time(report.last_attempt)) } }
        div { dt { "Last success" } dd { @match report.last_success { Some(at) => (words::time(at)), None => "never" } } }
        @if let Some(at) = report.next_poll { div { dt { "Next poll" } dd { (words::time(at)) } } }
        div { dt { "Interval" } dd { (words::duration(SignedDuration::from_secs(i64::try_from(report.interval_seconds).unwrap_or(i64::MAX)))) } }
        div { dt { "Client" } dd { (report.client_version) } }
        @if let Some(behind) = report.clock_behind {
            div { dt { "Clock" } dd { (words::badge("warn", "behind")) " it said less than " (words::time(behind)) ", which it knew to be past" } }
        }
        @if let Some(transfer) = &report.transfer {
            div { dt { "Release " (transfer.serial) " came" } dd {
                (words::bytes(transfer.received_bytes)) ": " (transfer.increments) " in increments, " (transfer.compressed) " compressed, "
                (transfer.whole) " whole"
                @if transfer.fallbacks > 0 { " (" (transfer.fallbacks) " since what came first was refused)" }
            } }
        }
    }
}

fn versions(view: &HeadendView, against: &Against) -> Markup {
    let Some(ReportRecord { report, .. }) = &view.report else {
        return html! { p.hint { "It never said what it runs." } };
    };
    let newest = |component: &Component| against.newest.as_ref().and_then(|manifest| manifest.version_of(component));
    html! {
        div.wide tabindex="0" role="region" aria-labelledby="versions" {
            table {
                thead { tr { th scope="col" { "Component" } th scope="col" { "Runs" } th scope="col" { "Newest" } } }
                tbody {
                    tr { th scope="row" { "Release" } td { @match report.serial { Some(serial) => (serial), None => "none" } }
                        td { @match against.serial() { Some(serial) => (serial), None => "none" } } }
                    @for (component, version) in &report.components {
                        tr {
                            th scope="row" { (component) }
                            td.version { (words::version(version)) }
                            td { @match newest(component) {
                                Some(newest) if newest == version => (words::badge("good", "the same")),
                                Some(newest) => span.version { (words::version(newest)) },
                                None => "not in it",
                            } }
                        }
                    }
                }
            }
        }
    }
}
