//! testssl.sh, which tries what is known of bad TLS on a server.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What it looks at, without asking anybody else: protocols, suites, forward secrecy, the server's preference, its certificate, headers, and
/// the attacks that have names.
const SECTIONS: [&str; 7] = ["-p", "-s", "-f", "-P", "-S", "-h", "-U"];

/// One line of its report.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Finding {
    /// What it looked at, by its own name, such as `heartbleed`.
    pub id: String,
    /// `OK`, `INFO`, `LOW`, `MEDIUM`, `HIGH`, `CRITICAL`; `WARN` where it could not look.
    pub severity: String,
    /// What it saw.
    pub finding: String,
}

/// Has it look at the server on that port of this machine, whose root is `ca`. Takes a minute. Nobody else is asked: no names
/// are looked up, and no lists of revoked certificates.
///
/// # Errors
/// It is missing, or comes to no report.
pub fn testssl(port: u16, ca: &Path, directory: &Path) -> Result<Vec<Finding>> {
    let report = directory.join("testssl.json");
    let output = Command::new("testssl")
        .args(["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1"])
        .args(SECTIONS)
        .arg("--add-ca")
        .arg(ca)
        .arg("--jsonfile")
        .arg(&report)
        .arg(format!("https://localhost:{port}"))
        .current_dir(directory)
        .output()
        .context("testssl.sh is missing; run tests/run, which installs it")?;
    // It ends with the number of what it found, so its code says nothing of whether it got to its end.
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("Done "), "testssl.sh did not get to its end: {said}");
    let findings = std::fs::read_to_string(&report).with_context(|| said.into_owned())?;
    Ok(serde_json::from_str(&findings)?)
}
