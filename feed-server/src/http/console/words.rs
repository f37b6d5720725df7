//! Facts as people read them.

use bundles::{Digest, Reason, Version};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use crate::headends::HeadendState;

/// A time, in the server's zone; the exact one is in its title.
pub(super) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at) { (shown(at, "%Y-%m-%d %H:%M:%S")) } }
}

/// The same as ISE writes it.
pub(super) fn ise_time(at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at) { (shown(at, "%Y/%m/%d %H:%M:%S")) } }
}

/// A day.
pub(super) fn day(at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at) { (shown(at, "%Y-%m-%d")) } }
}

fn shown(at: Timestamp, format: &str) -> String {
    at.to_zoned(TimeZone::system()).strftime(format).to_string()
}

/// What times are in, such as `UTC` or `CET (+01:00)`.
pub(super) fn zone(now: Timestamp) -> String {
    let zone = TimeZone::system();
    let name = now.to_zoned(zone).strftime("%Z (%:z)").to_string();
    name.replace("UTC (+00:00)", "UTC")
}

/// How far away a time is, such as `in 1 h 12 min` or `3 days ago`.
pub(super) fn from_now(at: Timestamp, now: Timestamp) -> String {
    let ahead = at.duration_since(now);
    match ahead.as_secs() {
        0 => "now".to_owned(),
        1.. => format!("in {}", duration(ahead)),
        ..0 => format!("{} ago", duration(ahead.abs())),
    }
}

/// How long something takes, to two units.
pub(super) fn duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let two = |large: i64, name: &str, small: i64, small_name: &str| {
        let rest = if small == 0 { String::new() } else { format!(" {small} {small_name}") };
        format!("{large} {name}{rest}")
    };
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..172_800 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A number of bytes.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1 << 10 {
        return format!("{count} B");
    }
    let unit = UNITS.len().min(count.ilog2() as usize / 10);
    // In tenths, by integers.
    let tenths = (u128::from(count) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit - 1])
}

/// A digest: enough of it to be compared at a glance, and all of it to be copied.
pub(super) fn digest(digest: &Digest) -> Markup {
    html! { code.digest { (digest) } }
}

/// A version; a digest that stands in for one is cut.
pub(super) fn version(version: &Version) -> String {
    version.short()
}

/// How something is: the kind gives its colour, the word says it.
pub(super) fn badge(kind: &str, word: &str) -> Markup {
    html! { span class={ "badge " (kind) } { (word) } }
}

/// How a run, an import or an act ended.
pub(super) fn result(word: &str) -> Markup {
    let kind = match word {
        "ok" | "done" | "imported" | "refreshed" => "good",
        "unchanged" | "up_to_date" | "begun" => "plain",
        "held" => "warn",
        _ => "bad",
    };
    badge(kind, word)
}

/// How a headend is.
pub(super) fn state(state: HeadendState) -> Markup {
    let kind = match state {
        HeadendState::Current => "good",
        HeadendState::Behind => "warn",
        HeadendState::Failing => "bad",
        HeadendState::Silent => "mute",
    };
    badge(kind, state.as_str())
}

/// A reason's word.
pub(super) fn reason(reason: Reason) -> Markup {
    badge("bad", reason.as_str())
}

/// The beginning of a text that is longer than that many characters; all of it is in its title.
pub(super) fn cut(text: &str, most: usize) -> Markup {
    match text.char_indices().nth(most) {
        Some((end, _)) => html! { span title=(text) { (text[..end].trim_end()) "…" } },
        None => html! { (text) },
    }
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min 59 s"),
            (7_200, "2 h"),
            (7_380, "2 h 3 min"),
            (172_799, "47 h 59 min"),
            (172_800, "2 days"),
        ] {
            assert_eq!(duration(SignedDuration::from_secs(seconds)), said);
        }
        let now = Timestamp::from_second(1_750_000_000).unwrap();
        let at = |seconds: i64| Timestamp::from_second(1_750_000_000 + seconds).unwrap();
        assert_eq!(from_now(at(90), now), "in 1 min 30 s");
        assert_eq!((from_now(at(-90), now), from_now(now, now)), ("1 min 30 s ago".to_owned(), "now".to_owned()));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3).into_string(), "äöü");
        assert_eq!(cut("äö ü", 3).into_string(), r#"<span title="äö ü">äö…</span>"#);
        assert_eq!(cut("<b>", usize::MAX).into_string(), "&lt;b&gt;");
    }

    #[test]
    fn bytes_are_rounded_down_to_a_tenth() {
        for (count, said) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (5_000_000_000, "4.6 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(count), said);
        }
    }
}
