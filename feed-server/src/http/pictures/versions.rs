//! Versions over time: a lane for each component, with a step up for each new version.

use std::collections::BTreeSet;

use bundles::{Component, Version};
use jiff::Timestamp;
use maud::{Markup, html};

use super::{BOTTOM, LEFT, MOST_ROWS, Picture, RIGHT, Span, TOP, WIDTH, WINDOW, many, nothing, number, points, utc};
use crate::store::history::PastRelease;

const ID: &str = "versions-over-time";
const TITLE: &str = "Versions over time";

/// A lane: a line of text, and the steps.
const LANE: f64 = 46.0;
const TEXT: f64 = 18.0;
/// Below the steps, so that lanes do not touch.
const GAP: f64 = 4.0;

/// More lanes make a wall; what a feed has beside the known components is in the table.
const MOST_LANES: usize = 12;

/// Characters of a version: a digest stands in for some.
const MOST_CHARS: usize = 18;

/// Since when a component has a version.
struct Step<'r> {
    at: Timestamp,
    version: &'r Version,
}

struct Lane<'r> {
    component: &'r Component,
    steps: Vec<Step<'r>>,
}

/// Which version each component had, over the last quarter of a year.
#[must_use]
pub fn versions(releases: &[PastRelease], now: Timestamp) -> Markup {
    let mut known: Vec<&PastRelease> = releases.iter().filter(|release| release.since <= now).collect();
    known.sort_by_key(|release| release.since);
    let window = Timestamp::from_second(now.as_second().saturating_sub(WINDOW)).unwrap_or(now).min(now);
    let Some(first) = known.first() else {
        return nothing(ID, TITLE, "There is no release yet.");
    };
    let begin = first.since.max(window);
    let span = Span::new(begin, now);
    let components: BTreeSet<&Component> = known.iter().flat_map(|release| release.versions.keys()).collect();
    let lanes: Vec<Lane<'_>> = components
        .iter()
        .map(|component| Lane { component, steps: steps(&known, component, window) })
        .filter(|lane| !lane.steps.is_empty())
        .collect();
    let drawn = &lanes[..lanes.len().min(MOST_LANES)];
    let changes: usize = lanes.iter().map(|lane| lane.steps.len().saturating_sub(1)).sum();
    let more = match lanes.len() - drawn.len() {
        0 => String::new(),
        more => format!(" {more} more components are in the table alone."),
    };
    let description = format!(
        "Since {} there were {} in {}. Each step is a new version; its height says nothing.{more}",
        begin.strftime("%-d %B %Y"),
        many(changes, "change of version", "changes of version"),
        many(lanes.len(), "component", "components")
    );
    let height = TOP + LANE * drawn.len() as f64 + BOTTOM;
    let drawing = html! {
        @for (number, lane) in drawn.iter().enumerate() { (draw(lane, TOP + LANE * number as f64, &span, now)) }
    };
    Picture { id: ID, title: TITLE, description, height, drawing, legend: html! {}, table: table(&lanes) }.framed(&span)
}

/// The versions of a component, each once for as long as it lasted; the first one may be from before the window.
fn steps<'r>(known: &[&'r PastRelease], component: &Component, window: Timestamp) -> Vec<Step<'r>> {
    let mut steps: Vec<Step<'r>> = Vec::new();
    for release in known {
        let Some(version) = release.versions.get(component) else { continue };
        if steps.last().is_some_and(|last| last.version == version) {
            continue;
        }
        if release.since <= window {
            steps.clear();
        }
        steps.push(Step { at: release.since, version });
    }
    steps
}

fn draw(lane: &Lane<'_>, top: f64, span: &Span, now: Timestamp) -> Markup {
    let floor = top + LANE - GAP;
    let room = LANE - GAP - TEXT;
    let count = lane.steps.len();
    let newest = lane.steps.last().map(|step| short(step.version)).unwrap_or_default();
    let mut line: Vec<(f64, f64)> = Vec::new();
    for (number, step) in lane.steps.iter().enumerate() {
        let y = floor - room * (number + 1) as f64 / count as f64;
        let x = span.x(step.at);
        match line.last_mut() {
            // Of what nobody can tell apart only the last one is drawn.
            Some(last) if x - last.0 < 1.0 => last.1 = y,
            Some(&mut (_, before)) => line.extend([(x, before), (x, y)]),
            None => line.push((x, y)),
        }
    }
    line.extend(line.last().map(|(_, last)| (span.x(now), *last)));
    let area = line.first().into_iter().map(|(x, _)| (*x, floor)).chain(line.iter().copied());
    let area = area.chain(line.last().into_iter().map(|(x, _)| (*x, floor)));
    html! {
        polygon.area points=(points(area)) {}
        polyline.line points=(points(line.iter().copied())) {}
        text.label x=(number(LEFT)) y=(number(top + 12.0)) { (lane.component) }
        text.label x=(number(WIDTH - RIGHT)) y=(number(top + 12.0)) text-anchor="end" { (newest) }
    }
}

fn short(version: &Version) -> String {
    let text = version.to_string();
    if text.chars().count() <= MOST_CHARS { text } else { text.chars().take(MOST_CHARS - 1).chain(['…']).collect() }
}

fn table(lanes: &[Lane<'_>]) -> Markup {
    let mut rows: Vec<(Timestamp, &Component, &Version)> = Vec::new();
    for lane in lanes {
        rows.extend(lane.steps.iter().map(|step| (step.at, lane.component, step.version)));
    }
    rows.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    html! {
        table {
            thead { tr { th scope="col" { "Since" } th scope="col" { "Component" } th scope="col" { "Version" } } }
            tbody {
                @for (at, component, version) in rows.iter().take(MOST_ROWS) {
                    tr { td { (utc(*at)) } td { (component) } td { (short(version)) } }
                }
            }
        }
        @if rows.len() > MOST_ROWS { p { "The newest " (MOST_ROWS) " of " (rows.len()) "." } }
    }
}
