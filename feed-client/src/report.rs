//! What the server is told after each attempt.

use std::time::Duration;

use bundles::report::Report;
use bundles::{Manifest, Reason, Reasoned};
use jiff::Timestamp;
use url::Url;

use crate::fetch::FetchError;
use crate::poll::part;
use crate::proxy::is_this_machine;
use crate::repository::below;
use crate::settings::Settings;
use crate::state::State;

/// A server that has no time for a report now is given this much, at most. What it asks for beyond that the report of the
/// next attempt answers, which says the same and more.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The report for a state. `None` before the first attempt or import.
#[must_use]
pub fn make(state: &State, running: Option<&Manifest>, interval: Duration) -> Option<Report> {
    let import = state.last_import.as_ref();
    // An import says nothing about the way to the server: it stands for an attempt only where there was none yet.
    let (last_attempt, last_failure): (Timestamp, _) = match (state.last_attempt, import) {
        (Some(at), _) => (at, state.last_failure.clone()),
        (None, Some(import)) => (import.at, import.failure.clone()),
        (None, None) => return None,
    };
    let components = running.into_iter().flat_map(|manifest| &manifest.components);
    Some(Report {
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
        serial: running.map(|manifest| manifest.serial),
        components: components
            .take(bundles::report::MAX_COMPONENTS)
            .map(|released| (released.component.clone(), released.version.clone()))
            .collect(),
        last_success: state.last_success.max(state.last_import_success),
        last_attempt,
        last_failure,
        // One that is past was promised by a `feed-client run` that does not run any more.
        next_poll: state.next_poll.filter(|next| *next > last_attempt),
        interval_seconds: interval.as_secs().max(1),
        transfer: state.last_transfer.clone(),
        clock_behind: state.clock_behind,
    })
}

/// Sends it. Without a token or a certificate there is nobody to report as, which is fine: a headend need not report.
///
/// # Errors
/// The server does not take it, or the token would travel in the clear.
pub async fn send(settings: &Settings, state: &State, running: Option<&Manifest>) -> Result<(), ReportError> {
    let Some(remote) = settings.remote.as_ref().filter(|_| settings.may_report()) else { return Ok(()) };
    let Some(report) = make(state, running, settings.rhythm.every) else { return Ok(()) };
    if !may_carry_token(&remote.server) {
        return Err(ReportError::Cleartext { server: remote.server.clone() });
    }
    let url = below(&remote.server, &format!("api/v1/headends/{}/report", settings.id));
    Ok(remote.http.put_json(&url, settings.token.as_ref(), &report).await?)
}

/// A token travels over TLS, or does not leave this machine (design, section 7).
#[must_use]
pub fn may_carry_token(server: &Url) -> bool {
    server.scheme() == "https" || is_this_machine(server)
}

/// Why no report was made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Everybody on the way could read the token.
    #[error("the token is not sent to {server} in the clear; use an https:// URL for the server")]
    Cleartext {
        /// The server.
        server: Url,
    },
    /// The server or the way to it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl ReportError {
    /// How long to wait before the report is sent once more, where the server asked for that: never less than it asked for,
    /// and up to twice as long, since those who were refused together must not come back together. `random` is evenly spread
    /// over `0.0..1.0`.
    #[must_use]
    pub fn pause(&self, random: f64) -> Option<Duration> {
        let Self::Fetch(error) = self else { return None };
        let asked = error.wait().filter(|asked| *asked <= LONGEST_PAUSE)?;
        Some(asked + asked.mul_f64(part(random)))
    }
}

impl Reasoned for ReportError {
    fn reason(&self) -> Reason {
        match self {
            Self::Cleartext { .. } => Reason::BadRequest,
            Self::Fetch(error) => error.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bundles::report::Failure;

    use super::*;
    use crate::state::LastImport;

    #[test]
    fn a_token_travels_over_tls_or_not_at_all() {
        for (url, may) in [
            ("https://feed.example.net/", true),
            ("http://feed.example.net/", false),
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]:8080/", true),
            ("http://localhost:8080/", true),
            ("http://localhost.example.net/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(may_carry_token(&Url::parse(url).unwrap()), may, "{url}");
        }
    }

    #[test]
    fn a_busy_server_is_given_the_time_that_it_asks_for() {
        let refused = |wait: Option<u64>| {
            let url = Url::parse("https://feed.example.net/").unwrap();
            let status = reqwest::StatusCode::SERVICE_UNAVAILABLE;
            ReportError::Fetch(FetchError::Status { url: url.into(), status, wait: wait.map(Duration::from_secs) })
        };
        assert_eq!(refused(Some(10)).pause(0.0), Some(Duration::from_secs(10)));
        assert_eq!(refused(Some(10)).pause(0.5), Some(Duration::from_secs(15)));
        assert_eq!(refused(Some(120)).pause(0.0), None);
        assert_eq!(refused(None).pause(0.0), None);
        let cleartext = ReportError::Cleartext { server: Url::parse("http://feed.example.net/").unwrap() };
        assert_eq!(cleartext.pause(0.0), None);
    }

    #[test]
    fn what_is_reported_the_server_can_read() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let state = State { last_attempt: Some(now), ..State::default() };
        let report = make(&state, None, Duration::from_millis(1500)).unwrap();
        let read = Report::from_json(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!(read, report);
        assert!(make(&State::default(), None, Duration::from_secs(60)).is_none());
    }

    #[test]
    fn an_import_neither_ends_nor_makes_a_failure_of_polls() {
        let time = |second| Some(Timestamp::from_second(second).unwrap());
        let minute = Duration::from_secs(60);
        let failure = |reason| Some(Failure::new(reason, "a sentence"));
        let import =
            |failure| Some(LastImport { at: time(200).unwrap(), file: "bundle.zip".to_owned(), serial: None, failure });
        let polls_fail = State {
            last_attempt: time(100),
            last_success: time(50),
            last_failure: failure(Reason::Connect),
            last_import: import(None),
            last_import_success: time(200),
            ..State::default()
        };
        let report = make(&polls_fail, None, minute).unwrap();
        assert_eq!((Some(report.last_attempt), report.last_success), (time(100), time(200)));
        assert_eq!(report.last_failure.unwrap().reason, Reason::Connect);

        let import_failed = State {
            last_attempt: time(100),
            last_success: time(100),
            last_import: import(failure(Reason::Expired)),
            ..State::default()
        };
        assert_eq!(make(&import_failed, None, minute).unwrap().last_failure, None);
        let no_poll_yet = State { last_attempt: None, last_success: None, ..import_failed };
        assert_eq!(make(&no_poll_yet, None, minute).unwrap().last_failure.unwrap().reason, Reason::Expired);
    }
}
