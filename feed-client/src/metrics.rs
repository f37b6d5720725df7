//! Metrics for the textfile collector: rendered from the durable state after each attempt, so a restart resets nothing.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use bundles::{Manifest, Reason, Version};
use jiff::Timestamp;
use serde::Serialize;

use crate::poll::Rhythm;
use crate::state::{ReleaseSource, State};

/// What a family is, for people who write queries.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Described {
    /// Its name after the prefix.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The HELP text.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Described {
    Described { name, kind: "counter", labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Described {
    Described { name, kind: "gauge", labels, help }
}

/// Every family that there may be.
pub const FAMILIES: &[Described] = &[
    gauge("build_info", &["version"], "The client program; the value is always 1."),
    counter("poll_total", &["result"], "Attempts to be up to date since installation, by result."),
    counter("import_total", &["result"], "Imports of bundles since installation, by result; polls are counted apart."),
    counter(
        "received_bytes_total",
        &["encoding"],
        "Content that the server sent since installation, as it came, in bytes.",
    ),
    counter(
        "increment_fallback_total",
        &[],
        "Files fetched whole since installation, after what came packed was refused.",
    ),
    gauge("poll_interval_seconds", &[], "Time between two polls, in seconds."),
    gauge("last_attempt_timestamp_seconds", &[], "When the last attempt was made, in Unix time."),
    gauge("last_success_timestamp_seconds", &[], "When an attempt last succeeded, in Unix time."),
    gauge("next_run_timestamp_seconds", &[], "When the next poll is due, in Unix time."),
    gauge("last_import_timestamp_seconds", &[], "When a bundle was last imported, or refused, in Unix time."),
    gauge("last_import_success_timestamp_seconds", &[], "When an import last succeeded, in Unix time."),
    gauge("root_expires_timestamp_seconds", &[], "When the repository's trusted root expires, in Unix time."),
    gauge("held", &[], "1 while a release is held back (after a rollback or a failed hook), else 0."),
    gauge("release_serial", &[], "The number of the release that runs."),
    gauge("release_imported", &[], "1 where the release that runs came in a bundle, 0 from the server."),
    gauge("component_info", &["component", "version"], "The versions that run; the value is always 1."),
];

/// The whole text, in the exposition format of Prometheus.
#[must_use]
pub fn render(state: &State, running: Option<&Manifest>, rhythm: &Rhythm) -> String {
    let mut text = Text(String::new());
    text.family("build_info");
    text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);

    text.family("poll_total");
    for result in results() {
        text.sample("poll_total", &[("result", result)], state.poll_total.get(result).copied().unwrap_or(0));
    }
    text.family("import_total");
    for result in results() {
        text.sample("import_total", &[("result", result)], state.import_total.get(result).copied().unwrap_or(0));
    }
    text.family("received_bytes_total");
    let received = &state.received;
    for (encoding, bytes) in [("identity", received.identity), ("zstd", received.zstd), ("dcz", received.dcz)] {
        text.sample("received_bytes_total", &[("encoding", encoding)], bytes);
    }
    text.family("increment_fallback_total");
    text.sample("increment_fallback_total", &[], received.fallbacks);
    text.family("poll_interval_seconds");
    text.sample("poll_interval_seconds", &[], rhythm.every.as_secs());

    text.time("last_attempt_timestamp_seconds", state.last_attempt);
    text.time("last_success_timestamp_seconds", state.last_success);
    text.time("next_run_timestamp_seconds", state.next_poll);
    text.time("last_import_timestamp_seconds", state.last_import.as_ref().map(|import| import.at));
    text.time("last_import_success_timestamp_seconds", state.last_import_success);
    text.time("root_expires_timestamp_seconds", state.root.map(|root| root.expires));

    text.family("held");
    text.sample("held", &[], u8::from(state.hold.is_some()));

    if let Some(running) = running {
        text.family("release_serial");
        text.sample("release_serial", &[], running.serial);
        let imported = matches!(state.sources.get(&running.serial), Some(ReleaseSource::Bundle(_)));
        text.family("release_imported");
        text.sample("release_imported", &[], u8::from(imported));
        text.family("component_info");
        for (component, version) in components(running) {
            text.sample("component_info", &[("component", component), ("version", &version)], 1);
        }
    }
    text.0
}

/// Every result that an attempt may have.
fn results() -> impl Iterator<Item = &'static str> {
    ["ok", "unchanged"].into_iter().chain(Reason::ALL.iter().map(|reason| reason.as_str()))
}

/// Labels come from closed sets: all `other-*` are one component, and a digest is no version to label with.
fn components(running: &Manifest) -> BTreeMap<&'static str, String> {
    let mut rows = BTreeMap::new();
    for released in &running.components {
        let version = match &released.version {
            Version::Dotted(dotted) => dotted.to_string(),
            Version::Digest(_) => "unknown".to_owned(),
        };
        let label = released.component.metric_label();
        let several = rows.contains_key(label);
        rows.insert(label, if several { "several".to_owned() } else { version });
    }
    rows
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str) {
        let Some(Described { kind, help, .. }) = FAMILIES.iter().find(|family| family.name == name) else {
            debug_assert!(false, "{name} is not described");
            return;
        };
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP posture_feed_client_{name} {help}");
        let _ = writeln!(self.0, "# TYPE posture_feed_client_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        // Values are versions, reasons and component labels: letters, digits, dots, `-` and `_`, nothing to escape.
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "posture_feed_client_{name}{labels} {value}");
    }

    /// Absent until there is one: 0 would be 1970.
    fn time(&mut self, name: &str, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.family(name);
            self.sample(name, &[], time.as_second());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_result_is_there_from_the_start_and_no_time_before_there_is_one() {
        let rhythm = Rhythm { every: Duration::from_secs(7200), jitter: Duration::ZERO };
        let text = render(&State::default(), None, &rhythm);
        for result in ["ok", "unchanged", "hook_failed", "internal"] {
            for family in ["poll_total", "import_total"] {
                let line = format!("posture_feed_client_{family}{{result=\"{result}\"}} 0\n");
                assert!(text.contains(&line), "{text}");
            }
        }
        assert!(text.contains("posture_feed_client_poll_interval_seconds 7200\n"));
        assert!(!text.contains("last_success_timestamp_seconds"));

        // Absent are those of times and of what runs alone.
        let absent = FAMILIES.iter().filter(|family| !text.contains(&format!("_client_{} gauge", family.name)));
        for family in absent.filter(|family| family.kind == "gauge") {
            let is_time = family.name.ends_with("_timestamp_seconds");
            assert!(is_time || ["release_serial", "release_imported", "component_info"].contains(&family.name));
        }

        let mut state = State { last_success: Some(Timestamp::from_second(7).unwrap()), ..State::default() };
        state.count("ok");
        let text = render(&state, None, &rhythm);
        assert!(text.contains("posture_feed_client_poll_total{result=\"ok\"} 1\n"));
        assert!(text.contains("posture_feed_client_last_success_timestamp_seconds 7\n"));
    }
}
