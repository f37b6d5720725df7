//! An origin's way to a repository's metadata: what has to be signed anew is signed.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Deserialize;
use tough::TargetName;
use tough::schema::{Metafile, Root, Snapshot, Target, Targets, Timestamp as TimestampRole};

use super::keys::Keys;
use super::metadata::{Chain, TIMESTAMP, folder, numbered};
use super::published::Published;
use super::roots::Roots;
use super::signing::{SPEC_VERSION, SignedRole, role_type};
use super::terms::Term;
use super::tree::Tree;
use super::{Key, PublishError, Repository, Role};
use crate::store::Store;
use crate::store::versions::Versions;

/// What it takes to sign one repository's metadata.
pub(super) struct Signer<'a> {
    pub(super) store: &'a Store,
    pub(super) tree: &'a Tree,
    pub(super) keys: &'a Keys,
    pub(super) valid_for: Duration,
    pub(super) repository: Repository,
    pub(super) now: Timestamp,
    /// What is served by now: of what it verified, nothing is verified again.
    pub(super) published: &'a ArcSwap<Published>,
}

impl Signer<'_> {
    pub(super) fn term(&self, role: Role) -> Term {
        Term::of(self.repository, role, self.valid_for)
    }

    pub(super) fn roots(&self) -> Result<Roots, PublishError> {
        Roots::current(self.store, self.tree, self.repository, self.keys, self.term(Role::Root), self.now)
    }

    /// The chain that names `wanted` (`None`: what is named now): as it is where nothing is due, else with what has to be
    /// signed anew. Writes nothing to the tree; the version numbers are used from here on.
    pub(super) fn chain(
        &self,
        root: &Root,
        wanted: Option<HashMap<TargetName, Target>>,
    ) -> Result<Option<(Chain, bool)>, PublishError> {
        // Asked anew each time: a publication switches twice, and the second follows on what the first one made known.
        let known = self.published.load().verified(self.repository);
        let current = Chain::read(self.tree, self.repository, root, known.as_deref())?;
        let Some(wanted) = wanted.or_else(|| current.as_ref().map(|chain| chain.targets.signed.targets.clone())) else {
            return Ok(None);
        };
        let fresh = |role, expires| !self.term(role).is_due(expires, self.now);
        let targets = current.as_ref().map(|chain| &chain.targets);
        let targets =
            targets.filter(|targets| targets.signed.targets == wanted && fresh(Role::Targets, targets.signed.expires));
        let snapshot = current.as_ref().map(|chain| &chain.snapshot);
        let snapshot = snapshot.filter(|snapshot| targets.is_some() && fresh(Role::Snapshot, snapshot.signed.expires));
        let timestamp = current.as_ref().map(|chain| &chain.timestamp);
        let timestamp =
            timestamp.filter(|timestamp| snapshot.is_some() && fresh(Role::Timestamp, timestamp.signed.expires));
        if let (Some(targets), Some(snapshot), Some(timestamp)) = (targets, snapshot, timestamp) {
            let (targets, snapshot, timestamp) = (targets.clone(), snapshot.clone(), timestamp.clone());
            return Ok(Some((Chain { timestamp, snapshot, targets }, false)));
        }

        // Before any number is used: that a key is missing is no reason to leave gaps.
        let roles = [(targets.is_none(), Role::Targets), (snapshot.is_none(), Role::Snapshot), (true, Role::Timestamp)];
        for (_, role) in roles.into_iter().filter(|(is_due, _)| *is_due) {
            self.keys_of(root, role)?;
        }
        let versions = self.reserve(targets.is_none(), snapshot.is_none())?;
        let targets = match targets {
            Some(targets) => targets.clone(),
            None => Arc::new(self.targets(root, versions.targets, wanted)?),
        };
        let snapshot = match snapshot {
            Some(snapshot) => snapshot.clone(),
            None => self.snapshot(root, versions.snapshot, targets.meta())?,
        };
        let timestamp = self.timestamp(root, versions.timestamp, snapshot.meta())?;
        Ok(Some((Chain { timestamp, snapshot, targets }, true)))
    }

    /// New numbers for what is signed, which always includes the timestamp: greater than any that was ever used, and at
    /// least the time, so that not even a restored backup of everything goes back. Kept before anything is signed.
    fn reserve(&self, targets: bool, snapshot: bool) -> Result<Versions, PublishError> {
        let kept = self.store.versions(self.repository)?;
        let found = self.in_tree()?;
        let next = |kept: u64, found: u64| {
            let now = u64::try_from(self.now.as_second()).unwrap_or_default();
            kept.max(found).saturating_add(1).max(now)
        };
        let versions = Versions {
            targets: if targets { next(kept.targets, found.targets) } else { kept.targets },
            snapshot: if snapshot { next(kept.snapshot, found.snapshot) } else { kept.snapshot },
            timestamp: next(kept.timestamp, found.timestamp),
        };
        self.store.put_versions(self.repository, &versions)?;
        Ok(versions)
    }

    /// The highest versions in the tree, of whatever is there.
    fn in_tree(&self) -> Result<Versions, PublishError> {
        #[derive(Deserialize)]
        struct Outer {
            signed: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            version: u64,
        }
        let folder = folder(self.repository);
        let names = self.tree.list(&folder)?;
        let highest = |role: Role| numbered(&names, role).last().copied().unwrap_or_default();
        let timestamp = self.tree.read(&format!("{folder}/{TIMESTAMP}"))?;
        let timestamp = timestamp.and_then(|bytes| serde_json::from_slice::<Outer>(&bytes).ok());
        Ok(Versions {
            targets: highest(Role::Targets),
            snapshot: highest(Role::Snapshot),
            timestamp: timestamp.map_or(0, |timestamp| timestamp.signed.version),
        })
    }

    /// Enough keys to sign a role under this root.
    fn keys_of(&self, root: &Root, role: Role) -> Result<Vec<Key>, PublishError> {
        let named = root.roles.get(&role_type(role));
        let keys = named.map(|named| self.keys.among(&named.keyids)).unwrap_or_default();
        match named {
            Some(named) if keys.len() as u64 >= named.threshold.get() => Ok(keys),
            Some(_) | None => Err(PublishError::KeysMissing {
                repository: self.repository,
                role,
                path: self.keys.directory().to_owned(),
            }),
        }
    }

    fn targets(
        &self,
        root: &Root,
        version: u64,
        targets: HashMap<TargetName, Target>,
    ) -> Result<SignedRole<Targets>, PublishError> {
        let expires = self.term(Role::Targets).expires(self.now)?;
        let mut role = Targets::new(SPEC_VERSION.to_owned(), number(version), expires);
        role.targets = targets;
        // An empty set of delegations is allowed, and nothing that a reader should have to think about.
        role.delegations = None;
        SignedRole::sign(self.repository, Role::Targets, role, &self.keys_of(root, Role::Targets)?)
    }

    fn snapshot(&self, root: &Root, version: u64, targets: Metafile) -> Result<SignedRole<Snapshot>, PublishError> {
        let expires = self.term(Role::Snapshot).expires(self.now)?;
        let mut role = Snapshot::new(SPEC_VERSION.to_owned(), number(version), expires);
        role.meta.insert("targets.json".to_owned(), targets);
        SignedRole::sign(self.repository, Role::Snapshot, role, &self.keys_of(root, Role::Snapshot)?)
    }

    fn timestamp(
        &self,
        root: &Root,
        version: u64,
        snapshot: Metafile,
    ) -> Result<SignedRole<TimestampRole>, PublishError> {
        let expires = self.term(Role::Timestamp).expires(self.now)?;
        let mut role = TimestampRole::new(SPEC_VERSION.to_owned(), number(version), expires);
        role.meta.insert("snapshot.json".to_owned(), snapshot);
        SignedRole::sign(self.repository, Role::Timestamp, role, &self.keys_of(root, Role::Timestamp)?)
    }
}

/// Versions begin at 1 and are made by adding to others.
fn number(version: u64) -> NonZeroU64 {
    NonZeroU64::new(version).unwrap_or(NonZeroU64::MIN)
}
