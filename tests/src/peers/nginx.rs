//! nginx as upstream: the web server that most feeds of this world come from, with its own ideas of TLS and HTTP. And as what
//! benchmarks compare us with.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::daemon::{Daemon, write};
use super::{Access, Port};
use crate::world::{DEADLINE, wait_until};

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

/// The running server: one process, or several that share a port, each of them ended by its id. (nginx's own way, a master and
/// its workers, leaves the workers behind when the master is killed.)
#[derive(Debug)]
pub struct Nginx(Vec<Daemon>);

impl Nginx {
    /// Serves a directory's files over TLS. `more` goes into the `server` block.
    ///
    /// # Errors
    /// nginx is missing or does not start.
    pub async fn start(root: &Path, tls: Tls<'_>, more: &str) -> Result<Self> {
        let place = Daemon::place()?;
        let base = place.1.path().display();
        let log = format!("log_format lab '$request_method $request_uri $status';\naccess_log {base}/access.log lab;");
        Ok(Self(vec![serve(place, root, Some(tls), Tuning { listen: "", events: "", http: &log }, more).await?]))
    }

    /// Serves a directory's files to as many as come, as fast as it can: with a process for each of the machine's processors,
    /// and no log. `more` goes into the `server` block.
    ///
    /// # Errors
    /// nginx is missing or does not start.
    pub async fn start_fast(root: &Path, tls: Option<Tls<'_>>, more: &str) -> Result<Self> {
        let fast = "access_log off;\nsendfile on;\ntcp_nopush on;\nkeepalive_timeout 75s;\nkeepalive_requests 100000;\n\
                    server_tokens off;";
        let tuning = Tuning { listen: "reuseport backlog=4096", events: "worker_connections 19000;", http: fast };
        let port = Port::free()?;
        let mut processes = Vec::new();
        for _ in 0..std::thread::available_parallelism()?.get() {
            let (_, directory) = Daemon::place()?;
            let process = serve((port.clone(), directory), root, tls, tuning, more).await?;
            // It listens before it says what its id is; that the port answers may be another's doing.
            let listens = process.file("pid");
            wait_until(DEADLINE, "nginx listens", async || listens.is_file()).await?;
            processes.push(process);
        }
        Ok(Self(processes))
    }

    /// The processor time that all of it has used so far.
    ///
    /// # Errors
    /// It has ended, or the system does not say.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.0.iter().map(|process| process.running()?.cpu_time()).sum()
    }

    /// The most memory that each process has held at once so far, in bytes, all together.
    ///
    /// # Errors
    /// It has ended, or the system does not say.
    pub fn peak_memory(&self) -> Result<u64> {
        self.0.iter().map(|process| process.running()?.peak_memory()).sum()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0[0].address()
    }

    /// What it was asked for and how it answered, the oldest first.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn access_log(&self) -> Result<Vec<Access>> {
        let logs: Vec<String> = self.0.iter().map(|process| process.log("access.log")).collect::<Result<_>>()?;
        let accesses = logs.iter().flat_map(|log| log.lines()).filter_map(|line| {
            let mut words = line.split(' ');
            let (method, target, status) = (words.next()?, words.next()?, words.next()?);
            Some(Access { method: method.to_owned(), target: target.to_owned(), status: status.parse().ok() })
        });
        Ok(accesses.collect())
    }
}

/// What goes where in a configuration, besides what every one has.
#[derive(Debug, Clone, Copy)]
struct Tuning<'a> {
    listen: &'a str,
    events: &'a str,
    http: &'a str,
}

async fn serve(
    place: (Port, TempDir),
    root: &Path,
    tls: Option<Tls<'_>>,
    tuning: Tuning<'_>,
    more: &str,
) -> Result<Daemon> {
    let directory = place.1.path();
    let base = directory.display();
    let (ssl, certificate) = match tls {
        None => ("", String::new()),
        Some(tls) => {
            let (chain, key) = (write(directory, "chain.pem", tls.chain)?, write(directory, "key.pem", tls.key)?);
            let (chain, key) = (chain.display(), key.display());
            let protocols = tls.protocols;
            ("ssl", format!("ssl_certificate {chain};\nssl_certificate_key {key};\nssl_protocols {protocols};\n"))
        }
    };
    let server = format!(
        "listen {} {ssl} {};\nserver_name localhost;\nroot {};\n{certificate}{more}\n",
        place.0.address(),
        tuning.listen,
        root.display(),
    );
    // One process: ended by its id, it leaves no worker behind.
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {base}/pid;\nerror_log {base}/error.log;\nevents {{ {} }}\nhttp {{\n\
         {}\n\
         client_body_temp_path {base}/body;\nproxy_temp_path {base}/proxy;\nfastcgi_temp_path {base}/fastcgi;\n\
         uwsgi_temp_path {base}/uwsgi;\nscgi_temp_path {base}/scgi;\n\
         server {{\n{server}}}\n}}\n",
        tuning.events, tuning.http,
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
    Daemon::start(place, "nginx", arguments).await
}
