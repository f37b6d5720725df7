//! `feed-client support FILE`: what whoever helps from far away wants to know of this headend, in one text without secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bundles::Reason;
use bundles::report::Failure;
use bundles::support::{Collection, Kind, Redaction};
use clap::Args;
use jiff::tz::TimeZone;

use super::{Global, failed, print, status};
use crate::apply;
use crate::clock::Edge;
use crate::durable::{self, Readers};
use crate::mend;
use crate::metrics;
use crate::settings::Local;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `feed-client support`.
#[derive(Debug, Args)]
pub struct Support {
    /// Where to write it (mode 0600); must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace addresses, host names and this headend's id by host-1, ip-2 and the like, the same one for the same name
    #[arg(long)]
    redact: bool,
}

pub(super) fn support(global: &Global, arguments: &Support, edge: Edge) -> Result<(), Failure> {
    let Support { file, redact } = arguments;
    if file.try_exists().unwrap_or(false) {
        let message = format!("{} is there already; give another name, or remove it", file.display());
        return Err(Failure::new(Reason::BadRequest, message));
    }
    // What is wrong with a configuration may be repeated, and may be a password in the wrong place.
    let local = global
        .local()
        .map_err(|_| "configuration or enrolment cannot be read; `feed-client check-config` says why".to_owned());
    let collection = collect(&local, edge);
    let mut redaction = redact.then(Redaction::default);
    if let (Some(redaction), Ok(local)) = (&mut redaction, &local) {
        names(redaction, local);
    }
    let now = edge.now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let how = if *redact { ", with stand-ins for names and addresses" } else { "" };
    let text =
        collection.text(&format!("Posture Feed, feed-client {VERSION}: support, {now}{how}"), redaction.as_mut());
    durable::write(file, text.as_bytes(), Readers::OwnerOnly).map_err(failed)?;
    let facts = serde_json::json!({ "path": file, "length": text.len(), "redacted": redact });
    print(
        global.json,
        &facts,
        &format!("{} ({} bytes). Read it before it leaves the house.", file.display(), text.len()),
    )
}

fn collect(local: &Result<Local, String>, edge: Edge) -> Collection {
    let mut collection = Collection::default();
    let with = |get: &dyn Fn(&Local) -> Result<String, String>| local.as_ref().map_err(Clone::clone).and_then(get);
    collection.add("program", "version, system", Ok(program(edge)));
    collection.add("configuration", "as it is read; it has files of secrets, no secrets", with(&configuration));
    collection.add(
        "status",
        "Update Information, and what runs here",
        with(&|local| status::shown_to_support(local, edge).map_err(|failure| failure.message)),
    );
    collection.add(
        "state",
        "what is remembered of attempts, imports and roots",
        with(&|local| {
            let state = mend::load(&local.paths).map_err(|error| error.to_string())?;
            serde_json::to_string_pretty(&state).map_err(|error| error.to_string())
        }),
    );
    collection.add(
        "disk",
        "the data directory, and what is served from it",
        with(&|local| {
            let paths = &local.paths;
            let directories = [paths.data().to_owned(), paths.apply().to_owned(), paths.releases()];
            let distinct = directories.iter().enumerate().filter(|(at, one)| !directories[..*at].contains(one));
            Ok(distinct.map(|(_, directory)| listed(directory)).collect::<Vec<_>>().join("\n"))
        }),
    );
    collection.add(
        "metrics",
        "as Prometheus reads them",
        with(&|local| {
            let state = mend::load(&local.paths).map_err(|error| error.to_string())?;
            let running = apply::running(&local.paths).map_err(|error| error.to_string())?;
            Ok(metrics::render(&state, running.as_ref(), &local.config.schedule))
        }),
    );
    collection
}

fn program(edge: Edge) -> String {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let distribution = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
    format!(
        "Program     feed-client {VERSION}\nTime        {}\nSystem      {}\nKernel      {} {} {}\nHost        {}\n",
        edge.now(),
        distribution.trim_matches('"'),
        text(system.sysname()),
        text(system.release()),
        text(system.machine()),
        text(system.nodename())
    )
}

/// The file's keys without its comments, where anything may stand.
fn configuration(local: &Local) -> Result<String, String> {
    let Some(path) = &local.config_file else { return Ok("no file: every key has its default".to_owned()) };
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let table: toml::Table = text.parse().map_err(|_| "it is no TOML by now".to_owned())?;
    let keys = toml::to_string(&table).map_err(|error| error.to_string())?;
    Ok(format!("{}; every other key has its default\n\n{keys}", path.display()))
}

/// Names and modes; no file is opened.
fn listed(directory: &Path) -> String {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return format!("{}: {error}\n", directory.display()),
    };
    let mut lines: Vec<String> = entries
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (mode, length) = entry.metadata().map_or((0, 0), |it| (it.permissions().mode() & 0o7777, it.len()));
            format!("{name:<24} {mode:04o} {length} bytes\n")
        })
        .collect();
    lines.sort();
    format!("{}\n{}", directory.display(), lines.concat())
}

fn names(redaction: &mut Redaction, local: &Local) {
    redaction.keep(VERSION);
    redaction.add(Kind::Host, &rustix::system::uname().nodename().to_string_lossy());
    let ids = [local.config.headend.id.as_ref(), local.enrolment.as_ref().map(|enrolment| &enrolment.id)];
    ids.into_iter().flatten().for_each(|id| redaction.add(Kind::Headend, id.as_str()));
    if let Ok(Some(running)) = apply::running(&local.paths) {
        running.components.iter().for_each(|component| redaction.keep(&component.version.to_string()));
    }
}
