//! How old the content was at any time: a saw, whose teeth are releases.

use jiff::Timestamp;
use maud::{Markup, html};

use super::axis::scale;
use super::{
    BOTTOM, MOST_POINTS, MOST_ROWS, Picture, Span, TOP, WINDOW, levels, long, many, nothing, number, points, utc,
};
use crate::store::history::PastRelease;

const ID: &str = "content-age";
const TITLE: &str = "Age of the content";
const HEIGHT: f64 = 200.0;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// From one release to the next one.
struct Tooth {
    from: Timestamp,
    to: Timestamp,
    serial: bundles::Serial,
}

impl Tooth {
    fn seconds(&self) -> i64 {
        self.to.as_second().saturating_sub(self.from.as_second()).max(0)
    }
}

/// How old the newest release was, over the last quarter of a year.
#[must_use]
pub fn content_age(releases: &[PastRelease], now: Timestamp) -> Markup {
    let mut known: Vec<&PastRelease> = releases.iter().filter(|release| release.since <= now).collect();
    known.sort_by_key(|release| release.since);
    let ends = known.iter().skip(1).map(|next| next.since).chain([now]);
    let window = Timestamp::from_second(now.as_second().saturating_sub(WINDOW)).unwrap_or(now).min(now);
    let teeth = known.iter().zip(ends).map(|(release, to)| Tooth { from: release.since, to, serial: release.serial });
    let mut teeth: Vec<Tooth> = teeth.filter(|tooth| tooth.to >= window).collect();
    let Some(newest) = teeth.last() else {
        return nothing(ID, TITLE, "There is no release yet.");
    };
    let age = newest.seconds();
    let first = teeth.first().map_or(now, |tooth| tooth.from);
    let span = Span::new(first.max(window), now);
    let oldest = teeth.iter().map(Tooth::seconds).max().unwrap_or_default();
    let changes = teeth.iter().filter(|tooth| tooth.from >= window).count();
    let description = format!(
        "Since {} the content changed {}, is {} old now, and was at most {} old.",
        first.max(window).strftime("%-d %B %Y"),
        many(changes, "time", "times"),
        long(age),
        long(oldest)
    );

    let (unit, sign) = if oldest.unsigned_abs() >= 3 * DAY { (DAY, "d") } else { (HOUR, "h") };
    let values = scale(oldest.unsigned_abs().div_ceil(unit));
    let top = values.last().copied().unwrap_or(1).saturating_mul(unit);
    let y = |seconds: i64| {
        let part = (seconds.max(0) as f64 / top as f64).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)
    };
    let named: Vec<_> = values
        .iter()
        .map(|value| (y(i64::try_from(value.saturating_mul(unit)).unwrap_or(i64::MAX)), format!("{value} {sign}")))
        .collect();
    if teeth.len() > MOST_POINTS {
        teeth.drain(..teeth.len() - MOST_POINTS);
    }
    let mut line = Vec::new();
    for tooth in &teeth {
        // A tooth that began before the window comes into it at its age there.
        let entered = tooth.from.max(window);
        line.push((span.x(entered), y(entered.as_second() - tooth.from.as_second())));
        line.push((span.x(tooth.to), y(tooth.seconds())));
    }
    let floor = HEIGHT - BOTTOM;
    let area = line.first().into_iter().map(|(x, _)| (*x, floor)).chain(line.iter().copied());
    let area = area.chain(line.last().into_iter().map(|(x, _)| (*x, floor)));
    let drawing = html! {
        (levels(&named))
        polygon.area points=(points(area)) {}
        polyline.line points=(points(line.iter().copied())) {}
        @if let Some((x, y)) = line.last() { circle.point cx=(number(*x)) cy=(number(*y)) r="3" {} }
    };
    Picture { id: ID, title: TITLE, description, height: HEIGHT, drawing, legend: html! {}, table: table(&teeth) }
        .framed(&span)
}

fn table(teeth: &[Tooth]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Release" } th scope="col" { "Since" } th scope="col" { "Newest for" } } }
            tbody {
                @for tooth in teeth.iter().rev().take(MOST_ROWS) {
                    tr { td { (tooth.serial.get()) } td { (utc(tooth.from)) } td { (long(tooth.seconds())) } }
                }
            }
        }
        @if teeth.len() > MOST_ROWS { p { "The newest " (MOST_ROWS) " of " (teeth.len()) "." } }
    }
}
