//! `feed-server serve`

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::Reason;
use bundles::report::Failure;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::door::{Start, cannot_write, open_app, server_answers};
use super::{Global, failed, output};
use crate::app::App;
use crate::control::ControlSocket;
use crate::http::server::{self, Servers};
use crate::jobs;
use crate::upstream::vendor::Vendor;

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

    let config = global.config()?;
    // Mistakes in what the configuration names are told now, not at the first run.
    drop(Vendor::new(&config.upstream, jobs::update::USER_AGENT).map_err(failed)?);
    let directory = config.data.directory.clone();
    if directory.exists() && server_answers(&directory)? {
        let message = format!("a server runs on {} already; stop it first, or use --data", directory.display());
        return Err(Failure::new(Reason::Busy, message).into());
    }

    // Bound before anything is published, for the port may become part of what is.
    let bound = server::bind(&config.listen).map_err(failed)?;
    let listening =
        Listening { address: bound.address, metrics_address: bound.monitoring_address, tls: bound.scheme() == "https" };
    let app = open_app(config, bound.url(), Start::Published).await?;

    let (socket, control) = ControlSocket::open(&directory)
        .map_err(|error| cannot_write(&directory.join(crate::control::SOCKET), &error))?;
    let mut servers = Servers::default();
    servers.serve_control(&app, control).map_err(failed)?;
    let told = format!("listening on {}://{}\n", bound.scheme(), bound.address);
    servers.serve(&app, bound).map_err(failed)?;
    let said = Said::write(&directory, &listening)?;
    output::print(&told)?;
    tracing::info!(address = %listening.address, tls = listening.tls, "serving");

    let stop = CancellationToken::new();
    let work = start_work(&app, &stop).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: letting answers finish"),
        _ = interrupt.recv() => tracing::info!("SIGINT: letting answers finish"),
    }

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

async fn start_work(app: &Arc<App>, stop: &CancellationToken) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
    let mut ticks = jobs::runner::tick(app).await?;
    let stopped = stop.clone();
    let ticking = tokio::spawn(async move {
        stopped.cancelled().await;
        if let Err(error) = ticks.shutdown().await {
            tracing::warn!(%error, "the timer did not end well");
        }
    });
    let recent = jobs::runner::recent(app).map_err(failed)?;
    let running = tokio::spawn(jobs::runner::scheduled(Arc::clone(app), recent, stop.clone()));
    let signing = tokio::spawn(jobs::resign::keep(Arc::clone(app), stop.clone()));
    Ok(vec![ticking, running, signing])
}

/// The file that says where the server listens; goes when this is dropped.
#[derive(Debug)]
struct Said(PathBuf);

impl Said {
    fn write(directory: &Path, listening: &Listening) -> anyhow::Result<Self> {
        let path = directory.join(LISTENING);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            serde_json::to_writer(&mut file, listening)?;
            file.write_all(b"\n")?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|error| cannot_write(&path, &error))?;
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
