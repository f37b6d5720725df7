//! `feed-server sync`

use std::io::IsTerminal as _;
use std::time::Duration;

use bundles::Reason;
use bundles::report::Failure;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::door::Door;
use super::{Global, output};
use crate::http::api::views::{ProgressView, RunView, SyncAccepted, SyncRequest, SyncView};

/// How often the run is looked at: what feels live to people, and costs a server nothing.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// What `sync` takes.
#[derive(Debug, Clone, Copy, Args)]
pub struct Arguments {
    /// Take components even where upstream offers an older version than the one released
    #[arg(long)]
    accept_version_rollback: bool,
    /// Ask upstream once even where it answered 429 or 403 and is left alone for a while (`status` shows until when)
    #[arg(long)]
    ignore_cooldown: bool,
}

/// Updates now and waits for the end.
///
/// # Errors
/// The run's failure.
pub async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let run = Door::making(global, async |door| {
        let wanted = SyncRequest {
            accept_version_rollback: arguments.accept_version_rollback,
            ignore_cooldown: arguments.ignore_cooldown,
        };
        let accepted: SyncAccepted = door.post("/api/v1/sync", &wanted).await?;
        follow(door, accepted.run).await
    })
    .await?;
    if global.json {
        output::print_json(&run)?;
    }
    match (run.reason, &run.message) {
        (Some(reason), message) => {
            let message = message.clone().unwrap_or_else(|| reason.sentence().to_owned());
            return Err(Failure::new(reason, message).into());
        }
        (None, _) if global.json => {}
        (None, _) => output::print(&told(&run))?,
    }
    Ok(())
}

fn told(run: &RunView) -> String {
    let took = run.ended.map_or(0, |ended| ended.duration_since(run.started).as_secs());
    let received = output::bytes(run.received_bytes);
    match run.serial {
        None if run.message.is_some() => {
            format!("Nothing is released: {}.\n", run.message.as_deref().unwrap_or_default())
        }
        Some(serial) => format!("Release {serial} is published ({received} received, {took} s).\n"),
        None => format!("Already up to date ({received} received, {took} s).\n"),
    }
}

async fn follow(door: &Door, run: u64) -> anyhow::Result<RunView> {
    let mut shown = Shown::new();
    loop {
        let view: SyncView = door.get("/api/v1/sync").await?;
        match view.running.filter(|running| running.run == run) {
            Some(running) => shown.update(&running),
            None => {
                shown.end();
                let run: RunView = door.get(&format!("/api/v1/runs/{run}")).await?;
                if run.result.is_none() {
                    let message = "the run has no end; the server was stopped, see its log";
                    return Err(Failure::new(Reason::Internal, message).into());
                }
                return Ok(run);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A bar on a terminal, a line for each file elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    file: Option<String>,
}

impl Shown {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {prefix} [{bar:30}] {bytes}/{total_bytes} {wide_msg}");
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self { bar, file: None }
    }

    fn update(&mut self, progress: &ProgressView) {
        let name = progress.file.as_ref().map(|file| file.name.clone());
        let count = format!("{}/{}", progress.files_done, progress.entries);
        match (&self.bar, &progress.file) {
            (Some(bar), file) => {
                bar.set_prefix(count);
                bar.set_message(name.clone().unwrap_or_else(|| "asking upstream".to_owned()));
                let (received, length) =
                    file.as_ref().map_or((progress.received_bytes, None), |file| (file.received_bytes, file.length));
                bar.set_length(length.unwrap_or(received));
                bar.set_position(received);
                bar.tick();
            }
            (None, Some(file)) if name != self.file => {
                let length = file.length.map_or_else(String::new, |length| format!(" ({})", output::bytes(length)));
                eprintln!("{count} {}{length}", file.name);
            }
            (None, _) => {}
        }
        if name.is_some() {
            self.file = name;
        }
    }

    fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
