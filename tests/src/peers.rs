//! The independent programs: those that read what we serve (python-tuf, Java, [zip readers](zips), a [virus
//! scanner](clamscan), a [browser](chromium), promtool, curl), and those that stand between us and upstream or in its place ([`squid`],
//! [`tinyproxy`], [`nginx`], [`s_server`]). One that is missing is a failure, never a skip: `tests/run` installs them all.

pub mod axe;
pub mod chromium;
pub mod clamscan;
mod daemon;
pub mod debian;
pub mod kubernetes;
pub mod nginx;
mod port;
pub mod prometheus;
pub mod s_server;
pub mod squid;
pub mod statics;
pub mod testssl;
pub mod tinyproxy;
pub mod zips;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use url::Url;

pub use axe::axe;
pub use chromium::Chromium;
pub use clamscan::Clamscan;
pub use daemon::Access;
pub use nginx::Nginx;
pub use port::{Clogged, Port};
pub use prometheus::{Alertmanager, Prometheus, promtool};
pub use s_server::SServer;
pub use squid::Squid;
pub use statics::static_programs;
pub use testssl::testssl;
pub use tinyproxy::Tinyproxy;
pub use zips::{every_zip_reader, unzip_test};

/// Name → SHA-256 in hex.
pub type Digests = BTreeMap<String, String>;

/// Refreshes from `base` (`…/repo` or `…/offline`) with python-tuf and downloads every target of the newest release:
/// target path → SHA-256.
///
/// # Errors
/// python-tuf is missing or refuses what is served.
pub fn python_tuf(base: &Url, root: &Path, directory: &Path) -> Result<Digests> {
    python_tuf_at(base, root, directory, None)
}

/// The same with its clock off by that much, such as `+8d` (by libfaketime): it has no other way to be told the time.
///
/// # Errors
/// The same.
pub fn python_tuf_at(base: &Url, root: &Path, directory: &Path, clock_off: Option<&str>) -> Result<Digests> {
    let mut python = python()?;
    python.arg(peer("tuf_client.py")).arg(base.as_str().trim_end_matches('/')).arg(root).arg(directory);
    if let Some(offset) = clock_off {
        python.envs(crate::world::clock_off(offset));
    }
    let output = run(&mut python)?;
    output
        .lines()
        .map(|line| {
            let mut fields = line.split(' ');
            let (digest, path) = (fields.next(), fields.nth(1));
            Ok((path.context("no path")?.to_owned(), digest.context("no digest")?.to_owned()))
        })
        .collect()
}

/// Lets python-tuf make repositories of every kind and serve them to this program, which speaks the conformance suite's
/// protocol, and to its own client: a line for each case, `ok NAME` or `FAILED NAME: why`.
///
/// # Errors
/// python-tuf is missing.
pub fn tuf_cases(program: &Path) -> Result<String> {
    let output = python()?.arg(peer("tuf_cases.py")).arg(program).output().context("python does not start")?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(said.contains(" cases, "), "tuf_cases.py: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// `sha256sum -c` on a file that names others beside it.
///
/// # Errors
/// They differ.
pub fn sha256sum_check(sums: &Path) -> Result<()> {
    let directory = sums.parent().context("a file has a directory")?;
    run(Command::new("sha256sum").arg("--strict").arg("-c").arg(sums).current_dir(directory)).map(drop)
}

/// Holds a CycloneDX document to the format's schema and to what that cannot say; "name version" of each component.
///
/// # Errors
/// It is not right, or the library that knows is missing.
pub fn sbom(document: &Path) -> Result<String> {
    run(python()?.arg(peer("sbom.py")).arg(document))
}

/// `promtool check metrics`, with every complaint an error.
///
/// # Errors
/// It complains.
pub fn promtool_check(metrics: &str) -> Result<()> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool is missing; run tests/run, which installs it")?;
    child.stdin.take().context("no standard input")?.write_all(metrics.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success() && said.is_empty(), "promtool check metrics: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// curl's body for a URL, trusting `ca` where given.
///
/// # Errors
/// It answers with an error or does not answer.
pub fn curl(url: &Url, ca: Option<&Path>) -> Result<Vec<u8>> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail"]);
    if let Some(ca) = ca {
        command.arg("--cacert").arg(ca);
    }
    let output = command.arg(url.as_str()).output().context("curl is missing; run tests/run, which installs it")?;
    ensure!(output.status.success(), "curl {url}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// A stand-in for an ISE node in Java's own HTTP client, stopped between the index and the archives.
#[derive(Debug)]
pub struct IseNode {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// How many archives the index named.
    pub locators: usize,
}

impl IseNode {
    /// Starts it; returns when it has read the index.
    ///
    /// # Errors
    /// Java is missing, or the index cannot be read.
    pub fn read_index(index: &Url, ca: &Path) -> Result<Self> {
        let mut child = Command::new("java")
            .arg(peer("IseNode.java"))
            .arg(index.as_str())
            .arg(ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("java is missing; run tests/run, which installs it")?;
        let input = child.stdin.take().context("no standard input")?;
        let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Some(locators) = line.trim().strip_prefix("INDEX ").and_then(|number| number.parse().ok()) else {
            let status = child.wait()?;
            bail!("the ISE stand-in could not read {index} ({status}): {line:?}");
        };
        Ok(Self { child, input, output, locators })
    }

    /// Lets it fetch what the index named.
    ///
    /// # Errors
    /// An archive cannot be fetched.
    pub fn fetch_archives(mut self) -> Result<Digests> {
        writeln!(self.input, "go")?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut text)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the ISE stand-in failed: {status}");
        digests(&text)
    }
}

impl Drop for IseNode {
    fn drop(&mut self) {
        // It is gone already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// "SHA-256 name" lines.
fn digests(text: &str) -> Result<Digests> {
    text.lines()
        .map(|line| {
            let (digest, name) =
                line.split_once(' ').with_context(|| format!("{line:?} is not a digest and a name"))?;
            Ok((name.to_owned(), digest.to_owned()))
        })
        .collect()
}

fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} is missing; run tests/run, which installs it"))?;
    ensure!(
        output.status.success(),
        "{program}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Lets Schemathesis, which makes requests of an API's description, good ones and bad ones, ask every route with an
/// administrator's token, and hold each answer to the description.
///
/// Not asked: `POST /keys/changes`, where each good request replaces signing keys and makes the chain of roots longer, for hours.
/// The token is sent in any case: that nothing opens without one, or with a wrong one, is shown by the walk over all routes.
///
/// # Errors
/// Schemathesis is missing, or found an answer that is not described, or one of the server's mistakes.
pub async fn schemathesis(description: &Url, token: &str, directory: &Path, patience: Duration) -> Result<()> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/schemathesis");
    ensure!(program.exists(), "{} is missing; run tests/run, which installs it", program.display());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                  unsupported_method,allow_header_conformance";
    let mut command = tokio::process::Command::new(program);
    command.arg("run").arg(description.as_str()).current_dir(directory).kill_on_drop(true);
    command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    command.args(["--checks", checks, "--phases", "examples,coverage,fuzzing", "--seed", "1", "--max-examples", "40"]);
    command.env("SCHEMATHESIS_HOOKS", peer("schemathesis_hooks.py"));
    command.args(["--exclude-path", "/api/v1/keys/changes", "--request-timeout", "30", "--continue-on-failure"]);
    command.args(["--suppress-health-check", "all", "--warnings", "off", "--no-color"]);
    command.env("NO_PROXY", "*").env_remove("HTTPS_PROXY").env_remove("HTTP_PROXY");
    let output = tokio::time::timeout(patience, command.output()).await.context("it does not end")??;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The Python in which `tests/run` installed python-tuf.
fn python() -> Result<Command> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    ensure!(python.exists(), "{} is missing; run tests/run, which makes it", python.display());
    Ok(Command::new(python))
}

fn peer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}
