//! `feed-client status`

mod check;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundles::probe;
use bundles::report::{Failure, Transfer};
use bundles::signed::RootFacts;
use bundles::update_information::{LastStatus, UpdateInformation};
use bundles::{Reason, Serial};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use url::Url;

use super::{Global, failed, print};
use crate::apply;
use crate::clock::Edge;
use crate::config::HeadendId;
use crate::durable;
use crate::lock::Lock;
use crate::mend;
use crate::repository::{RepositoryError, Side, Store};
use crate::settings::Local;
use crate::state::{Damage, Hold, HoldReason, LastImport, Rebuilt, ReleaseSource, State};

pub(super) use check::{check, misused};

/// `feed-client status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Be a probe for Nagios and its like: one line, figures, details, and the exit codes 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    #[arg(long)]
    pub(super) check: bool,
    /// With --check: the last success may be that old before it is a WARNING [default: 6h, three intervals at least]
    #[arg(long, value_name = "AGE", requires = "check", value_parser = probe::age)]
    warning: Option<Duration>,
    /// With --check: and before it is CRITICAL [default: 48h, four intervals at least]
    #[arg(long, value_name = "AGE", requires = "check", value_parser = probe::age)]
    critical: Option<Duration>,
}

/// Everything that `status` says.
#[derive(Debug, Serialize)]
struct Facts {
    data_directory: PathBuf,
    #[serde(flatten)]
    information: UpdateInformation,
    serial: Option<Serial>,
    source: Option<ReleaseSource>,
    highest_serial_seen: Option<Serial>,
    releases: Vec<Serial>,
    held: Option<Hold>,
    server: Option<Url>,
    headend: Option<HeadendId>,
    repository: Option<&'static str>,
    root: Option<RootFacts>,
    /// When the repository's signed metadata was last refreshed in full.
    verified: Option<Timestamp>,
    /// By this machine's clock.
    now: Timestamp,
    /// The clock is behind what happened already, or behind what was signed.
    clock_behind: Option<Timestamp>,
    /// Signed metadata that is damaged or gone now.
    damaged: Vec<String>,
    /// The damage that was last found by an update or import.
    last_damage: Option<Damage>,
    /// When the state file was last damaged or gone.
    state_rebuilt: Option<Rebuilt>,
    next_poll: Option<Timestamp>,
    last_import: Option<LastImport>,
    offline_root: Option<RootFacts>,
    newest_signed_time: Option<Timestamp>,
    last_report_failure: Option<Failure>,
    last_transfer: Option<Transfer>,
}

pub(super) fn status(global: &Global, edge: Edge) -> Result<(), Failure> {
    let facts = gather(&global.local()?, edge)?;
    print(global.json, &facts, &text(&facts, &TimeZone::system()))
}

/// The same for a file that goes to whoever helps.
pub(super) fn shown_to_support(local: &Local, edge: Edge) -> Result<String, Failure> {
    Ok(text(&gather(local, edge)?, &TimeZone::UTC))
}

fn gather(local: &Local, edge: Edge) -> Result<Facts, Failure> {
    let now = edge.now();
    let paths = &local.paths;
    let state = mend::load(paths).map_err(failed)?;
    let running = apply::running(paths).map_err(failed)?;
    let last_status = match state.newest_attempt() {
        // A killed run leaves `running_since` behind, but not the lock.
        _ if state.running_since.is_some() && Lock::is_held(&paths.lock()) => LastStatus::Running,
        None => LastStatus::None,
        Some((at, None)) => LastStatus::Successful { at },
        Some((at, Some(failure))) => LastStatus::Failed { at, failure: failure.clone() },
    };
    let last_success = state.last_success.max(state.last_import_success);
    let releases = apply::releases(paths).map_err(failed)?;
    let empty = local.enrolment.is_none() && releases.is_empty() && !paths.state().exists();
    if empty {
        let what = format!(
            "not enrolled: nothing of a headend is in {}; run `feed-client enroll --server URL --root FILE`, or give its \
             data directory with --data",
            shown(paths.data()).display()
        );
        return Err(Failure::new(Reason::NotFound, what));
    }
    Ok(Facts {
        data_directory: shown(paths.data()),
        information: UpdateInformation::new(last_success, last_status, running.as_ref()),
        source: running.as_ref().and_then(|manifest| state.sources.get(&manifest.serial)).cloned(),
        serial: running.map(|manifest| manifest.serial),
        highest_serial_seen: state.highest_serial,
        releases,
        held: state.hold,
        server: local.server().cloned(),
        headend: local.config.headend.id.clone().or_else(|| local.enrolment.as_ref().map(|e| e.id.clone())),
        repository: local.enrolment.as_ref().map(|enrolment| enrolment.repository.path()),
        root: state.root,
        verified: state.refreshed.as_ref().map(|refreshed| refreshed.at),
        now,
        clock_behind: state.latest_known().filter(|latest| *latest > now).max(state.clock_behind),
        damaged: damaged(local, &state).map_err(failed)?,
        last_damage: state.damage,
        state_rebuilt: state.rebuilt,
        next_poll: state.next_poll,
        last_import: state.last_import,
        offline_root: local.import_root_facts(),
        newest_signed_time: state.newest_signed,
        last_report_failure: state.last_report_failure,
        last_transfer: state.last_transfer,
    })
}

/// What of the signed metadata here is of no use, by name.
fn damaged(local: &Local, state: &State) -> Result<Vec<String>, RepositoryError> {
    let paths = &local.paths;
    let Some(enrolment) = &local.enrolment else { return Ok(Vec::new()) };
    let mut damaged = Vec::new();
    for side in Side::BOTH {
        let enrolled = side == enrolment.repository;
        let root = match side {
            Side::Offline => local.import_root().ok(),
            Side::Online if enrolled => durable::read_if_there(&paths.pinned_root())?,
            Side::Online => None,
        };
        // A pinned root that is damaged itself ends every update with its own words.
        let Some(root) = root.filter(|root| RootFacts::of_root(root).is_ok()) else { continue };
        let found = Store::open(&paths.metadata(side)).damage(&root, enrolled && state.root.is_some())?;
        damaged.extend(found.iter().map(|name| side.shown(name)));
    }
    Ok(damaged)
}

/// How long ago, in the largest unit that is whole.
fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    match seconds {
        ..0 => "in the future, by this machine's clock".to_owned(),
        0..7_200 => format!("{} minutes ago", seconds / 60),
        7_200..172_800 => format!("{} hours ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// `./feed-client-data` says little to somebody who stands in another directory than they think.
fn shown(directory: &Path) -> PathBuf {
    std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned())
}

/// Whether the server said no, or nothing came through to it.
fn report_line(failure: &Failure) -> String {
    let answered =
        matches!(failure.reason, Reason::Unauthorized | Reason::NotFound | Reason::RateLimited | Reason::HttpStatus);
    let how = if answered { "refused" } else { "failed" };
    format!("{how} ({}): {}", failure.reason, failure.message)
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
            HoldReason::StateLost => "the state file was lost, and with it the reason",
        };
        format!("up to {}: {because}; `feed-client update` tries again", hold.serial)
    });
    let root = facts
        .root
        .map(|root| format!("version {}, expires {}, SHA-256 {}", root.version, time(root.expires), root.fingerprint));
    let server = facts.server.as_ref().map(|server| match facts.repository {
        Some(repository) => format!("{server} (/{repository})"),
        None => server.to_string(),
    });
    let no_server = match facts.headend {
        Some(_) => "none: releases come with `feed-client import`",
        None => "not enrolled; run `feed-client enroll`",
    };
    let import_root = facts.offline_root.map(|root| format!("version {}, SHA-256 {}", root.version, root.fingerprint));
    text.push('\n');
    for (label, value) in [
        ("Release number", facts.serial.map(|serial| serial.to_string())),
        ("Came from", facts.source.as_ref().map(ReleaseSource::to_string)),
        ("Releases here", Some(list(&facts.releases)).filter(|list| !list.is_empty())),
        ("Held", held.or_else(|| Some("no".to_owned()))),
        ("Headend", facts.headend.as_ref().map(HeadendId::to_string)),
        ("Server", server.or_else(|| Some(no_server.to_owned()))),
        ("Repository root", root),
        ("Verified", facts.verified.map(|at| format!("{} ({})", time(at), age(at, facts.now)))),
        ("Bundles' root", import_root),
        ("Next poll", facts.next_poll.map(time)),
        ("Data directory", Some(facts.data_directory.display().to_string())),
    ] {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{label:<16}  {}", value.unwrap_or_else(none));
    }
    if let Some(latest) = facts.clock_behind {
        let _ = writeln!(
            text,
            "{:<16}  behind: it was {} already; set it (NTP, UDP 123), for what has expired may look fresh",
            "Clock",
            time(latest)
        );
    }
    if let Some(Rebuilt { why, at }) = &facts.state_rebuilt {
        let at = at.map_or_else(none, time);
        let _ = writeln!(text, "{:<16}  {why}; put together anew from what is here: {at}", "State file");
    }
    if !facts.damaged.is_empty() {
        let _ = writeln!(text, "{:<16}  {}; the next update brings it anew", "Damaged", facts.damaged.join(", "));
    } else if let Some(damage) = &facts.last_damage {
        let _ = writeln!(text, "{:<16}  {}: {}; brought anew", "Was damaged", time(damage.at), damage.files.join(", "));
    }
    if let Some(transfer) = &facts.last_transfer {
        let _ = writeln!(text, "{:<16}  {transfer}", "Last transfer");
        for refused in &transfer.refused {
            let _ =
                writeln!(text, "{:<16}  {} ({}): {}", "  refused", refused.payload, refused.reason, refused.message);
        }
    }
    if let Some(import) = &facts.last_import {
        let how = match (&import.failure, import.serial) {
            (Some(failure), _) => format!("failed ({}): {}", failure.reason, failure.message),
            (None, Some(serial)) => format!("release {serial}"),
            (None, None) => none(),
        };
        let _ = writeln!(text, "{:<16}  {} of {}: {how}", "Last import", time(import.at), import.file);
    }
    if let Some(failure) = &facts.last_report_failure {
        let _ = writeln!(text, "{:<16}  {}", "Last report", report_line(failure));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_anything_happened_every_line_is_there() {
        let facts = Facts {
            data_directory: PathBuf::from("/somewhere"),
            information: UpdateInformation::new(None, LastStatus::None, None),
            serial: None,
            highest_serial_seen: None,
            releases: Vec::new(),
            held: None,
            server: None,
            headend: None,
            repository: None,
            root: None,
            verified: None,
            now: Timestamp::UNIX_EPOCH,
            clock_behind: Some(Timestamp::MAX),
            damaged: vec!["tuf/repo/root.json".to_owned()],
            last_damage: None,
            state_rebuilt: None,
            next_poll: None,
            source: None,
            last_import: None,
            offline_root: None,
            newest_signed_time: None,
            last_report_failure: Some(Failure::new(Reason::Unauthorized, "another token")),
            last_transfer: None,
        };
        let text = text(&facts, &TimeZone::UTC);
        assert!(text.contains("No Update since Installation"));
        assert!(text.contains("Cisco conditions version"));
        assert!(text.contains("not enrolled"));
        assert!(text.contains("Clock             behind:"), "{text}");
        assert!(text.contains("Data directory    /somewhere"));
        assert!(text.contains("Last report       refused (unauthorized): another token"));
        let json = serde_json::to_value(&facts).unwrap();
        assert_eq!(json["last_status"]["status"], "none");
        assert_eq!(json["serial"], serde_json::Value::Null);
    }
}
