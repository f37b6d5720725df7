//! `feed-client status`

use std::fmt::Write as _;

use bundles::Serial;
use bundles::report::Failure;
use bundles::update_information::{LastStatus, UpdateInformation};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use url::Url;

use super::{Global, failed, print};
use crate::apply;
use crate::config::HeadendId;
use crate::lock::Lock;
use crate::repository::RootFacts;
use crate::state::{Hold, HoldReason, State};

/// Everything that `status` says.
#[derive(Debug, Serialize)]
struct Facts {
    #[serde(flatten)]
    information: UpdateInformation,
    serial: Option<Serial>,
    highest_serial_seen: Option<Serial>,
    releases: Vec<Serial>,
    held: Option<Hold>,
    server: Option<Url>,
    headend: Option<HeadendId>,
    repository: Option<&'static str>,
    root: Option<RootFacts>,
    next_poll: Option<Timestamp>,
}

pub(super) fn status(global: &Global) -> Result<(), Failure> {
    let local = global.local()?;
    let paths = &local.paths;
    let state = State::load(paths).map_err(failed)?;
    let running = apply::running(paths).map_err(failed)?;
    let last_status = match (&state.last_failure, state.last_attempt) {
        // A killed run leaves `running_since` behind, but not the lock.
        _ if state.running_since.is_some() && Lock::is_held(&paths.lock()) => LastStatus::Running,
        (_, None) => LastStatus::None,
        (None, Some(at)) => LastStatus::Successful { at },
        (Some(failure), Some(at)) => LastStatus::Failed { at, failure: failure.clone() },
    };
    let facts = Facts {
        information: UpdateInformation::new(state.last_success, last_status, running.as_ref()),
        serial: running.map(|manifest| manifest.serial),
        highest_serial_seen: state.highest_serial,
        releases: apply::releases(paths).map_err(failed)?,
        held: state.hold,
        server: local.server().cloned(),
        headend: local.config.headend.id.clone().or_else(|| local.enrolment.as_ref().map(|e| e.id.clone())),
        repository: local.enrolment.as_ref().map(|enrolment| enrolment.repository.path()),
        root: state.root,
        next_poll: state.next_poll,
    };
    print(global.json, &facts, &text(&facts, &TimeZone::system()))
}

fn text(facts: &Facts, zone: &TimeZone) -> String {
    let mut text = facts.information.to_text(zone);
    let time = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y/%m/%d %H:%M:%S").to_string();
    let none = || "–".to_owned();
    let list = |serials: &[Serial]| serials.iter().map(Serial::to_string).collect::<Vec<_>>().join(", ");
    let held = facts.held.map(|hold| {
        let because = match hold.why {
            HoldReason::HookFailed => "the hook refused it",
            HoldReason::Rollback => "an operator went back",
        };
        format!("up to {}: {because}; `feed-client update` tries again", hold.serial)
    });
    let root = facts.root.map(|root| format!("version {}, expires {}", root.version, time(root.expires)));
    let server = facts.server.as_ref().map(|server| match facts.repository {
        Some(repository) => format!("{server} (/{repository})"),
        None => server.to_string(),
    });
    text.push('\n');
    for (label, value) in [
        ("Release number", facts.serial.map(|serial| serial.to_string())),
        ("Releases here", Some(list(&facts.releases)).filter(|list| !list.is_empty())),
        ("Held", held.or_else(|| Some("no".to_owned()))),
        ("Headend", facts.headend.as_ref().map(HeadendId::to_string)),
        ("Server", server.or_else(|| Some("not enrolled; run `feed-client enroll`".to_owned()))),
        ("Repository root", root),
        ("Next poll", facts.next_poll.map(time)),
    ] {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{label:<16}  {}", value.unwrap_or_else(none));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_anything_happened_every_line_is_there() {
        let facts = Facts {
            information: UpdateInformation::new(None, LastStatus::None, None),
            serial: None,
            highest_serial_seen: None,
            releases: Vec::new(),
            held: None,
            server: None,
            headend: None,
            repository: None,
            root: None,
            next_poll: None,
        };
        let text = text(&facts, &TimeZone::UTC);
        assert!(text.contains("No Update since Installation"));
        assert!(text.contains("Cisco conditions version"));
        assert!(text.contains("not enrolled"));
        let json = serde_json::to_value(&facts).unwrap();
        assert_eq!(json["last_status"]["status"], "none");
        assert_eq!(json["serial"], serde_json::Value::Null);
    }
}
