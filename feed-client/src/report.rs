//! What the server is told after each attempt.

use bundles::report::Report;
use bundles::{Manifest, Reason, Reasoned};
use jiff::Timestamp;
use url::Url;

use crate::fetch::FetchError;
use crate::repository::below;
use crate::settings::Settings;
use crate::state::State;

/// The report for a state. `None` before the first attempt.
#[must_use]
pub fn make(state: &State, running: Option<&Manifest>, interval: std::time::Duration) -> Option<Report> {
    let last_attempt: Timestamp = state.last_attempt?;
    let components = running.into_iter().flat_map(|manifest| &manifest.components);
    Some(Report {
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
        serial: running.map(|manifest| manifest.serial),
        components: components
            .take(bundles::report::MAX_COMPONENTS)
            .map(|released| (released.component.clone(), released.version.clone()))
            .collect(),
        last_success: state.last_success,
        last_attempt,
        last_failure: state.last_failure.clone(),
        // One that is past was promised by a `feed-client run` that does not run any more.
        next_poll: state.next_poll.filter(|next| *next > last_attempt),
        interval_seconds: interval.as_secs().max(1),
    })
}

/// Sends it. Without a token there is nobody to report as, which is fine: a headend need not report.
///
/// # Errors
/// The server does not take it, or the token would travel in the clear.
pub async fn send(settings: &Settings, state: &State, running: Option<&Manifest>) -> Result<(), ReportError> {
    let Some(token) = &settings.token else { return Ok(()) };
    let Some(report) = make(state, running, settings.rhythm.every) else { return Ok(()) };
    if !may_carry_token(&settings.server) {
        return Err(ReportError::Cleartext { server: settings.server.clone() });
    }
    let url = below(&settings.server, &format!("api/v1/headends/{}/report", settings.id));
    Ok(settings.http.put_json(&url, token.secret(), &report).await?)
}

/// A token travels over TLS, or does not leave this machine (design, section 7).
#[must_use]
pub fn may_carry_token(server: &Url) -> bool {
    let loopback = match server.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    server.scheme() == "https" || loopback
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
    use super::*;

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
    fn what_is_reported_the_server_can_read() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let state = State { last_attempt: Some(now), ..State::default() };
        let report = make(&state, None, std::time::Duration::from_millis(1500)).unwrap();
        let read = Report::from_json(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!(read, report);
        assert!(make(&State::default(), None, std::time::Duration::from_secs(60)).is_none());
    }
}
