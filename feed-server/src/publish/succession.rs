//! Whether a backup knows the newest root: one from before a rotation signs what nobody takes any more.

use bundles::signed::Metadata;
use serde_json::Value;

use super::{Repository, roots};
use crate::store::Held;
use crate::store::backup::{BackupError, Survey};

/// Every root of each repository that a backup knows, oldest first.
///
/// # Errors
/// They cannot be read.
pub fn newest_roots(survey: &Survey) -> Result<Vec<(Repository, Vec<String>)>, BackupError> {
    let mut known = Vec::new();
    for repository in Repository::ALL {
        let signed: Option<Vec<String>> = survey.state(&roots::state(repository))?;
        let held: Option<Held> = survey.state(&crate::store::held_state(repository))?;
        let received = held.map(|Held { metadata: Metadata { roots, .. }, .. }| roots);
        known.extend(signed.or(received).map(|roots| (repository, roots)));
    }
    Ok(known)
}

/// Holds a backup's roots to one that is known to be in use.
///
/// # Errors
/// It is newer than those of the backup, or of another origin.
pub fn refuse_older(known: &[(Repository, Vec<String>)], given: &[u8]) -> Result<(), BackupError> {
    let signers = signers(given);
    let given = root(given).ok_or(BackupError::OtherRoot)?;
    let mut older = None;
    for (repository, roots) in known {
        let roots: Vec<Value> = roots.iter().filter_map(|text| root(text.as_bytes())).collect();
        if roots.contains(&given) {
            return Ok(());
        }
        let newest = roots.last().map_or(0, version);
        if version(&given) > newest && roots.last().is_some_and(|newest| may_follow(newest, &given, &signers)) {
            older = Some((*repository, newest));
        }
    }
    match older {
        Some((repository, found)) => Err(BackupError::OlderRoot { repository, found, given: version(&given) }),
        None => Err(BackupError::OtherRoot),
    }
}

/// What is signed of a root, which is what roots are compared by.
fn root(bytes: &[u8]) -> Option<Value> {
    let mut root: Value = serde_json::from_slice(bytes).ok()?;
    let signed = root.get_mut("signed")?.take();
    (signed.get("_type")? == "root" && signed.get("version")?.is_u64()).then_some(signed)
}

fn version(root: &Value) -> u64 {
    root.get("version").and_then(Value::as_u64).unwrap_or_default()
}

/// Whether they share a key, or one of the earlier root's keys signed the later one. A root does not say whose it is; where
/// so many changes lie between the two that nothing ties them together, it is not known, and refused as well.
fn may_follow(newest: &Value, given: &Value, signers: &[String]) -> bool {
    let keys = newest.get("keys").and_then(Value::as_object);
    let later = given.get("keys").and_then(Value::as_object);
    keys.is_some_and(|keys| {
        keys.keys().any(|id| signers.contains(id) || later.is_some_and(|later| later.contains_key(id)))
    })
}

/// Whose signatures stand under a root.
fn signers(bytes: &[u8]) -> Vec<String> {
    let root: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let signatures = root.get("signatures").and_then(Value::as_array).into_iter().flatten();
    signatures.filter_map(|one| Some(one.get("keyid")?.as_str()?.to_owned())).collect()
}
