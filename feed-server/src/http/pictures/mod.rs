//! Pictures, drawn on the server: pure functions from what is known to markup. Each is an SVG with a title and a description for
//! those who do not see it, and the same facts as a table. Colours are classes of the style sheet, since pages allow no styles
//! of their own; times are UTC.

mod age;
mod axis;
mod fleet;
#[cfg(test)]
mod tests;
mod versions;

use jiff::Timestamp;
use maud::{Markup, html};

pub use age::content_age;
use axis::Span;
pub use fleet::fleet;
pub use versions::versions;

/// The view box, in units of which one is a pixel on a wide screen.
const WIDTH: f64 = 640.0;
/// Around what is drawn: room for the numbers at the left, and for the times below.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// How far back pictures of releases go: a quarter of a year, in seconds.
const WINDOW: i64 = 90 * 86_400;

/// Points of one line: more than there are pixels tell nobody more.
const MOST_POINTS: usize = 1_000;

/// Rows of a table beside a picture.
const MOST_ROWS: usize = 50;

/// One picture, without its frame.
struct Picture {
    /// For references within the page.
    id: &'static str,
    title: &'static str,
    /// What it shows, in words.
    description: String,
    height: f64,
    drawing: Markup,
    legend: Markup,
    table: Markup,
}

impl Picture {
    fn framed(&self, span: &Span) -> Markup {
        let Self { id, title, description, height, drawing, legend, table } = self;
        let (title_id, description_id) = (format!("{id}-title"), format!("{id}-description"));
        let floor = height - BOTTOM;
        html! {
            figure.picture id=(id) {
                figcaption { (title) }
                div.picture-box tabindex="0" role="group" aria-label=(format!("{title}, picture")) {
                    svg viewBox=(format!("0 0 {} {}", number(WIDTH), number(*height))) role="img"
                        aria-labelledby=(format!("{title_id} {description_id}")) {
                        title id=(title_id) { (title) }
                        desc id=(description_id) { (description) }
                        g.grid {
                            @for (x, label) in span.ticks() {
                                line x1=(number(x)) x2=(number(x)) y1=(number(TOP)) y2=(number(floor)) {}
                                text.tick x=(number(x)) y=(number(floor + 17.0)) text-anchor="middle" { (label) }
                            }
                        }
                        (drawing)
                        line.axis x1=(number(LEFT)) x2=(number(WIDTH - RIGHT)) y1=(number(floor)) y2=(number(floor)) {}
                    }
                }
                (legend)
                p.picture-note { "Times are UTC. " (description) }
                details { summary { "The same as a table" } (table) }
            }
        }
    }
}

/// What stands in a picture's place where there is nothing to draw yet.
fn nothing(id: &str, title: &str, why: &str) -> Markup {
    html! { figure.picture id=(id) { figcaption { (title) } p.picture-note { (why) } } }
}

/// Lines across, with their values at the left.
fn levels(levels: &[(f64, String)]) -> Markup {
    html! {
        g.grid {
            @for (y, label) in levels {
                line x1=(number(LEFT)) x2=(number(WIDTH - RIGHT)) y1=(number(*y)) y2=(number(*y)) {}
                text.tick x=(number(LEFT - 6.0)) y=(number(y + 4.0)) text-anchor="end" { (label) }
            }
        }
    }
}

/// A coordinate: always a number, and never outside of what anybody sees.
fn number(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(-10_000.0, 10_000.0) } else { 0.0 };
    let rounded = (value * 10.0).round() / 10.0;
    // No minus before a zero.
    format!("{}", rounded + 0.0)
}

/// Points of a path.
fn points(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let points = points.into_iter().map(|(x, y)| format!("{},{}", number(x), number(y)));
    points.collect::<Vec<_>>().join(" ")
}

/// A moment as tables have it.
fn utc(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (at.strftime("%Y-%m-%d %H:%M")) } }
}

/// How long something is, for people.
fn long(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds % 86_400 / 3_600, seconds % 3_600 / 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h {minutes} min"),
        (1, hours) => format!("1 day {hours} h"),
        (days, _) if days >= 10 => format!("{days} days"),
        (days, hours) => format!("{days} days {hours} h"),
    }
}

/// A number of things.
fn many(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// At most `most` of these, evenly, the last one among them.
fn some<T>(items: &[T], most: usize) -> Vec<&T> {
    let stride = items.len().div_ceil(most.max(1)).max(1);
    items.iter().rev().step_by(stride).collect::<Vec<_>>().into_iter().rev().collect()
}
