//! What the peers that listen have in common: a port, a directory with a generated configuration, one process that stays
//! in the foreground and is ended by its id.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::Port;
use crate::world::{DEADLINE, Invocation, Running, Signal, wait_for};

/// Where Debian puts daemons, which is not on everybody's `PATH`.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// One request, by a peer's access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Such as `CONNECT`.
    pub method: String,
    /// Such as `localhost:443`, or a path.
    pub target: String,
    /// What it was answered with, where the log says so.
    pub status: Option<u16>,
}

/// A program that listens. Ends when dropped, before its port is free again.
#[derive(Debug)]
pub(super) struct Daemon {
    running: Option<Running>,
    invocation: Invocation,
    port: Port,
    directory: TempDir,
}

impl Daemon {
    /// Takes a port and a directory that any user may write to: squid gives up root before it opens its logs.
    pub(super) fn place() -> Result<(Port, TempDir)> {
        let directory = tempfile::Builder::new().prefix("posture-feed-peer-").tempdir()?;
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777))?;
        Ok((Port::free()?, directory))
    }

    /// Starts it in its directory; it answers on its port when this returns.
    pub(super) async fn start<S: AsRef<OsStr>>(
        (port, directory): (Port, TempDir),
        name: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let work = directory.path().to_owned();
        Self::start_in((port, directory), &work, name, arguments).await
    }

    /// The same in another directory.
    pub(super) async fn start_in<S: AsRef<OsStr>>(
        (port, directory): (Port, TempDir),
        work: &Path,
        name: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let invocation = Invocation::new(&program(name)?).args(arguments).directory(work);
        let mut daemon = Self { running: None, invocation, port, directory };
        daemon.restart().await?;
        Ok(daemon)
    }

    /// Starts it where it was stopped, on the same port.
    pub(super) async fn restart(&mut self) -> Result<()> {
        let mut running = self.invocation.start(&self.file("said"))?;
        let address = self.port.address();
        let what = format!("a peer answers on {address}");
        let ready = wait_for(DEADLINE, &what, async || {
            if let Ok(Some(status)) = running.ended() {
                return Some(Err(status));
            }
            tokio::net::TcpStream::connect(address).await.ok().map(|_| Ok(()))
        });
        match ready.await.with_context(|| running.tail())? {
            Ok(()) => {
                self.running = Some(running);
                Ok(())
            }
            Err(status) => bail!("a peer ended ({status}) before it listened; {}", running.tail()),
        }
    }

    /// Ends it; connections are refused from now on.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let mut running = self.running.take().context("the peer does not run")?;
        running.signal(Signal::KILL)?;
        running.end(DEADLINE).await.map(drop)
    }

    /// Lets it stand still: the system goes on accepting connections for it, and nobody answers.
    pub(super) fn freeze(&self) -> Result<()> {
        self.running.as_ref().context("the peer does not run")?.signal(Signal::STOP)
    }

    /// The process, to look at what it takes of the machine.
    pub(super) fn running(&self) -> Result<&Running> {
        self.running.as_ref().context("the peer does not run")
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the peer wrote into a log in its directory; nothing where it has not begun one.
    pub(super) fn log(&self, name: &str) -> Result<String> {
        let path = self.file(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }
}

/// Where a program is.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is missing; run tests/run, which installs it"))
}

/// Writes a file that a peer reads, and gives its path.
pub(super) fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
    let path = directory.join(name);
    std::fs::write(&path, content).with_context(|| path.display().to_string())?;
    // For squid, which reads it as another user.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
    Ok(path)
}
