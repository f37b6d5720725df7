//! `feed-server support FILE`: what whoever helps from far away wants to know, in one text without secrets.

mod facts;
mod file;
mod machine;
mod names;

use std::path::PathBuf;

use bundles::report::Failure;
use bundles::support::{Collection, Redaction};
use clap::Args;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::door::Door;
use super::output::{bytes, print, print_json};
use super::{Global, chain, failure_in, status};
use crate::app::settings::effective;
use crate::clock;
use crate::config::{Config, Setting};
use crate::headends::HeadendState;
use crate::http::api::views::{HeadendView, StatusView};
use crate::upstream::Environment;
use facts::Facts;

/// Headends that are listed: those that are not current first.
const MOST_HEADENDS: usize = 500;

/// `feed-server support`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to write it (mode 0600); must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace addresses, host names, headends' ids and the names of tokens and people by host-1, ip-2 and the like, the same
    /// one for the same name
    #[arg(long)]
    redact: bool,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    path: PathBuf,
    length: u64,
    redacted: bool,
}

/// Gathers what can be had, and writes it.
///
/// # Errors
/// The file is there already, or cannot be written. What cannot be had is said in it.
pub async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { file, redact } = arguments;
    file::refuse_existing(&file)?;
    let config = global.config();
    let facts = match &config {
        Ok(_) => Door::with(global, async |door| Ok(Facts::of(door).await)).await,
        // What is wrong with it may be repeated, and may be a password in the wrong place.
        Err(_) => Err(Failure::new(bundles::Reason::BadRequest, "the configuration cannot be read").into()),
    };
    let facts = facts
        .map_err(|error| failure_in(&error).map_or_else(|| format!("{error:#}"), |failure| failure.message.clone()));
    let collection = collect(config.as_ref().ok(), &facts);
    let mut redaction = redact.then(Redaction::default);
    if let Some(redaction) = &mut redaction {
        names::add(redaction, config.as_ref().ok(), facts.as_ref().ok());
    }
    let now = clock::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let how = if redact { ", with stand-ins for names and addresses" } else { "" };
    let text = collection
        .text(&format!("Posture Feed, feed-server {}: support, {now}{how}", crate::VERSION), redaction.as_mut());
    file::write(&file, &text)?;
    let written = Written { path: file, length: text.len() as u64, redacted: redact };
    if global.json {
        return print_json(&written);
    }
    print(&format!("{} ({}). Read it before it leaves the house.\n", written.path.display(), bytes(written.length)))
}

fn collect(config: Option<&Config>, facts: &Result<Facts, String>) -> Collection {
    let mut collection = Collection::default();
    let of = |get: fn(&Facts) -> &Result<String, String>| {
        facts.as_ref().map_err(Clone::clone).and_then(|facts| get(facts).clone())
    };
    let status = facts.as_ref().map_err(Clone::clone).and_then(|facts| facts.status.clone());
    collection.add("program", "version, system, role", Ok(machine::program(status.as_ref().ok())));
    collection.add(
        "configuration",
        "every key as it holds, and where that comes from; it has files of secrets, no secrets",
        configuration(config),
    );
    collection.add("status", "Update Information and what stands around it, warnings", status_text(facts));
    collection.add("runs", "the last update runs with their reasons, a line each", of(|facts| &facts.runs));
    collection.add("releases", "those that are retained, a line each", of(|facts| &facts.releases));
    collection.add("imports", "the last imports, a line each", of(|facts| &facts.imports));
    let headends = facts.as_ref().map_err(Clone::clone).and_then(|facts| facts.headends.clone());
    collection.add(
        "headends",
        "their states and last reports, a line each",
        headends.map(|headends| headend_lines(&headends)),
    );
    collection.add("keys", "signing keys' and roots' fingerprints", of(|facts| &facts.keys));
    collection.add(
        "ends",
        "when signed metadata and certificates end",
        status.as_ref().map(ends).map_err(Clone::clone),
    );
    let chains = status.as_ref().map(|status| {
        let none = || "upstream has presented none".to_owned();
        status
            .upstream_chain
            .as_ref()
            .map_or_else(none, |chains| chain::text(chains, chain::Detail::Everything, clock::now()))
    });
    collection.add("chains", "the certificates that upstream presented last", chains.map_err(Clone::clone));
    collection.add(
        "disk",
        "the data directory",
        config.map(machine::disk).ok_or_else(|| "no configuration".to_owned()),
    );
    collection.add("audit", "the newest records of who did what, a line each", of(|facts| &facts.audit));
    collection.add("metrics", "as Prometheus reads them", of(|facts| &facts.metrics));
    collection
}

fn status_text(facts: &Result<Facts, String>) -> Result<String, String> {
    let facts = facts.as_ref().map_err(Clone::clone)?;
    Ok(status::text(facts.status.as_ref().map_err(Clone::clone)?, facts.is_running))
}

/// Every key as it holds, with where that comes from: without the file's comments, where anything may stand. No dots are in the keys,
/// by which they would be taken for names of hosts.
fn configuration(config: Option<&Config>) -> Result<String, String> {
    let mistakes = || "it has mistakes, which `feed-server check-config` tells; they are not repeated here".to_owned();
    let settings = effective(config.ok_or_else(mistakes)?, &Environment::of_process());
    let line = |setting: Setting| {
        let value = setting.value.unwrap_or_else(|| "-".to_owned());
        let (key, quoted) = setting.key.split_at(setting.key.find('"').unwrap_or(setting.key.len()));
        format!("{}{quoted} = {value}  # {}\n", key.replace('.', " "), setting.origin)
    };
    Ok(settings.into_iter().map(line).collect())
}

fn headend_lines(headends: &[HeadendView]) -> String {
    let mut sorted: Vec<_> = headends.iter().collect();
    sorted.sort_by_key(|headend| headend.state == HeadendState::Current);
    let mut text: String = sorted
        .iter()
        .take(MOST_HEADENDS)
        .filter_map(|headend| serde_json::to_string(headend).ok())
        .map(|line| line + "\n")
        .collect();
    if sorted.len() > MOST_HEADENDS {
        text.push_str(&format!("and {} more\n", sorted.len() - MOST_HEADENDS));
    }
    text
}

fn ends(status: &StatusView) -> String {
    let metadata = status.metadata_expires.iter();
    let mut lines: Vec<_> =
        metadata.map(|ends| format!("{} {} metadata: {}", ends.repository, ends.role, ends.expires)).collect();
    if let Some(certificate) = &status.server_certificate {
        lines.push(format!("this server's certificate: {} ({})", certificate.not_after, certificate.subject));
    }
    lines.join("\n")
}
