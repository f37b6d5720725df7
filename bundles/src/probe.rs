//! What a probe says to a monitoring system, of whichever program, as Nagios's plugins do
//! (<https://www.monitoring-plugins.org/doc/guidelines.html>): one line that says how things are, figures behind `|`, more lines of
//! details, and an exit code.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;

/// Successes older than this are worth a look today: three runs of the vendor's own interval failed.
pub const OLD: Duration = Duration::from_secs(6 * 3_600);

/// Successes older than this are worth getting up for: a day that nobody looked at, and a night.
pub const VERY_OLD: Duration = Duration::from_secs(48 * 3_600);

/// How things are. The order is that of the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// As they should be.
    Ok,
    /// Somebody should look at it today.
    Warning,
    /// Somebody should get up.
    Critical,
    /// It cannot be told.
    Unknown,
}

impl State {
    /// Nagios's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// How monitoring systems write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub state: State,
    /// In a few words.
    pub headline: String,
    /// In a sentence, with what to do next.
    pub message: String,
}

/// A figure for graphs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// What is measured: letters and `_`.
    pub label: &'static str,
    /// How much.
    pub value: u64,
    /// `s`, `B`, or nothing for a number.
    pub unit: &'static str,
    /// The range outside of which it is a warning, as plugins write it; empty for none.
    pub warning: String,
    /// The same for critical.
    pub critical: String,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What was looked at, such as `POSTURE FEED`.
    #[serde(skip)]
    service: &'static str,
    /// How things are, in a few words.
    pub about: Vec<String>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
    /// For graphs.
    pub figures: Vec<Figure>,
}

impl Probe {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new(service: &'static str) -> Self {
        Self { service, about: Vec::new(), problems: Vec::new(), figures: Vec::new() }
    }

    /// It cannot be told how things are.
    #[must_use]
    pub fn unknown(service: &'static str, message: impl Into<String>) -> Self {
        let mut probe = Self::new(service);
        let message = message.into();
        let headline = message.lines().next().unwrap_or_default().to_owned();
        probe.add(State::Unknown, headline, message);
        probe
    }

    /// Notes a problem.
    pub fn add(&mut self, state: State, headline: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { state, headline: headline.into(), message: message.into() });
    }

    /// Notes a figure without limits.
    pub fn measure(&mut self, label: &'static str, value: u64, unit: &'static str) {
        self.limited(label, value, unit, "", "");
    }

    /// Notes a figure with limits.
    pub fn limited(&mut self, label: &'static str, value: u64, unit: &'static str, warning: &str, critical: &str) {
        let (warning, critical) = (warning.to_owned(), critical.to_owned());
        self.figures.push(Figure { label, value, unit, warning, critical });
    }

    /// How bad it is, all in all.
    #[must_use]
    pub fn state(&self) -> State {
        self.problems.iter().map(|problem| problem.state).max().unwrap_or(State::Ok)
    }

    /// As plugins print it.
    #[must_use]
    pub fn text(&self) -> String {
        let state = self.state();
        let mut problems: Vec<_> = self.problems.iter().collect();
        // The worst first; a sort is stable, so that each state keeps its order.
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.state));
        let headlines = problems.iter().map(|problem| problem.headline.as_str());
        let said: Vec<_> = headlines.chain(self.about.iter().map(String::as_str)).collect();
        let mut text = format!("{} {state} - {}", self.service, clean(&said.join(", ")));
        for (index, figure) in self.figures.iter().enumerate() {
            let Figure { label, value, unit, warning, critical } = figure;
            text.push_str(if index == 0 { " | " } else { " " });
            let figure = format!("{label}={value}{unit};{warning};{critical}");
            text.push_str(figure.trim_end_matches(';'));
        }
        text.push('\n');
        for problem in problems {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}: {}", problem.state, clean(&problem.message));
        }
        text
    }
}

/// `|` would begin figures, and a line feed another line.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '|' {
                '/'
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}

/// How old a success may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Beyond it somebody should look at it.
    pub warning: Duration,
    /// Beyond it somebody should get up.
    pub critical: Duration,
}

impl Ages {
    /// What was asked for; else [`OLD`] and [`VERY_OLD`], but never less than a few intervals, as the alerts have it.
    #[must_use]
    pub fn of(warning: Option<Duration>, critical: Option<Duration>, interval: Duration) -> Self {
        Self {
            warning: warning.unwrap_or_else(|| OLD.max(3 * interval)),
            critical: critical.unwrap_or_else(|| VERY_OLD.max(4 * interval)),
        }
    }

    /// How bad it is that a success is that old.
    #[must_use]
    pub fn judge(&self, age: Duration) -> State {
        if age > self.critical {
            State::Critical
        } else if age > self.warning {
            State::Warning
        } else {
            State::Ok
        }
    }
}

/// An age on the command line, such as `6h`, `1h 30m` or `2d`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn age(text: &str) -> Result<Duration, String> {
    let bad = || "is no age such as 6h, 90m or 2d".to_owned();
    // A day is a day of 24 hours here; `SignedDuration` knows none.
    let age = match text.strip_suffix('d').map(str::parse) {
        Some(Ok(days)) => {
            SignedDuration::try_from_hours(i64::checked_mul(days, 24).ok_or_else(bad)?).ok_or_else(bad)?
        }
        Some(Err(_)) | None => text.parse().map_err(|_| bad())?,
    };
    Duration::try_from(age).map_err(|_| bad())
}

/// An age for people, in the largest unit of which there are two.
#[must_use]
pub fn shown(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Whether a command line that cannot be read asks for a probe: what is wrong with it is then said as probes say it.
pub fn is_asked_for<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> bool {
    let mut after_verb = arguments.into_iter().skip_while(|argument| argument.as_ref() != "status");
    after_verb.any(|argument| argument.as_ref() == "--check")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_gives_the_code() {
        let mut probe = Probe::new("POSTURE FEED");
        assert_eq!((probe.state().exit_code(), probe.text().as_str()), (0, "POSTURE FEED OK - \n"));
        probe.about.push("release 7".to_owned());
        probe.add(State::Warning, "a | b", "a sentence\nof two lines");
        probe.add(State::Critical, "c", "why");
        probe.limited("age", 90, "s", "10", "20");
        probe.limited("free", 7, "B", "9:", "");
        probe.measure("release", 7, "");
        assert_eq!(
            probe.text(),
            "POSTURE FEED CRITICAL - c, a / b, release 7 | age=90s;10;20 free=7B;9: release=7\nCRITICAL: why\nWARNING: a \
             sentence of two lines\n"
        );
        assert_eq!(probe.state().exit_code(), 2);
        assert_eq!(Probe::unknown("X", "nobody\nthere").text(), "X UNKNOWN - nobody\nUNKNOWN: nobody there\n");
    }

    #[test]
    fn ages_are_read_and_judged() {
        assert_eq!(age("6h"), Ok(OLD));
        assert_eq!(age("2d"), Ok(VERY_OLD));
        assert_eq!(age("1h 30m"), Ok(Duration::from_secs(5_400)));
        for bad in ["", "6", "soon", "-1h", "99999999999999999d"] {
            assert!(age(bad).is_err(), "{bad}");
        }
        let hour = Duration::from_secs(3_600);
        let day = Ages::of(None, None, 24 * hour);
        assert_eq!((day.warning, day.critical), (72 * hour, 96 * hour));
        let usual = Ages::of(None, None, 2 * hour);
        assert_eq!([6, 7, 49].map(|hours| usual.judge(hours * hour)), [State::Ok, State::Warning, State::Critical]);
        assert_eq!(Ages::of(Some(hour), None, 24 * hour).warning, hour);
        assert_eq!(
            [90, 600, 10_000, 900_000].map(|s| shown(Duration::from_secs(s))),
            ["90 s", "10 min", "2 h", "10 days"]
        );
    }

    #[test]
    fn a_probe_is_recognised_on_a_wrong_command_line() {
        assert!(is_asked_for(["feed-server", "--data", "d", "status", "--check", "--no-such"]));
        assert!(!is_asked_for(["feed-server", "restore", "--check", "status"]));
    }
}
