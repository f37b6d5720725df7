//! squid, the proxy of most networks, in the ways that networks set it up.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use certs::lab::Chain;
use tempfile::TempDir;

use super::daemon::{Daemon, program, write};
use super::{Access, Port};

/// Where Debian puts squid's helpers.
const HELPERS: &str = "/usr/lib/squid";

/// Whom Debian's squid works as when it is started by root.
const USER: &str = "proxy";

/// The name of the authority with which [`SquidBuilder::intercepting`] forges.
pub const INSPECTION_CA: &str = "Example Corp TLS Inspection CA";

/// What a squid is to be; see [`Squid::builder`].
#[derive(Debug, Default)]
pub struct SquidBuilder {
    rules: String,
    login: Option<(String, String)>,
    schemes: Vec<&'static str>,
    chain: Option<Chain>,
    intercepting: bool,
}

impl SquidBuilder {
    /// Wants this user's password (basic authentication).
    #[must_use]
    pub fn password(mut self, username: &str, password: &str) -> Self {
        self.login = Some((username.to_owned(), password.to_owned()));
        self
    }

    /// Offers these schemes of authentication, such as `negotiate` and `ntlm`, and no other.
    #[must_use]
    pub fn only_schemes(mut self, schemes: &[&'static str]) -> Self {
        self.schemes = schemes.to_vec();
        self
    }

    /// Refuses CONNECT to that host.
    #[must_use]
    pub fn deny_host(mut self, host: &str) -> Self {
        let _ = writeln!(self.rules, "acl denied dstdomain -n {host}\nhttp_access deny denied");
        self
    }

    /// Refuses CONNECT to any port but 443, as squid does out of the box.
    #[must_use]
    pub fn only_port_443(mut self) -> Self {
        self.rules.push_str("acl SSL_ports port 443\nhttp_access deny CONNECT !SSL_ports\n");
        self
    }

    /// Speaks TLS itself, with this chain (`https_port`).
    #[must_use]
    pub fn tls(mut self, chain: &Chain) -> Self {
        self.chain = Some(chain.clone());
        self
    }

    /// Opens TLS connections, with certificates by [`INSPECTION_CA`] (ssl-bump).
    #[must_use]
    pub fn intercepting(mut self) -> Self {
        self.intercepting = true;
        self
    }

    /// Starts it; it answers when this returns.
    ///
    /// # Errors
    /// squid is missing or does not start.
    pub async fn start(self) -> Result<Squid> {
        let place = Daemon::place()?;
        let configuration = write(place.1.path(), "squid.conf", self.configuration(&place)?)?;
        // -N: one process in the foreground, ended by its id; its helpers end with it. -n: a name of its own, since squid
        // names shared memory by it.
        let name = service(place.0.address());
        let arguments = ["-N".as_ref(), "-n".as_ref(), name.as_ref(), "-f".as_ref(), configuration.as_os_str()];
        Ok(Squid(Daemon::start(place, "squid", arguments).await?))
    }

    fn configuration(&self, (port, directory): &(Port, TempDir)) -> Result<String> {
        let (base, address) = (directory.path().display(), port.address());
        let mut text = match (&self.chain, self.intercepting) {
            (Some(chain), _) => {
                let key = write(directory.path(), "key.pem", chain.leaf_key_pem())?;
                let chain = write(directory.path(), "chain.pem", chain.presented_pem())?;
                format!("https_port {address} tls-cert={} tls-key={}\n", chain.display(), key.display())
            }
            (None, true) => {
                let ca = inspection_ca(directory.path())?;
                let memory = certificate_store(directory.path())?;
                format!(
                    "http_port {address} ssl-bump tls-cert={} generate-host-certificates=on dynamic_cert_mem_cache_size=4MB\n\
                     sslcrtd_program {HELPERS}/security_file_certgen -s {} -M 4MB\nsslcrtd_children 1 startup=1 idle=1\n\
                     ssl_bump bump all\ntls_outgoing_options flags=DONT_VERIFY_PEER\n",
                    ca.display(),
                    memory.display(),
                )
            }
            (None, false) => format!("http_port {address}\n"),
        };
        let _ = write!(
            text,
            "cache_effective_user {USER}\npid_filename {base}/pid\ncoredump_dir {base}\ncache_log {base}/cache.log\n\
             logformat lab %rm %ru %>Hs\naccess_log stdio:{base}/access.log lab\ncache deny all\npinger_enable off\n\
             visible_hostname proxy.lab.example\nshutdown_lifetime 0 seconds\n{}",
            self.rules
        );
        for scheme in &self.schemes {
            // Never started: a client that answers the offer is what the scenarios show not to be there.
            let _ = writeln!(
                text,
                "auth_param {scheme} program {HELPERS}/ntlm_fake_auth\nauth_param {scheme} children 1 startup=0 idle=1"
            );
        }
        if let Some((username, password)) = &self.login {
            let users = write(directory.path(), "users", format!("{username}:{}\n", hash(password)?))?;
            let _ = writeln!(
                text,
                "auth_param basic program {HELPERS}/basic_ncsa_auth {}\nauth_param basic children 1 startup=1 idle=1\n\
                 auth_param basic realm the lab's proxy",
                users.display()
            );
        }
        let wants_login = self.login.is_some() || !self.schemes.is_empty();
        let last = if wants_login {
            "acl known proxy_auth REQUIRED\nhttp_access allow known"
        } else {
            "http_access allow all"
        };
        let _ = writeln!(text, "{last}");
        Ok(text)
    }
}

/// The running proxy.
#[derive(Debug)]
pub struct Squid(Daemon);

impl Squid {
    /// One that lets everybody through, to any port.
    #[must_use]
    pub fn builder() -> SquidBuilder {
        SquidBuilder::default()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it was asked for and how it answered, the oldest first. A tunnel is logged when it ends.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn access_log(&self) -> Result<Vec<Access>> {
        let log = self.0.log("access.log")?;
        let accesses = log.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (method, target, status) = (words.next()?, words.next()?, words.next()?);
            // A connection without a request, such as the one that waited for squid to answer.
            (method != "-" && method != "NONE").then(|| Access {
                method: method.to_owned(),
                target: target.to_owned(),
                status: status.parse().ok(),
            })
        });
        Ok(accesses.collect())
    }

    /// Ends it; connections are refused until [`Squid::start_again`].
    ///
    /// # Errors
    /// It has ended already.
    pub async fn stop(&mut self) -> Result<()> {
        self.0.stop().await
    }

    /// Starts it again, on the same port and with the same logs.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        self.0.restart().await
    }

    /// Lets it accept connections and never answer.
    ///
    /// # Errors
    /// It has ended.
    pub fn freeze(&self) -> Result<()> {
        self.0.freeze()
    }
}

/// What squid calls itself, and its shared memory: by its port, which nobody else has meanwhile.
fn service(address: SocketAddr) -> String {
    format!("lab{}", address.port())
}

impl Drop for Squid {
    fn drop(&mut self) {
        // squid takes its shared memory away only where it ends in peace, which takes seconds.
        let prefix = format!("{}-", service(self.0.address()));
        for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// An authority of a proxy's own, key and certificate in one file, as squid wants it.
fn inspection_ca(directory: &Path) -> Result<PathBuf> {
    let (key, certificate) = (directory.join("ca-key.pem"), directory.join("ca-certificate.pem"));
    let subject = format!("/O=Example Corp/CN={INSPECTION_CA}");
    run(Command::new(program("openssl")?)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", &subject])
        .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate))?;
    write(directory, "ca.pem", [std::fs::read(key)?, std::fs::read(certificate)?].concat())
}

/// Where forged certificates are kept; squid wants it made before it starts, and writes there as its own user.
fn certificate_store(directory: &Path) -> Result<PathBuf> {
    let store = directory.join("forged");
    run(Command::new(format!("{HELPERS}/security_file_certgen")).args(["-c", "-s"]).arg(&store).args(["-M", "4MB"]))?;
    run(Command::new("chmod").args(["-R", "a+rwX"]).arg(&store))?;
    Ok(store)
}

/// As `basic_ncsa_auth` reads it (`htpasswd` would come with yet another package). The password goes in by standard input:
/// scenarios look for it in the process list of the whole machine.
fn hash(password: &str) -> Result<String> {
    let mut command = Command::new(program("openssl")?);
    command.args(["passwd", "-apr1", "-salt", "labsalt1", "-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("openssl")?;
    child.stdin.take().context("no standard input")?.write_all(password.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "openssl passwd: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn run(command: &mut Command) -> Result<String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{shown} is missing; run tests/run, which installs it"))?;
    ensure!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
