//! What headends verify with, against repositories of every kind that TUF allows or forbids: python-tuf makes them, and its own
//! client has to come to the same verdict. (`tests/conformance` asks the conformance suite itself.)

use anyhow::{Context, Result, ensure};
use tests::peers;
use tests::world::binaries;

/// A run that stops early must not pass for a good one.
const CASES: usize = 112;

#[tokio::test]
async fn python_tuf_and_ours_come_to_the_same_verdict_on_every_repository() -> Result<()> {
    let program = binaries().await?.tuf_conformance_client.clone();
    let said = tokio::task::spawn_blocking(move || peers::tuf_cases(&program)).await??;
    let failed: Vec<_> = said.lines().filter(|line| line.starts_with("FAILED ")).collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    let good = said.lines().filter(|line| line.starts_with("ok ")).count();
    ensure!(good >= CASES, "{good} of {CASES} cases: {}", said.lines().last().context("it said nothing")?);
    Ok(())
}
