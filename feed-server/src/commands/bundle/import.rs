//! `feed-server bundle import`

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bundles::Reason;
use bundles::report::Failure;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use url::form_urlencoded;

use crate::app::imports::ImportStep;
use crate::commands::Global;
use crate::commands::door::Door;
use crate::commands::output::{self, local_time};
use crate::config::Role;
use crate::http::api::views::{ImportView, ImportsView};

/// How often an import is looked at once the zip is handed over: what feels live to people, and costs a server nothing.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// What `import` takes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// posture-bundle-<number>.zip; with --vendor: the vendor's posture-offline.zip
    zip: PathBuf,
    /// The zip is the vendor's own, and becomes a release here: on an origin
    #[arg(long)]
    vendor: bool,
    /// Take components of the vendor's zip even where it has an older version than the one released
    #[arg(long, requires = "vendor")]
    accept_version_rollback: bool,
}

/// Imports a zip and waits for the end. Makes a mirror where there is none: a bundle may be the first thing that a relay
/// is given.
///
/// # Errors
/// The zip cannot be read, or the import's failure.
pub(super) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    // Before a mirror is made for it.
    let (file, length) = super::open(&arguments.zip)?;
    let path = path(&arguments);
    let act = async |door: &Door| import(door, &path, &arguments.zip, file, length).await;
    // What is for the other role makes no mirror of this one: most likely `--config` was forgotten.
    let import = if is_for(global.config()?.upstream.role(), arguments.vendor) {
        Door::making(global, act).await?
    } else {
        Door::with(global, act).await?
    };
    if global.json {
        return output::print_json(&import);
    }
    output::print(&told(&import))
}

fn is_for(role: Role, vendor: bool) -> bool {
    match role {
        Role::Origin => vendor,
        Role::Relay => !vendor,
    }
}

fn path(arguments: &Arguments) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("kind", if arguments.vendor { "vendor-zip" } else { "bundle" });
    if let Some(name) = arguments.zip.file_name().and_then(|name| name.to_str()) {
        query.append_pair("name", name);
    }
    if arguments.accept_version_rollback {
        query.append_pair("accept_version_rollback", "true");
    }
    format!("/api/v1/imports?{}", query.finish())
}

async fn import(door: &Door, path: &str, zip: &Path, file: File, length: u64) -> anyhow::Result<ImportView> {
    let sent = Arc::new(AtomicU64::new(0));
    let bar = Bar::new(length);
    let sending = Arc::clone(&sent);
    let progress = move |bytes| {
        sending.fetch_add(bytes, Ordering::Relaxed);
    };
    let mut upload = std::pin::pin!(door.upload(path, zip, file, length, progress));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let result = loop {
        tokio::select! {
            result = &mut upload => break result,
            _ = &mut interrupted => break Err(stopped(door, sent.load(Ordering::Relaxed) >= length).into()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let sent = sent.load(Ordering::Relaxed);
        if sent < length {
            bar.sent(sent);
        } else if let Ok(ImportsView { running: Some(running), .. }) = door.get("/api/v1/imports?limit=0").await {
            bar.at(running.step, running.done_bytes, running.total_bytes);
        }
    };
    bar.end();
    result
}

/// Ctrl-C.
fn stopped(door: &Door, is_whole: bool) -> Failure {
    let message = match (is_whole, door.leads_to_server()) {
        (false, _) => "interrupted before the zip was handed over whole: nothing was imported",
        (true, true) => "the server has the whole zip and goes on with it; `feed-server status` tells what came of it",
        (true, false) => "interrupted; `feed-server status` tells what came of it, and importing the zip again is safe",
    };
    Failure::new(Reason::Truncated, message)
}

fn told(import: &ImportView) -> String {
    let serial = import.serial.map_or_else(String::new, |serial| format!(" {serial}"));
    let until = import.valid_until.map_or_else(String::new, |until| format!(", valid until {}", local_time(until)));
    let mut text = match import.result.as_deref() {
        Some("imported") => format!("Release{serial} is imported and published{until}.\n"),
        Some("refreshed") => format!("Release{serial} was here already; its signatures are newer now{until}.\n"),
        _ => format!("Already up to date{}.\n", import.serial.map_or_else(String::new, |it| format!(": release {it}"))),
    };
    if import.result.as_deref() == Some("imported") {
        for (component, version) in &import.versions {
            text.push_str(&format!("  {component} {version}\n"));
        }
        if let Some(signer) = import.signer {
            text.push_str(&format!("Signed under the root with SHA-256 {signer}.\n"));
        }
    }
    text
}

/// A bar on a terminal; nothing elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new(length: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template("{msg:10} [{bar:30}] {bytes}/{total_bytes}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("handing over");
        Self(bar)
    }

    fn sent(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    fn at(&self, step: ImportStep, done: u64, total: u64) {
        self.0.set_message(match step {
            ImportStep::Receiving => "handing over",
            ImportStep::Checking => "checking",
            ImportStep::Publishing => "publishing",
        });
        self.0.set_length(total.max(done));
        self.0.set_position(done);
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
