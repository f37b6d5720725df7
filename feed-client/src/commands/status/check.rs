//! `feed-client status --check`: what a monitoring system is told of this headend.

use std::time::Duration;

use bundles::probe::{Ages, Probe, State, shown};
use bundles::report::Failure;
use bundles::update_information::LastStatus;
use jiff::{SignedDuration, Timestamp};

use super::{Facts, HoldReason, Status, gather};
use crate::clock::Edge;
use crate::commands::{Global, print};

const SERVICE: &str = "POSTURE FEED CLIENT";

/// A new root comes with any poll, and two weeks are long enough to be told of a server that makes none.
const ROOT_ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// As JSON.
#[derive(serde::Serialize)]
struct Told<'p> {
    state: State,
    #[serde(flatten)]
    probe: &'p Probe,
}

/// Says how things are, and gives Nagios's exit code: whatever fails, it cannot be told.
pub(in crate::commands) fn check(global: &Global, arguments: &Status, edge: Edge) -> Result<u8, Failure> {
    let found = global.local().and_then(|local| Ok((local.config.schedule.every, gather(&local, edge)?)));
    let probe = match found {
        Ok((every, facts)) => judge(&facts, Ages::of(arguments.warning, arguments.critical, every)),
        Err(failure) => Probe::unknown(SERVICE, failure.message),
    };
    let state = probe.state();
    print(global.json, &Told { state, probe: &probe }, &probe.text())?;
    Ok(state.exit_code())
}

/// The first line for a command line that cannot be read; what is wrong with it is said already. Gives the exit code.
pub(in crate::commands) fn misused() -> u8 {
    let probe = Probe::unknown(SERVICE, "the command line is wrong, see `feed-client status --help`");
    // Who cannot be told has closed the door.
    let _ = print(false, &(), &probe.text());
    probe.state().exit_code()
}

fn judge(facts: &Facts, ages: Ages) -> Probe {
    let mut probe = Probe::new(SERVICE);
    let polls = facts.server.is_some();
    match facts.serial {
        Some(serial) => {
            probe.about.push(format!("release {serial}"));
            probe.measure("release", serial.get(), "");
        }
        None => probe.add(
            State::Critical,
            "no release runs",
            "nothing has been applied yet; `feed-client doctor` says what keeps it",
        ),
    }
    if polls {
        polled(&mut probe, facts, ages);
    } else {
        probe.about.push("fed by hand".to_owned());
    }
    if let LastStatus::Failed { failure, .. } = &facts.information.last_status {
        probe.add(State::Warning, format!("updates fail ({})", failure.reason), failure.message.clone());
    }
    if let Some(hold) = facts.held {
        let why = match hold.why {
            HoldReason::HookFailed => "the hook refused it",
            HoldReason::Rollback => "an operator went back",
            HoldReason::StateLost => "the state file was lost, and with it the reason",
        };
        let message = format!("up to release {}: {why}; `feed-client update` tries again", hold.serial);
        probe.add(State::Warning, "a release is held back", message);
    }
    if let Some(failure) = &facts.last_report_failure {
        let headline = format!("the report was not taken ({})", failure.reason);
        probe.add(State::Warning, headline, failure.message.clone());
    }
    if facts.clock_behind.is_some_and(|latest| latest > facts.now) {
        probe.add(State::Warning, "the clock is behind", "it was later already; set it (NTP, UDP 123)");
    }
    if !facts.damaged.is_empty() {
        let message = format!("{}; the next update brings it anew", facts.damaged.join(", "));
        probe.add(State::Warning, "signed metadata is damaged", message);
    }
    if polls && let Some(root) = &facts.root {
        ends(&mut probe, root.expires, facts.now);
    }
    probe
}

fn polled(probe: &mut Probe, facts: &Facts, ages: Ages) {
    let Some(success) = facts.information.last_success else { return };
    let age = Duration::try_from(facts.now.duration_since(success)).unwrap_or_default();
    let state = ages.judge(age);
    if state > State::Ok {
        let message =
            format!("the last success was {} ago; `feed-client doctor` names the step that fails", shown(age));
        probe.add(state, format!("no success for {}", shown(age)), message);
    }
    probe.about.push(format!("updated {} ago", shown(age)));
    let (warning, critical) = (ages.warning.as_secs().to_string(), ages.critical.as_secs().to_string());
    probe.limited("age", age.as_secs(), "s", &warning, &critical);
}

fn ends(probe: &mut Probe, expires: Timestamp, now: Timestamp) {
    let state = match expires.duration_since(now) {
        left if left <= SignedDuration::ZERO => State::Critical,
        left if left < ROOT_ENDS_SOON => State::Warning,
        _ => return,
    };
    let message =
        format!("the repository's root ends at {expires}; its origin makes a next one with `feed-server keys renew`");
    probe.add(state, "the root ends", message);
}
