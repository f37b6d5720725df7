//! tinyproxy, a second make of proxy: other status lines, other headers, other habits than squid's.

use std::net::SocketAddr;

use anyhow::Result;

use super::Access;
use super::daemon::{Daemon, write};

/// The running proxy.
#[derive(Debug)]
pub struct Tinyproxy(Daemon);

impl Tinyproxy {
    /// Starts one that lets everybody on this machine through, to any port.
    ///
    /// # Errors
    /// tinyproxy is missing or does not start.
    pub async fn open() -> Result<Self> {
        Self::start("").await
    }

    /// Starts one that wants this user's password.
    ///
    /// # Errors
    /// tinyproxy is missing or does not start.
    pub async fn with_password(username: &str, password: &str) -> Result<Self> {
        Self::start(&format!("BasicAuth {username} {password}\n")).await
    }

    async fn start(more: &str) -> Result<Self> {
        let place = Daemon::place()?;
        let directory = place.1.path();
        let log = directory.join("log");
        let configuration = format!(
            "Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogFile \"{}\"\nLogLevel Connect\nAllow 127.0.0.1\n{more}",
            place.0.address().port(),
            log.display(),
        );
        let configuration = write(directory, "tinyproxy.conf", configuration)?;
        // In the foreground.
        Ok(Self(Daemon::start(place, "tinyproxy", ["-d".as_ref(), "-c".as_ref(), configuration.as_os_str()]).await?))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it was asked for, the oldest first; it does not log what it answered.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn access_log(&self) -> Result<Vec<Access>> {
        let log = self.0.log("log")?;
        let accesses = log.lines().filter_map(|line| {
            let (_, request) = line.split_once("Request (file descriptor ")?.1.split_once("): ")?;
            let mut words = request.split(' ');
            Some(Access { method: words.next()?.to_owned(), target: words.next()?.to_owned(), status: None })
        });
        Ok(accesses.collect())
    }
}
