//! A next root that is not signed by enough keys yet: those of the root before have to sign it, and its own.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;

use bundles::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tough::schema::{RoleKeys, RoleType, Root, Signature, Signed};

use super::key::fingerprint;
use super::keys::{KeyId, Keys};
use super::signing::signatures;
use super::{Key, PublishError, Repository, Role};
use crate::store::{Batch, Store, StoreError};

/// As it is kept in the catalog; also what is carried to where root keys are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// With the signatures that there are.
    pub(super) root: Signed<Root>,
    /// What it changes, for people.
    pub(super) what: String,
    /// Since when.
    pub(super) created: Timestamp,
}

/// Signatures that are lacking, of one root's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The version of the root whose keys they are.
    pub version: u64,
    /// How many.
    pub signatures: u64,
    /// The keys that have not signed yet, by id and fingerprint.
    pub keys: Vec<(String, Digest)>,
}

/// A root that waits for signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub repository: Repository,
    /// Its version.
    pub version: u64,
    /// What it changes.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// What is lacking.
    pub lacking: Vec<Lacking>,
}

fn state(repository: Repository) -> String {
    format!("publish.{repository}.root_pending")
}

impl Pending {
    pub(super) fn read(store: &Store, repository: Repository) -> Result<Option<Self>, StoreError> {
        Ok(store.state::<Option<Self>>(&state(repository))?.flatten())
    }

    /// What puts it into the catalog, or takes it out.
    pub(super) fn put(this: Option<&Self>, repository: Repository, batch: &mut Batch) -> Result<(), StoreError> {
        batch.put_state(&state(repository), &this)
    }

    pub(super) fn waiting(&self, repository: Repository, previous: &Root) -> Waiting {
        Waiting {
            repository,
            version: self.root.signed.version.get(),
            what: self.what.clone(),
            since: self.created,
            lacking: lacking(previous, &self.root),
        }
    }
}

/// The keys that count for a root after `previous`: those that sign it, and those that are to sign the one after it.
pub(super) fn signers<'r>(previous: &'r Root, next: &'r Root) -> impl Iterator<Item = &'r KeyId> {
    [previous, next].into_iter().filter_map(|root| root.roles.get(&RoleType::Root)).flat_map(|keys| &keys.keyids)
}

/// Adds the signatures of the keys that are here.
pub(super) fn sign_here(
    repository: Repository,
    previous: &Root,
    root: &mut Signed<Root>,
    keys: &Keys,
) -> Result<(), PublishError> {
    let here = keys.among(signers(previous, &root.signed));
    sign(root, &here).map_err(|source| PublishError::Sign { repository, role: Role::Root, source })
}

/// Adds these keys' signatures, where they have not signed yet.
pub(super) fn sign(root: &mut Signed<Root>, keys: &[Key]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let has_signed = |key: &&Key| root.signatures.iter().any(|signature| signature.keyid == key.id);
    let lacking: Vec<Key> = keys.iter().filter(|key| !has_signed(key)).cloned().collect();
    let more = signatures(&root.signed, &lacking)?;
    merge(root, more);
    Ok(())
}

/// One signature for each key, in the order of their ids.
pub(super) fn merge(root: &mut Signed<Root>, more: Vec<Signature>) {
    let all = root.signatures.drain(..).chain(more);
    let by_key: BTreeMap<Vec<u8>, Signature> = all.map(|one| (one.keyid.to_vec(), one)).collect();
    root.signatures = by_key.into_values().collect();
}

/// Whether this is a right signature of a key that counts.
pub(super) fn counts(previous: &Root, root: &Root, signature: &Signature) -> bool {
    [previous, root].into_iter().any(|of| {
        let names = of.roles.get(&RoleType::Root).is_some_and(|keys| keys.keyids.contains(&signature.keyid));
        names && verifies(of, root, signature)
    })
}

/// tough verifies whole roles, so one key is asked as a role of its own.
fn verifies(of: &Root, root: &Root, signature: &Signature) -> bool {
    let mut one = of.clone();
    let (keyids, threshold) = (vec![signature.keyid.clone()], NonZeroU64::MIN);
    one.roles.insert(RoleType::Root, RoleKeys { keyids, threshold, _extra: HashMap::new() });
    one.verify_role(&Signed { signed: root.clone(), signatures: vec![signature.clone()] }).is_ok()
}

/// What is lacking; nothing where the root can take the place of the one before.
pub(super) fn lacking(previous: &Root, root: &Signed<Root>) -> Vec<Lacking> {
    let of = |asked: &Root| {
        let keys = asked.roles.get(&RoleType::Root)?;
        let has_signed = |id: &&KeyId| {
            let signature = root.signatures.iter().find(|signature| signature.keyid == **id);
            signature.is_some_and(|signature| verifies(asked, &root.signed, signature))
        };
        let signed = keys.keyids.iter().filter(has_signed).count() as u64;
        let signatures = keys.threshold.get().saturating_sub(signed);
        if signatures == 0 {
            return None;
        }
        let keys = keys.keyids.iter().filter(|id| !has_signed(id)).filter_map(|id| {
            let public = asked.keys.get(id)?;
            Some((hex::encode(&**id), fingerprint(public)))
        });
        Some(Lacking { version: asked.version.get(), signatures, keys: keys.collect() })
    };
    [of(previous), of(&root.signed)].into_iter().flatten().collect()
}
