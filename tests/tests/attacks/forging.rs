//! With keys: an attacker's own, some that were stolen, and the right ones in the wrong way.

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::attacker::{Forged, Key};

use crate::stage::Stage;

/// Far beyond every version that an origin comes to.
const FAR: u64 = 4_000_000_000_000;

async fn refused_and_healed(stage: &Stage, forged: &Forged, reason: &str, code: i32) -> Result<()> {
    stage.refused(forged.files(), reason, code).await?;
    stage.python_refuses()?;
    stage.heals().await
}

#[tokio::test]
async fn arbitrary_installation() -> Result<()> {
    let stage = Stage::set().await?;
    let mut forged = stage.now.clone();
    for (path, bytes) in forged.files_mut() {
        if path.contains("/targets/") && path.ends_with("stable.json") {
            let text = String::from_utf8_lossy(bytes).replace("\"serial\":2", "\"serial\":9");
            *bytes = text.into_bytes();
            bytes[20] ^= 1;
        }
    }
    refused_and_healed(&stage, &forged, "digest_mismatch", 14).await
}

#[tokio::test]
async fn wrong_key() -> Result<()> {
    let stage = Stage::set().await?;
    let mut honest = stage.now.clone();
    for role in ["timestamp", "snapshot", "targets"] {
        let mut forged = honest.clone();
        forged.sign_with(role, vec![Key::of_a_stranger()?]);
        for role in ["targets", "snapshot", "timestamp"] {
            forged.publish(role)?;
        }
        stage.refused(forged.files(), "signature", 12).await.context(role)?;
        stage.python_refuses().context(role)?;
        // The right timestamps were verified, and so nothing older than them will do any more.
        for _ in 0..2 {
            for role in ["targets", "snapshot", "timestamp"] {
                honest.publish(role)?;
            }
        }
    }
    let mut stage = stage;
    stage.honest_is(&honest);
    stage.heals().await
}

#[tokio::test]
async fn key_id_games() -> Result<()> {
    let stage = Stage::set().await?;
    let mut forged = stage.now.clone();
    let right = forged.keys("timestamp").remove(0);
    let mut stranger = Key::of_a_stranger()?;
    stranger.id.clone_from(&right.id);
    forged.sign_with("timestamp", vec![stranger]);
    forged.publish("timestamp")?;
    stage.refused(forged.files(), "signature", 12).await?;
    stage.python_refuses()?;
    // The right key of another role, under the id that is asked for.
    let mut snapshots = forged.keys("snapshot").remove(0);
    snapshots.id = right.id;
    forged.sign_with("timestamp", vec![snapshots]);
    forged.publish("timestamp")?;
    refused_and_healed(&stage, &forged, "signature", 12).await
}

/// An origin whose timestamps need both of these keys.
async fn two_timestamp_keys() -> Result<(Stage, Vec<Key>)> {
    let mut stage = Stage::set().await?;
    let keys = vec![stage.now.keys("timestamp").remove(0), Key::of_a_stranger()?];
    let mut honest = stage.now.clone();
    honest.entrust("timestamp", keys.clone(), 2)?;
    honest.publish("root")?;
    honest.publish("timestamp")?;
    stage.honest_is(&honest);
    stage.now = honest;
    Ok((stage, keys))
}

#[tokio::test]
async fn threshold_not_met() -> Result<()> {
    let (stage, mut keys) = two_timestamp_keys().await?;
    keys.truncate(1);
    let mut forged = stage.now.clone();
    forged.sign_with("timestamp", keys);
    forged.publish("timestamp")?;
    refused_and_healed(&stage, &forged, "signature", 12).await
}

#[tokio::test]
async fn duplicate_signatures_of_one_key() -> Result<()> {
    let (stage, keys) = two_timestamp_keys().await?;
    let mut forged = stage.now.clone();
    forged.sign_with("timestamp", vec![keys[0].clone(), keys[0].clone()]);
    forged.publish("timestamp")?;
    refused_and_healed(&stage, &forged, "signature", 12).await
}

#[tokio::test]
async fn unknown_key_types() -> Result<()> {
    let stage = Stage::set().await?;
    let mut forged = stage.now.clone();
    forged.publish("timestamp")?;
    let mut file = forged.file("timestamp")?;
    let id = file["signatures"][0]["keyid"].clone();
    // A key that nobody can check signatures of vouches for nothing, whatever stands beside it.
    file["signatures"] =
        json!([{ "keyid": id, "sig": "ab".repeat(64), "scheme": "none" }, { "keyid": "ef".repeat(32), "sig": "" }]);
    forged.put("timestamp", &file)?;
    stage.refused(forged.files(), "signature", 12).await?;
    stage.python_refuses()?;
    let mut forged = stage.now.clone();
    let root = forged.role("root")?;
    root["keys"][id.as_str().context("an id")?] =
        json!({ "keytype": "none", "scheme": "none", "keyval": { "public": "" } });
    forged.sign_with("root", vec![Key::of_a_stranger()?]);
    forged.publish("root")?;
    refused_and_healed(&stage, &forged, "signature", 12).await
}

#[tokio::test]
async fn extraneous_dependencies() -> Result<()> {
    let stage = Stage::set().await?;
    let mut forged = stage.now.clone();
    // One more file among the targets, by whoever holds the keys that are online everywhere, and not the targets' own.
    let file = forged.role("targets")?["targets"]["stable.json"].clone();
    forged.role("targets")?["targets"]["more.tar"] = file;
    forged.sign_with("targets", vec![Key::of_a_stranger()?]);
    for role in ["targets", "snapshot", "timestamp"] {
        forged.publish(role)?;
    }
    stage.refused(forged.files(), "signature", 12).await?;
    stage.python_refuses()?;
    let mut stage = stage;
    let mut honest = stage.now.clone();
    for _ in 0..2 {
        for role in ["targets", "snapshot", "timestamp"] {
            honest.publish(role)?;
        }
    }
    stage.honest_is(&honest);
    stage.heals().await
}

#[tokio::test]
async fn fast_forward_recovery() -> Result<()> {
    let mut stage = Stage::set().await?;
    // Stolen online keys, and what they sign is taken: nobody can tell it from the origin's own.
    let mut forged = stage.before.clone();
    forged.publish_as("snapshot", FAR)?;
    forged.publish_as("timestamp", FAR)?;
    stage.attacker.serve(forged.files());
    stage.world.headend(0).client(["update"]).await?.success()?;
    let honest = stage.now.clone();
    stage.refused(honest.files(), "rollback", 12).await?;
    // The origin's next root ends it, and its versions go on from where they were.
    let mut recovered = stage.now.clone();
    for role in ["snapshot", "timestamp"] {
        recovered.entrust(role, vec![Key::of_a_stranger()?], 1)?;
    }
    for role in ["root", "snapshot", "timestamp"] {
        recovered.publish(role)?;
    }
    stage.honest_is(&recovered);
    stage.heals().await
}
