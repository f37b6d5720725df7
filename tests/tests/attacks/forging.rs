//! With keys: an attacker's own, some that were stolen, and the right ones in the wrong way.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
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
    let mut stage = Stage::set().await?;
    let mut forged = stage.now.clone();
    let known = forged.keys("timestamp").remove(0);
    // The origin itself names a second key, of a kind that this client does not know, and both have to sign. It does sign, as
    // any ed25519 key would: whoever skips what he cannot check, or guesses by the type, counts two.
    for (keytype, scheme) in [("none", "none"), ("ed25519", "none")] {
        let unknown = Key::of_a_stranger()?;
        forged.entrust("timestamp", vec![known.clone(), unknown.clone()], 2)?;
        let described = &mut forged.role("root")?["keys"][&unknown.id];
        (described["keytype"], described["scheme"]) = (json!(keytype), json!(scheme));
        forged.publish("root")?;
        forged.publish("timestamp")?;
        stage.refused(forged.files(), "signature", 12).await.with_context(|| format!("{keytype} {scheme}"))?;
    }
    // Beside enough others such a key takes nothing away: whoever cannot read its root could never follow it.
    let ids = forged.role("root")?["roles"]["timestamp"]["keyids"].clone();
    forged.role("root")?["roles"]["timestamp"] = json!({ "keyids": ids, "threshold": 1 });
    forged.publish("root")?;
    forged.publish("timestamp")?;
    stage.honest_is(&forged);
    stage.heals_ours().await
}

#[tokio::test]
async fn extraneous_dependencies() -> Result<()> {
    let mut stage = Stage::set().await?;
    // What the release is said to need as well. It is there, it is what its name says, and its archive opens.
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    header.set_mode(0o644);
    tar.append_data(&mut header, "more.xml", &b"more"[..])?;
    let more = tar.into_inner()?;
    let digest = hex::encode(Sha256::digest(&more));
    let path = format!("{}-more.tar", &digest[..16]);
    let file = json!({ "name": "more.tar", "sha256": digest, "length": more.len() });
    let add = |manifest: &mut Value| -> Result<Vec<u8>> {
        let component =
            json!({ "component": "other-more", "version": "1.0", "files": [{ "archive": file, "payload": file }] });
        manifest["components"].as_array_mut().context("components")?.push(component);
        Ok(serde_json::to_vec(manifest)?)
    };
    let mut forged = stage.now.clone();
    forged.files_mut().insert(format!("repo/targets/{digest}.{path}"), more.clone());
    let named = forged.role("targets")?["targets"]["stable.json"].clone();
    let stable = format!("repo/targets/{}.stable.json", named["hashes"]["sha256"].as_str().context("a manifest")?);
    let mut manifest: Value = serde_json::from_slice(&forged.files()[&stable])?;

    // With the line alone: the manifest names it, and nothing is signed anew.
    let mut line = forged.clone();
    let needs_more = add(&mut manifest)?;
    line.files_mut().insert(stable, needs_more.clone());
    stage.refused(line.files(), "too_large", 14).await.context("the manifest alone")?;
    stage.python_refuses().context("the manifest alone")?;

    // With the keys that are online everywhere, and not the targets' own: everything fits, but for whose signature it is.
    let described =
        |bytes: &[u8]| json!({ "length": bytes.len(), "hashes": { "sha256": hex::encode(Sha256::digest(bytes)) } });
    forged.role("targets")?["targets"][&path] = described(&more);
    for name in ["stable.json".to_owned(), format!("release-{}.json", manifest["serial"])] {
        forged.role("targets")?["targets"][&name] = described(&needs_more);
        let served_as = format!("repo/targets/{}.{name}", hex::encode(Sha256::digest(&needs_more)));
        forged.files_mut().insert(served_as, needs_more.clone());
    }
    let right = forged.keys("targets").remove(0);
    let mut thief = forged.keys("snapshot").remove(0);
    thief.id.clone_from(&right.id);
    forged.sign_with("targets", vec![thief]);
    for role in ["targets", "snapshot", "timestamp"] {
        forged.publish(role)?;
    }
    stage.refused(forged.files(), "signature", 12).await.context("signed by others")?;
    stage.python_refuses().context("signed by others")?;
    let asked = stage.attacker.asked();
    ensure!(!asked.iter().any(|asked| asked.contains("more")), "it was asked for: {asked:?}");

    // All of it is what the targets' own key makes it: signed by that, it is the origin's release.
    forged.sign_with("targets", vec![right]);
    for role in ["targets", "snapshot", "timestamp"] {
        forged.publish(role)?;
    }
    stage.honest_is(&forged);
    stage.heals().await?;
    ensure!(
        stage.attacker.asked().iter().any(|asked| asked.ends_with(&path)),
        "the test knows what it would look like"
    );
    Ok(())
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
    stage.python_takes()?;
    let honest = stage.now.clone();
    stage.refused(honest.files(), "rollback", 12).await?;
    stage.python_refuses_as("BadVersionNumberError")?;
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
