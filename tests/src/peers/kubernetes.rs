//! kubectl, which renders manifests, and Kubernetes' own schemas, which they are held to.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{peer, python, run};

/// What `kubectl apply -k` would apply, in YAML.
///
/// # Errors
/// kubectl refuses the folder.
pub fn kustomize(folder: &Path) -> Result<String> {
    run(Command::new("kubectl").arg("kustomize").arg(folder))
}

/// The objects of a manifest, which Kubernetes' schemas are asked about.
///
/// # Errors
/// One is not what Kubernetes knows under its kind, or has more than that.
pub fn checked_objects(manifest: &str) -> Result<Vec<Value>> {
    read(manifest, &[])
}

/// The same, and nobody is asked.
///
/// # Errors
/// It is no YAML.
pub fn objects(manifest: &str) -> Result<Vec<Value>> {
    read(manifest, &["--only-read"])
}

fn read(manifest: &str, arguments: &[&str]) -> Result<Vec<Value>> {
    let mut child = python()?
        .arg(peer("kubernetes_objects.py"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("python does not start")?;
    // It reads everything before it writes anything.
    child.stdin.take().context("no standard input")?.write_all(manifest.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
