//! With the line alone: no key, and all the time and bytes in the world.

use anyhow::{Context as _, Result};
use tests::attacker::Answer;

use crate::stage::Stage;

#[tokio::test]
async fn endless_data() -> Result<()> {
    let stage = Stage::set().await?;
    // The tree holds that of release 1 as well.
    let named = stage.now.clone().role("targets")?["targets"]["stable.json"]["hashes"]["sha256"].clone();
    let manifest = format!("repo/targets/{}.stable.json", named.as_str().context("a manifest")?);
    for path in [stage.now.path("2.root"), stage.now.path("timestamp"), manifest] {
        let begun = stage.now.files().get(&path).cloned().unwrap_or_default();
        stage.attacker.serve(stage.now.files());
        stage.attacker.answer(&path, Answer::Endless(begun));
        stage.update_refused("too_large", 14, None).await.context(path.clone())?;
        stage.python_refuses().context(path)?;
    }
    stage.heals().await
}

#[tokio::test]
async fn slow_retrieval() -> Result<()> {
    let stage = Stage::set().await?;
    let path = stage.now.path("timestamp");
    stage.attacker.serve(stage.now.files());
    // Slow enough that nobody would see its end, and never silent.
    stage.attacker.answer(&path, Answer::Trickle(vec![b' '; 10_000]));
    stage.update_refused("timeout", 10, None).await?;
    stage.heals().await
}
