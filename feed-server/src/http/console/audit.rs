//! Audit: who did what, newest first, with what is looked for.

use actix_web::web;
use maud::{Markup, html};
use serde::Deserialize;

use super::answers::Shown;
use super::layout::{self, Content, Place};
use super::session::Session;
use super::words;
use crate::app::App;
use crate::http::auth::Admin;
use crate::http::errors::Problem;
use crate::store::Store;
use crate::store::audit::{AuditRecord, AuditResult};
use crate::store::records::Scope;

/// Where it is.
pub(super) const PLACE: Place = Place { name: "Audit", path: "/audit", least: Scope::Admin };

/// Records of one page.
const ROWS: usize = 100;

/// Records that are read at once while those that fit are looked for.
const READ_AT_ONCE: usize = 1_000;

/// What can be searched for.
const MAX_SEARCH: usize = 300;

/// What is shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    /// In who, from where, the act, to what, and the detail.
    q: String,
    result: Outcome,
    /// Records with smaller numbers.
    before: Option<u64>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    #[default]
    Any,
    Done,
    Failed,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Any, Self::Done, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl Query {
    fn fits(&self, record: &AuditRecord) -> bool {
        let is_failed = matches!(record.result, AuditResult::Failed(_));
        let has_result = match self.result {
            Outcome::Any => true,
            Outcome::Done => !is_failed,
            Outcome::Failed => is_failed,
        };
        let wanted = self.q.trim().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let doing = &record.doing;
        let texts = [&doing.from, &doing.object, &doing.detail];
        has_result
            && (wanted.is_empty()
                || has(&doing.who.to_string())
                || has(doing.act.as_str())
                || has(record.result.as_str())
                || texts.into_iter().flatten().any(|text| has(text)))
    }

    fn address(&self) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        if !self.q.is_empty() {
            pairs.append_pair("q", &self.q);
        }
        if self.result != Outcome::Any {
            pairs.append_pair("result", self.result.as_str());
        }
        if let Some(before) = self.before {
            pairs.append_pair("before", &before.to_string());
        }
        match pairs.finish() {
            none if none.is_empty() => PLACE.path.to_owned(),
            pairs => format!("{}?{pairs}", PLACE.path),
        }
    }
}

/// What fits, newest first.
pub(super) async fn list(session: Session<Admin>, app: web::Data<App>, query: web::Query<Query>) -> Shown {
    let query = query.into_inner();
    if query.q.len() > MAX_SEARCH {
        return Err(Problem::bad_request(format!("what is searched for has at most {MAX_SEARCH} characters")).into());
    }
    layout::show(session, app, &PLACE, move |app, _| {
        let (records, more) = found(&app.store, &query)?;
        let body = html! {
            h1 { "Audit" }
            (search(&query))
            section.card aria-label="Records" {
                @if records.is_empty() { p { "No record fits." } } @else {
                    div.wide tabindex="0" role="region" aria-label="Records, newest first" { (table(&records)) }
                }
                (pager(&query, more))
            }
        };
        Ok(Content { title: PLACE.name.to_owned(), body })
    })
    .await
}

/// A page of those that fit, newest first, and where the next one begins, if there may be one.
fn found(store: &Store, query: &Query) -> Result<(Vec<AuditRecord>, Option<u64>), Problem> {
    let mut found = Vec::new();
    let newest = store.audit_newest(1)?.pop().map_or(0, |record| record.id);
    let mut before = query.before.unwrap_or(u64::MAX).min(newest.saturating_add(1));
    while before > 1 {
        // Numbers are given one after the other, so that these are the ones just before.
        let after = before.saturating_sub(READ_AT_ONCE as u64 + 1);
        let window = store.audit_after(after, READ_AT_ONCE)?;
        for record in window.into_iter().rev().filter(|record| record.id < before) {
            if query.fits(&record) {
                if found.len() == ROWS {
                    let next = found.last().map(|last: &AuditRecord| last.id);
                    return Ok((found, next));
                }
                found.push(record);
            }
        }
        before = after + 1;
    }
    Ok((found, None))
}

fn search(query: &Query) -> Markup {
    html! {
        form.bar method="get" action=(PLACE.path) role="search" {
            div.grow {
                label for="q" { "Search" }
                input #q type="search" name="q" value=(query.q) maxlength=(MAX_SEARCH) placeholder="who, act, address or what it was done to";
            }
            div {
                label for="result" { "Result" }
                select #result name="result" {
                    @for outcome in Outcome::ALL { option value=(outcome.as_str()) selected[query.result == outcome] { (outcome.as_str()) } }
                }
            }
            button type="submit" { "Search" }
        }
    }
}

fn table(records: &[AuditRecord]) -> Markup {
    html! {
        table {
            thead { tr { th.number scope="col" { "No." } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "From" }
                th scope="col" { "Act" } th scope="col" { "To what" } th scope="col" { "Result" } th scope="col" { "Detail" } } }
            tbody { @for record in records {
                tr {
                    td.number { (record.id) }
                    td { (words::time(record.at)) }
                    td { (record.doing.who) }
                    td { (record.doing.from.as_deref().unwrap_or_default()) }
                    td { code { (record.doing.act.as_str()) } }
                    td { (record.doing.object.as_deref().unwrap_or_default()) }
                    td { (words::result(record.result.as_str())) }
                    td.sentence {
                        (record.doing.detail.as_deref().unwrap_or_default())
                        @if let (Some(count), Some(since)) = (record.count, record.since) {
                            (words::counted(usize::try_from(count).unwrap_or(usize::MAX), "more attempt", "more attempts")) " since " (words::time(since))
                        }
                    }
                }
            } }
        }
    }
}

fn pager(query: &Query, next: Option<u64>) -> Markup {
    let newest = Query { before: None, ..query.clone() };
    let older = Query { before: next, ..query.clone() };
    html! {
        nav.pages aria-label="Further records" {
            span { @if query.before.is_some() { a.button href=(newest.address()) { "Newest" } } }
            span { @if next.is_some() { a.button href=(older.address()) rel="next" { "Older" } } }
        }
    }
}
