//! The fleet by release over time: areas on top of each other, the newest release at the bottom.

use std::collections::BTreeSet;

use bundles::Serial;
use jiff::Timestamp;
use maud::{Markup, html};

use super::axis::scale;
use super::{BOTTOM, MOST_POINTS, MOST_ROWS, Picture, Span, TOP, levels, nothing, points, some, utc};
use crate::store::history::Sample;

const ID: &str = "fleet-by-release";
const TITLE: &str = "Headends by release";
const HEIGHT: f64 = 220.0;

/// Releases with an area of their own; there are as many colours that can be told apart.
const MOST_SERIES: usize = 5;

/// Seconds without a sample after which nobody knows: two of the intervals at which the oldest are kept.
const UNKNOWN: i64 = 12 * 3_600 + 1_800;

/// A sample alone is drawn this wide.
const ALONE: f64 = 3.0;

enum Series {
    Release(Serial),
    Older,
    None,
}

impl Series {
    /// Of the style sheet; `number` is the series's own.
    fn class(&self, number: usize) -> String {
        match self {
            Self::Release(_) => format!("series-{}", number + 1),
            Self::Older => "series-older".to_owned(),
            Self::None => "series-none".to_owned(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Release(serial) => format!("release {}", serial.get()),
            Self::Older => "older releases".to_owned(),
            Self::None => "none, or not reported".to_owned(),
        }
    }
}

struct Row {
    at: Timestamp,
    /// One for each series.
    counts: Vec<u64>,
}

/// How many headends ran which release.
#[must_use]
pub fn fleet(samples: &[Sample], now: Timestamp) -> Markup {
    let mut known: Vec<&Sample> = samples.iter().filter(|sample| sample.at <= now).collect();
    known.sort_by_key(|sample| sample.at);
    let known: Vec<&Sample> = some(&known, MOST_POINTS).into_iter().copied().collect();
    let most = known.iter().map(|sample| total(sample)).max().unwrap_or_default();
    let (Some(first), Some(last), 1..) = (known.first(), known.last(), most) else {
        return nothing(
            ID,
            TITLE,
            "There are no headends, or none was counted yet: that happens every quarter of an hour.",
        );
    };
    let newest: BTreeSet<Serial> = known.iter().flat_map(|sample| sample.releases.keys().copied()).collect();
    let newest: Vec<Serial> = newest.into_iter().rev().take(MOST_SERIES).collect();
    let series: Vec<Series> =
        newest.iter().map(|serial| Series::Release(*serial)).chain([Series::Older, Series::None]).collect();
    let rows: Vec<Row> = known.iter().map(|sample| Row { at: sample.at, counts: counts(sample, &newest) }).collect();
    let used: Vec<bool> = (0..series.len()).map(|number| rows.iter().any(|row| row.counts[number] > 0)).collect();

    let span = Span::new(first.at, now);
    let values = scale(most);
    let top = values.last().copied().unwrap_or(1);
    let y = |count: u64| {
        let part = (count as f64 / top as f64).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)
    };
    let named: Vec<_> = values.iter().map(|value| (y(*value), value.to_string())).collect();
    let drawing = html! {
        (levels(&named))
        @for number in (0..series.len()).filter(|number| used[*number]) {
            @for rows in rows.chunk_by(|one, next| next.at.as_second() - one.at.as_second() <= UNKNOWN) {
                polygon class=(series[number].class(number)) points=(points(area(rows, number, &span, &y))) {}
            }
        }
    };
    let now_runs: Vec<String> = series
        .iter()
        .zip(counts(last, &newest))
        .filter(|(_, count)| *count > 0)
        .map(|(series, count)| format!("{count} on {}", series.name()))
        .collect();
    let description = format!(
        "Of {} headends at {} UTC: {}.",
        total(last),
        last.at.strftime("%H:%M on %-d %B %Y"),
        now_runs.join(", ")
    );
    let legend = html! {
        ul.legend {
            @for (number, series) in series.iter().enumerate().filter(|(number, _)| used[*number]) {
                li {
                    svg.swatch viewBox="0 0 10 10" aria-hidden="true" focusable="false" {
                        rect class=(series.class(number)) width="10" height="10" {}
                    }
                    " " (series.name())
                }
            }
        }
    };
    let table = table(&series, &rows, &used);
    Picture { id: ID, title: TITLE, description, height: HEIGHT, drawing, legend, table }.framed(&span)
}

/// Headends that a sample counted.
fn total(sample: &Sample) -> u64 {
    let counted = sample.releases.values().copied().chain([sample.older, sample.without]);
    counted.fold(0, u64::saturating_add)
}

fn counts(sample: &Sample, newest: &[Serial]) -> Vec<u64> {
    let of = |serial: &Serial| sample.releases.get(serial).copied().unwrap_or_default();
    let others = sample.releases.iter().filter(|(serial, _)| !newest.contains(serial)).map(|(_, count)| *count);
    let older = others.fold(sample.older, u64::saturating_add);
    newest.iter().map(of).chain([older, sample.without]).collect()
}

/// The outline of a series above those before it.
fn area(rows: &[Row], number: usize, span: &Span, y: &dyn Fn(u64) -> f64) -> Vec<(f64, f64)> {
    let below = |row: &Row| row.counts[..number].iter().copied().fold(0, u64::saturating_add);
    let above = |row: &Row| below(row).saturating_add(row.counts[number]);
    if let [row] = rows {
        let right = span.x(row.at);
        // To the left, where there is room for it: what comes is not known.
        let left = (right - ALONE).max(super::LEFT);
        let right = right.max(left + ALONE);
        return vec![(left, y(above(row))), (right, y(above(row))), (right, y(below(row))), (left, y(below(row)))];
    }
    let tops = rows.iter().map(|row| (span.x(row.at), y(above(row))));
    let bottoms = rows.iter().rev().map(|row| (span.x(row.at), y(below(row))));
    tops.chain(bottoms).collect()
}

fn table(series: &[Series], rows: &[Row], used: &[bool]) -> Markup {
    let shown: Vec<usize> = (0..series.len()).filter(|number| used[*number]).collect();
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "When" }
                    @for number in &shown { th scope="col" { (series[*number].name()) } }
                }
            }
            tbody {
                @for row in some(rows, MOST_ROWS).into_iter().rev() {
                    tr { td { (utc(row.at)) } @for number in &shown { td { (row.counts[*number]) } } }
                }
            }
        }
    }
}
