//! `feed-server serve`

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::report::Failure;
use bundles::{Reason, Reasoned as _};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::door::{Start, cannot_write, open_app, server_answers};
use super::{Global, failed, output, service};
use crate::app::{App, Role};
use crate::clock;
use crate::control::{ControlSocket, SOCKET};
use crate::http::connections;
use crate::http::server::{self, Servers};
use crate::jobs;
use crate::upstream::{Vendor, trusted_root};

/// Where a server says that it listens, in the data directory: programs that gave it port 0 read it.
const LISTENING: &str = "listening.json";

#[derive(Debug, Serialize)]
struct Listening {
    address: std::net::SocketAddr,
    metrics_address: Option<std::net::SocketAddr>,
    tls: bool,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration is none; the data directory or an address cannot be had.
pub async fn run(global: &Global) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // From the very start on: who asks for a look at the certificate must not end the server.
    let hangup = signal(SignalKind::hangup())?;

    let open_files = connections::allow_as_many_as_the_system();
    tracing::debug!(open_files, "connections, and files beside them, that there may be");
    let config = global.config()?;
    // Mistakes in what the configuration names are told now, not at the first run. They stop no start: what was published
    // is served all the same, and a file that is put right is read by the next run.
    if let Err(error) = Vendor::new(&config.upstream, jobs::update::USER_AGENT) {
        let (reason, error) = (error.reason().as_str(), error.whole_message());
        tracing::error!(reason, error, "nothing can be fetched until this is put right");
    }
    if let Err(error) = trusted_root(&config.upstream) {
        let (reason, error) = (error.reason().as_str(), error.whole_message());
        tracing::error!(reason, error, "nothing can be taken from its origin until this is put right");
    }
    let directory = config.data.directory.clone();
    if directory.exists() && server_answers(&directory)? {
        let message = format!("a server runs on {} already; stop it first, or use --data", directory.display());
        return Err(Failure::new(Reason::Busy, message).into());
    }

    // Bound before anything is published, for the port may become part of what is.
    let bound = server::bind(&config.listen, clock::now()).map_err(failed)?;
    let listening =
        Listening { address: bound.address, metrics_address: bound.monitoring_address, tls: bound.scheme() == "https" };
    let app = open_app(config, bound.url(), Start::Published).await?;
    if let Some(certificate) = bound.certificate() {
        app.certificate.get_or_init(|| Arc::clone(certificate));
    }

    let mut servers = Servers::default();
    let control = unless_full(ControlSocket::open(&directory), &directory.join(SOCKET))?;
    let socket = match control {
        Some((socket, listener)) => {
            servers.serve_control(&app, listener).map_err(failed)?;
            Some(socket)
        }
        None => None,
    };
    let told = format!("listening on {}://{}\n", bound.scheme(), bound.address);
    servers.serve(&app, bound, open_files).map_err(failed)?;
    let said = unless_full(Said::write(&directory, &listening), &directory.join(LISTENING))?;
    output::print(&told)?;
    tracing::info!(address = %listening.address, tls = listening.tls, "serving");

    let stop = CancellationToken::new();
    let mut work = start_work(&app, hangup, &stop).await?;
    work.push(tokio::spawn(service::keep(Arc::clone(&app), stop.clone())));
    service::ready();
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: letting answers finish"),
        _ = interrupt.recv() => tracing::info!("SIGINT: letting answers finish"),
    }

    service::stopping();
    // Whatever names this server goes while the data directory's lock is still held: afterwards the names are those of
    // the next one.
    drop(said);
    drop(socket);
    stop.cancel();
    servers.stop().await;
    for task in work {
        if let Err(error) = task.await {
            tracing::error!(%error, "a task did not end well");
        }
    }
    Ok(())
}

/// What was published is served also where a full disk has no room for the files beside it.
fn unless_full<T>(made: io::Result<T>, path: &Path) -> anyhow::Result<Option<T>> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            tracing::error!(path = %path.display(), %error, "the disk is full: going on without this file");
            Ok(None)
        }
        Err(error) => Err(cannot_write(path, &error)),
    }
}

async fn start_work(
    app: &Arc<App>,
    hangup: Signal,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
    let mut ticks = jobs::runner::tick(app).await?;
    let stopped = stop.clone();
    let ticking = tokio::spawn(async move {
        stopped.cancelled().await;
        if let Err(error) = ticks.shutdown().await {
            tracing::warn!(%error, "the timer did not end well");
        }
    });
    let recent = jobs::runner::recent(app);
    let running = tokio::spawn(jobs::runner::scheduled(Arc::clone(app), recent, stop.clone()));
    let signing = tokio::spawn(jobs::resign::keep(Arc::clone(app), stop.clone()));
    let preparing = tokio::spawn(jobs::prepare::keep(Arc::clone(app), stop.clone()));
    let access = tokio::spawn(jobs::access::keep(Arc::clone(app), stop.clone()));
    let remembering = tokio::spawn(jobs::history::keep(Arc::clone(app), stop.clone()));
    let seeing = tokio::spawn(jobs::ise::keep(Arc::clone(app), stop.clone()));
    let looking = tokio::spawn(jobs::certificate::keep(Arc::clone(app), hangup, stop.clone()));
    let mut work = vec![ticking, running, signing, preparing, access, remembering, seeing, looking];
    match app.role() {
        Role::Relay => work.push(tokio::spawn(jobs::incoming::keep(Arc::clone(app), stop.clone()))),
        Role::Origin if app.config.bundles.watched_folder.is_some() => {
            tracing::warn!("[bundles] watched_folder does nothing here: an origin imports no bundles");
        }
        Role::Origin => {}
    }
    Ok(work)
}

/// The file that says where the server listens; goes when this is dropped.
#[derive(Debug)]
struct Said(PathBuf);

impl Said {
    fn write(directory: &Path, listening: &Listening) -> io::Result<Self> {
        let path = directory.join(LISTENING);
        // What a process that died said goes first: it must not stand where this one finds no room to say more.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer(&mut file, listening)?;
        file.write_all(b"\n")?;
        file.persist(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "the file that says where the server listened stays");
        }
    }
}
