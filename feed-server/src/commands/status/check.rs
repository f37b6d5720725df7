//! `feed-server status --check`: what a monitoring system is told. What the alerts say (`deploy/prometheus`), for those that have no
//! Prometheus.

use std::time::Duration;

use bundles::Reason;
use bundles::probe::{Ages, Probe, State, shown};
use bundles::report::Failure;
use jiff::{SignedDuration, Timestamp};

use super::Arguments;
use crate::app::warnings::{Warning, WarningKind};
use crate::clock;
use crate::commands::door::Door;
use crate::commands::output::{bytes, local_time, print, print_json};
use crate::commands::{Global, failure_in};
use crate::headends::HeadendState;
use crate::http::api::views::StatusView;

const SERVICE: &str = "POSTURE FEED";

/// Monitoring systems give a probe a minute at most, and then say less than it could.
const PATIENCE: Duration = Duration::from_secs(20);

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// An update run takes minutes; the vendor says twenty of its own.
const LONG_RUN: SignedDuration = SignedDuration::from_hours(1);

/// The vendor changes content several times a week.
const CONTENT_OLD: SignedDuration = SignedDuration::from_hours(10 * 24);

/// An import that was refused longer ago than this has been looked at, or will be when the next one is brought.
const IMPORT_RECENT: SignedDuration = SignedDuration::from_hours(24);

/// Less than this, and runs and imports fail for want of room.
const ROOM_GONE: u64 = 256 << 20;
const ROOM_SCARCE: u64 = 2 << 30;

/// Says how things are, and gives Nagios's exit code: whatever fails, it cannot be told.
///
/// # Errors
/// Nobody can be told anything.
pub async fn run(global: &Global, arguments: &Arguments) -> anyhow::Result<u8> {
    let probe = match tokio::time::timeout(PATIENCE, ask(global)).await {
        Ok(Ok(status)) => judge(&status, arguments, clock::now()),
        Ok(Err(error)) => {
            let said = failure_in(&error).map_or_else(|| format!("{error:#}"), |failure| failure.message.clone());
            Probe::unknown(SERVICE, said)
        }
        Err(_) => Probe::unknown(SERVICE, format!("the server did not answer within {} s", PATIENCE.as_secs())),
    };
    if global.json {
        print_json(&Told::of(&probe))?;
    } else {
        print(&probe.text())?;
    }
    Ok(probe.state().exit_code())
}

/// The first line for a command line that cannot be read; what is wrong with it is said already. Gives the exit code.
pub fn misused() -> u8 {
    let probe = Probe::unknown(SERVICE, "the command line is wrong, see `feed-server status --help`");
    // Who cannot be told has closed the door.
    let _ = print(&probe.text());
    probe.state().exit_code()
}

/// As JSON.
#[derive(serde::Serialize)]
struct Told<'p> {
    state: State,
    #[serde(flatten)]
    probe: &'p Probe,
}

impl<'p> Told<'p> {
    fn of(probe: &'p Probe) -> Self {
        Self { state: probe.state(), probe }
    }
}

async fn ask(global: &Global) -> anyhow::Result<StatusView> {
    let config = global.config()?;
    let none = || {
        let directory = config.data.directory.display();
        let message = format!("no server runs on {directory}; `systemctl status posture-feed-server` says why");
        Failure::new(Reason::Connect, message)
    };
    Door::to_server(&config)?.ok_or_else(none)?.get("/api/v1/status").await
}

fn judge(status: &StatusView, arguments: &Arguments, now: Timestamp) -> Probe {
    let mut probe = Probe::new(SERVICE);
    let release = status.release.as_ref();
    probe
        .about
        .push(release.map_or_else(|| "no release yet".to_owned(), |release| format!("release {}", release.serial)));
    match status.sync_interval_seconds {
        Some(interval) => synced(&mut probe, status, arguments, Duration::from_secs(interval), now),
        // What comes by hand comes when somebody brings it.
        None => probe.about.push("fed by hand".to_owned()),
    }
    stored(&mut probe, status);
    if let Some(running) = &status.running
        && let Some(started) = running.started
        && now.duration_since(started) > LONG_RUN
    {
        let message = format!("run {} has been going on since {}; a restart ends it", running.run, local_time(started));
        probe.add(State::Warning, "a run is stuck", message);
    }
    if let Some(release) = release
        && now.duration_since(release.created) > CONTENT_OLD
    {
        let message = format!(
            "content has not changed since {}, and the vendor changes it several times a week; compare the versions with its page",
            local_time(release.created)
        );
        probe.add(State::Warning, "content is old", message);
    }
    imported(&mut probe, status, now);
    for warning in &status.warnings {
        let Warning { kind, message, .. } = warning;
        probe.add(severity(*kind, status, now), kind.as_str().replace('_', " "), message.clone());
    }
    headends(&mut probe, status);
    if let Some(release) = release {
        probe.measure("release", release.serial.get(), "");
    }
    probe
}

/// Whether it came from upstream lately.
fn synced(probe: &mut Probe, status: &StatusView, arguments: &Arguments, interval: Duration, now: Timestamp) {
    let ages = Ages::of(arguments.warning, arguments.critical, interval);
    let age =
        status.update_information.last_success.map(|at| Duration::try_from(now.duration_since(at)).unwrap_or_default());
    match age {
        Some(age) => {
            let state = ages.judge(age);
            if state > State::Ok {
                let message =
                    format!("the last success was {} ago; `feed-server doctor` names the step that fails", shown(age));
                probe.add(state, format!("no success for {}", shown(age)), message);
            }
            probe.about.push(format!("updated {} ago", shown(age)));
            let (warning, critical) = (ages.warning.as_secs().to_string(), ages.critical.as_secs().to_string());
            probe.limited("age", age.as_secs(), "s", &warning, &critical);
        }
        None if status.last_failure.is_some() => {
            probe.add(
                State::Warning,
                "never updated",
                "no run has ever succeeded; `feed-server doctor` names the step that fails",
            );
        }
        None => probe.about.push("the first run is due".to_owned()),
    }
    if let Some(failed) = &status.last_failure {
        let reason = failed.reason.unwrap_or(Reason::Internal);
        let message = failed.message.clone().unwrap_or_else(|| reason.sentence().to_owned());
        probe.add(State::Warning, format!("updates fail ({reason})"), message);
    }
}

fn stored(probe: &mut Probe, status: &StatusView) {
    if let Some(problem) = &status.cannot_store {
        probe.add(State::Critical, "nothing can be stored", problem.clone());
    }
    if let Some(Failure { reason, message }) = &status.cannot_publish {
        probe.add(State::Critical, format!("not all is published ({reason})"), message.clone());
    }
    let Some(free) = status.store_free_bytes else { return };
    let state = match free {
        ..ROOM_GONE => State::Critical,
        ROOM_GONE..ROOM_SCARCE => State::Warning,
        ROOM_SCARCE.. => State::Ok,
    };
    if state > State::Ok {
        let message = format!(
            "{} are left on the data directory's file system; make room, or lower [data] retain_releases",
            bytes(free)
        );
        probe.add(state, "little room", message);
    }
    probe.limited("free", free, "B", &format!("{ROOM_SCARCE}:"), &format!("{ROOM_GONE}:"));
}

fn imported(probe: &mut Probe, status: &StatusView, now: Timestamp) {
    let Some(import) = &status.last_import else { return };
    let recent = import.ended.is_some_and(|ended| now.duration_since(ended) < IMPORT_RECENT);
    if let Some(reason) = import.reason.filter(|_| recent) {
        let message = import.message.clone().unwrap_or_else(|| reason.sentence().to_owned());
        probe.add(State::Warning, format!("an import was refused ({reason})"), message);
    }
}

/// What ends is worth getting up for where that is near: the vendor's certificate in three days, one's own in seven, since
/// somebody has to bring a new one, and metadata within one.
fn severity(kind: WarningKind, status: &StatusView, now: Timestamp) -> State {
    let near = |end: Timestamp, days: i32| end.duration_since(now) < DAY * days;
    let chains = status.upstream_chain.iter().flat_map(|presented| &presented.chains);
    let mut certificates = chains.flat_map(|chain| &chain.certificates);
    let ends_soon = (kind == WarningKind::MetadataExpiring
        && status.metadata_expires.iter().any(|role| near(role.expires, 1)))
        || (kind == WarningKind::CertificateExpiring && certificates.any(|certificate| near(certificate.not_after, 3)))
        || (kind == WarningKind::ServerCertificateExpiring
            && status.server_certificate.as_ref().is_some_and(|certificate| near(certificate.not_after, 7)));
    if kind.is_critical() || ends_soon { State::Critical } else { State::Warning }
}

fn headends(probe: &mut Probe, status: &StatusView) {
    let total: u64 = status.headends.iter().map(|count| count.count).sum();
    if total > 0 {
        probe.about.push(format!("{total} {}", if total == 1 { "headend" } else { "headends" }));
    }
    for count in &status.headends {
        let (label, what) = match count.state {
            HeadendState::Silent => ("headends_silent", "have stopped reporting"),
            HeadendState::Failing => ("headends_failing", "fail to update"),
            HeadendState::Behind => ("headends_behind", "run an old release"),
            HeadendState::Current => ("headends_current", ""),
        };
        if count.state == HeadendState::Current {
            probe.measure(label, count.count, "");
            continue;
        }
        probe.limited(label, count.count, "", "0", "");
        if count.count > 0 {
            let message = format!("{} headends {what}; `feed-server headend list` shows which, and why", count.count);
            probe.add(State::Warning, format!("{} headends {}", count.count, count.state.as_str()), message);
        }
    }
}
