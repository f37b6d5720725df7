//! nginx as upstream: the web server that most feeds of this world come from, with its own ideas of TLS and HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::daemon::{Daemon, write};
use super::{Access, Port};

/// What an nginx is to be.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'a> {
    /// The chain as PEM, sent in the order of the file.
    pub chain: &'a str,
    /// The leaf's key as PEM.
    pub key: &'a str,
    /// As `ssl_protocols` takes them, such as `TLSv1.2`.
    pub protocols: &'a str,
}

/// The running server.
#[derive(Debug)]
pub struct Nginx(Daemon);

impl Nginx {
    /// Serves a directory's files over TLS. `more` goes into the `server` block.
    ///
    /// # Errors
    /// nginx is missing or does not start.
    pub async fn start(root: &Path, tls: Tls<'_>, more: &str) -> Result<Self> {
        let place = Daemon::place()?;
        let directory = place.1.path();
        let (chain, key) = (write(directory, "chain.pem", tls.chain)?, write(directory, "key.pem", tls.key)?);
        let base = directory.display();
        let log = format!("log_format lab '$request_method $request_uri $status';\naccess_log {base}/access.log lab;");
        let server = format!(
            "listen {} ssl;\nserver_name localhost;\nroot {};\nssl_certificate {};\nssl_certificate_key {};\nssl_protocols {};\n{more}\n",
            place.0.address(),
            root.display(),
            chain.display(),
            key.display(),
            tls.protocols,
        );
        Self::serve(place, "", &log, &server).await
    }

    /// Serves a directory's files without TLS to as many as come, as fast as it can: for benchmarks. It keeps no log. `more`
    /// goes into the `server` block.
    ///
    /// # Errors
    /// nginx is missing or does not start.
    pub async fn start_plain(root: &Path, more: &str) -> Result<Self> {
        let place = Daemon::place()?;
        let server = format!("listen {} backlog=4096;\nroot {};\n{more}\n", place.0.address(), root.display());
        let fast = "access_log off;\nsendfile on;\ntcp_nopush on;\nkeepalive_timeout 75s;\nkeepalive_requests 100000;";
        Self::serve(place, "worker_connections 19000;", fast, &server).await
    }

    async fn serve(place: (Port, TempDir), events: &str, http: &str, server: &str) -> Result<Self> {
        let directory = place.1.path();
        let base = directory.display();
        // One process: ended by its id, it leaves no worker behind.
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {base}/pid;\nerror_log {base}/error.log;\nevents {{ {events} }}\nhttp {{\n\
             {http}\n\
             client_body_temp_path {base}/body;\nproxy_temp_path {base}/proxy;\nfastcgi_temp_path {base}/fastcgi;\n\
             uwsgi_temp_path {base}/uwsgi;\nscgi_temp_path {base}/scgi;\n\
             server {{\n{server}}}\n}}\n",
        );
        let configuration = write(directory, "nginx.conf", configuration)?;
        let arguments = [
            "-c".as_ref(),
            configuration.as_os_str(),
            "-p".as_ref(),
            directory.as_os_str(),
            "-e".as_ref(),
            "stderr".as_ref(),
        ]
        .map(ToOwned::to_owned);
        Ok(Self(Daemon::start(place, "nginx", arguments).await?))
    }

    /// The processor time that it has used so far.
    ///
    /// # Errors
    /// It has ended, or the system does not say.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.0.running()?.cpu_time()
    }

    /// The most memory that it has held at once so far, in bytes.
    ///
    /// # Errors
    /// It has ended, or the system does not say.
    pub fn peak_memory(&self) -> Result<u64> {
        self.0.running()?.peak_memory()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it was asked for and how it answered, the oldest first.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn access_log(&self) -> Result<Vec<Access>> {
        let log = self.0.log("access.log")?;
        let accesses = log.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (method, target, status) = (words.next()?, words.next()?, words.next()?);
            Some(Access { method: method.to_owned(), target: target.to_owned(), status: status.parse().ok() })
        });
        Ok(accesses.collect())
    }
}
