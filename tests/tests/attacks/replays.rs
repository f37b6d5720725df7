//! With what was signed once, for another time or another place.

use anyhow::{Context as _, Result};
use tests::attacker::{Files, Forged, Key};

use crate::stage::Stage;

#[tokio::test]
async fn rollback_of_each_role() -> Result<()> {
    let mut stage = Stage::set().await?;
    let held = |role: &str| stage.before.version(role);
    // The root: an earlier one under the next one's name.
    let mut forged = stage.now.clone();
    let root = forged.files()[&forged.path("1.root")].clone();
    let next = forged.path("2.root");
    forged.files_mut().insert(next, root);
    stage.refused(forged.files(), "rollback", 12).await.context("root")?;
    stage.python_refuses().context("root")?;
    // The others, signed with keys that were stolen.
    let mut forged = stage.now.clone();
    forged.publish_as("timestamp", held("timestamp") - 1)?;
    stage.refused(forged.files(), "rollback", 12).await.context("timestamp")?;
    stage.python_refuses().context("timestamp")?;
    let mut forged = stage.now.clone();
    forged.publish_as("snapshot", held("snapshot") - 1)?;
    forged.publish("timestamp")?;
    stage.refused(forged.files(), "rollback", 12).await.context("snapshot")?;
    stage.python_refuses().context("snapshot")?;
    let mut forged = stage.now.clone();
    forged.publish_as("targets", held("targets") - 1)?;
    forged.publish("snapshot")?;
    forged.publish("timestamp")?;
    stage.refused(forged.files(), "rollback", 12).await.context("targets")?;
    stage.python_refuses().context("targets")?;
    // That last timestamp was the origin's own, as far as anybody can tell.
    let mut honest = stage.now.clone();
    for _ in 0..2 {
        honest.publish("snapshot")?;
        honest.publish("timestamp")?;
    }
    stage.honest_is(&honest);
    stage.heals().await
}

#[tokio::test]
async fn indefinite_freeze() -> Result<()> {
    let stage = Stage::set().await?;
    stage.attacker.serve(stage.before.files());
    stage.update_refused("freeze", 12, Some("+8d")).await?;
    stage.python_refuses_at("+8d", "ExpiredMetadataError")?;
    stage.heals().await
}

#[tokio::test]
async fn mix_and_match() -> Result<()> {
    let stage = Stage::set().await?;
    for role in ["snapshot", "targets"] {
        let mut forged = stage.now.clone();
        let then = stage.before.files()[&stage.before.path(&format!("{}.{role}", stage.before.version(role)))].clone();
        let now = forged.path(&format!("{}.{role}", forged.version(role)));
        forged.files_mut().insert(now, then);
        stage.refused(forged.files(), "digest_mismatch", 14).await.context(role)?;
        stage.python_refuses().context(role)?;
    }
    stage.heals().await
}

#[tokio::test]
async fn metadata_of_another_origin() -> Result<()> {
    let stage = Stage::set().await?;
    let mut other = stage.now.clone();
    for role in ["timestamp", "snapshot", "targets", "root"] {
        other.entrust(role, vec![Key::of_a_stranger()?], 1)?;
    }
    other.publish_as("root", 1)?;
    for role in ["targets", "snapshot", "timestamp"] {
        other.publish(role)?;
    }
    stage.refused(other.files(), "signature", 12).await?;
    stage.python_refuses()?;
    // Its root as the next one of this origin's.
    other.publish_as("root", 2)?;
    stage.refused(other.files(), "signature", 12).await?;
    stage.python_refuses()?;
    stage.heals().await
}

/// One side's files where the other's are asked for.
fn shown_as(forged: &Forged, from: &str, to: &str) -> Files {
    let moved = |path: &String| path.strip_prefix(from).map(|rest| format!("{to}{rest}"));
    forged.files().iter().filter_map(|(path, bytes)| Some((moved(path)?, bytes.clone()))).collect()
}

async fn the_other_repository(stage: &Stage, mine: &'static str, other: &str) -> Result<()> {
    let others = Forged::of_server(&stage.world.data(), other)?;
    stage.refused(&shown_as(&others, other, mine), "signature", 12).await?;
    stage.python_refuses()?;
    // Its root as the next one of this repository.
    let mut forged = stage.now.clone();
    let mut root = others.clone();
    root.publish_as("root", 2)?;
    let bytes = root.files()[&root.path("2.root")].clone();
    let next = forged.path("2.root");
    forged.files_mut().insert(next, bytes);
    stage.refused(forged.files(), "signature", 12).await?;
    stage.python_refuses()?;
    stage.heals().await
}

#[tokio::test]
async fn offline_metadata_or_root_for_an_online_headend() -> Result<()> {
    the_other_repository(&Stage::set().await?, "repo", "offline").await
}

#[tokio::test]
async fn online_metadata_or_root_for_an_offline_headend() -> Result<()> {
    the_other_repository(&Stage::set_for("offline").await?, "offline", "repo").await
}
