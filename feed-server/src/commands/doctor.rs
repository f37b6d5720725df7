//! `feed-server doctor`

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bundles::Reason;
use bundles::index::Index;
use bundles::report::Failure;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::door::Door;
use super::{Global, failed, output};
use crate::app::certificate::ServerCertificate;
use crate::clock;
use crate::config::{self, Config, UpstreamKind};
use crate::http::api::views::{CooldownView, StatusView};
use crate::jobs::doctor::request::Request;
use crate::jobs::doctor::{Examination, Pause, Report, Server, ServerFacts};
use crate::jobs::update::USER_AGENT;
use crate::sync::Progress;
use crate::upstream::doctor::{Mark, Notes};
use crate::upstream::{Environment, Setup, Vendor, shown};

/// How long a running server may take to say how it is: it answers from memory.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What `doctor` takes.
#[derive(Debug, Clone, Copy, Args)]
pub struct Arguments {
    /// Print what to ask the proxy and firewall teams for, and examine nothing
    #[arg(long)]
    request: bool,
}

/// Examines the way upstream and this machine; changes nothing.
///
/// # Errors
/// The first step that failed.
pub async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let config = global.config()?;
    let server = server_on(&config).await;
    if arguments.request {
        return request(global, &config, server);
    }
    // Temporary files go when their owner is dropped, and a signal would leave it no time for that.
    let mut terminated = signal(SignalKind::terminate())?;
    let report = tokio::select! {
        report = examine(global, &config, server) => report,
        _ = tokio::signal::ctrl_c() => return Err(stopped()),
        _ = terminated.recv() => return Err(stopped()),
    };
    if global.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.verdict.to_text())?;
    }
    Ok(report.verdict.into_result()?)
}

async fn examine(global: &Global, config: &Config, server: Server) -> Report {
    let bar = Bar::new(!global.json);
    let notes = if global.json {
        Notes::new(|_| {})
    } else {
        let (bar, has_failed) = (bar.clone(), AtomicBool::new(false));
        Notes::new(move |line| {
            let is_first = line.result == Mark::Failed && !has_failed.swap(true, Ordering::Relaxed);
            bar.print(&line.to_text(is_first));
        })
    };
    if !global.json {
        bar.print(&beginning(config));
    }
    let tls = config.listen.tls.as_ref();
    let examination = Examination {
        config,
        file: global.config.as_deref(),
        environment: Environment::of_process(),
        server,
        tls: tls.map(|tls| ServerCertificate::open(tls, clock::now()).map(drop).map_err(|error| Failure::of(&error))),
        progress: &bar,
        now: clock::now(),
    };
    let report = examination.run(Arc::new(notes)).await;
    bar.end();
    report
}

/// What stands before the first line.
fn beginning(config: &Config) -> String {
    let upstream = match config.upstream.kind {
        UpstreamKind::Vendor => shown(&config.upstream.url),
        UpstreamKind::Mirror if config.upstream.fetches() => shown(&config.upstream.url),
        UpstreamKind::Mirror | UpstreamKind::None => "this machine".to_owned(),
    };
    format!("feed-server {} examines {upstream}\n\n", crate::VERSION)
}

fn request(global: &Global, config: &Config, server: Server) -> anyhow::Result<()> {
    // Who asks for a way out may have no password yet.
    let upstream = config::Upstream {
        proxy: config::Proxy { password_file: None, ..config.upstream.proxy.clone() },
        ..config.upstream.clone()
    };
    let setup = Setup { environment: Environment::of_process(), ..Setup::default() };
    let vendor = Vendor::open(&upstream, USER_AGENT, setup).map_err(failed)?;
    let request = Request::of(config, &vendor, server.into_facts().as_ref());
    if global.json { output::print_json(&request) } else { output::print(&request.to_text()) }
}

fn stopped() -> anyhow::Error {
    Failure::new(Reason::Internal, "the doctor was stopped before the end; nothing was changed").into()
}

/// What the server on the data directory says, where one runs.
async fn server_on(config: &Config) -> Server {
    let asked = async {
        let Some(door) = Door::to_server(config)? else { return Ok(None) };
        door.get::<StatusView>("/api/v1/status").await.map(Some)
    };
    match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
        Ok(Ok(None)) => Server::Absent,
        Ok(Ok(Some(status))) => Server::Running(Box::new(facts(&status))),
        Ok(Err(error)) => Server::Unknown(format!("{error:#}")),
        Err(_) => Server::Unknown(format!("it did not answer within {} s", ANSWERS_WITHIN.as_secs())),
    }
}

fn facts(status: &StatusView) -> ServerFacts {
    let last_failure = status.last_failure.as_ref().map(|run| {
        let reason = run.reason.map_or("", Reason::as_str);
        format!("{reason}, {}", output::local_time(run.started))
    });
    let pause = |view: &CooldownView| Pause { url: view.url.clone(), proxy: view.proxy.clone(), until: view.until };
    ServerFacts {
        version: status.version.clone(),
        release: status.release.as_ref().map(|release| release.serial.get()),
        archive_bytes: status.release.as_ref().map(|release| release.archive_bytes),
        next_run: status.next_run,
        last_failure,
        cooldowns: status.cooldowns.iter().map(pause).collect(),
        proxy_password_refused: status.proxy_password_refused.as_ref().map(|refused| refused.proxy.clone()),
    }
}

/// How far the archives are, on a terminal.
#[derive(Debug, Clone)]
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(is_wanted: bool) -> Self {
        let is_wanted = is_wanted && std::io::stderr().is_terminal();
        Self(is_wanted.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {bytes} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        }))
    }

    /// Prints beside the bar. What cannot be printed now cannot be later either, and is told then.
    fn print(&self, text: &str) {
        let print = || {
            let mut output = std::io::stdout().lock();
            let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        };
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn index_read(&self, _index: &Index) {}

    fn file_started(&self, name: &bundles::FileName, _length: Option<u64>) {
        if let Some(bar) = &self.0 {
            bar.set_message(name.to_string());
        }
    }

    fn received(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    fn file_done(&self, _name: &bundles::FileName) {}
}
