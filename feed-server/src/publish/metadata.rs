//! A repository's metadata in the tree: reading what is there, and signing what has to be signed anew.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tough::TargetName;
use tough::schema::{Metafile, Root, Snapshot, Target, Targets, Timestamp as TimestampRole};

use super::keys::Keys;
use super::roots::Roots;
use super::signing::{SPEC_VERSION, SignedRole};
use super::terms::Term;
use super::tree::Tree;
use super::{PublishError, Repository, Role};
use crate::store::Store;

/// Old versions of snapshot and targets that stay for readers who are in the midst of a refresh, or behind a cache.
const KEPT_VERSIONS: usize = 8;

const TIMESTAMP: &str = "timestamp.json";

/// Timestamp, snapshot and targets that belong together, signed by the keys of the root.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) timestamp: SignedRole<TimestampRole>,
    pub(super) snapshot: SignedRole<Snapshot>,
    pub(super) targets: SignedRole<Targets>,
}

/// The last version number of each role. Those of the catalog outlive the tree, those of the tree a restored catalog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Versions {
    targets: u64,
    snapshot: u64,
    timestamp: u64,
}

pub(super) fn folder(repository: Repository) -> String {
    format!("{}/metadata", repository.folder())
}

impl Chain {
    /// What the tree holds; `None` where something is missing, damaged, or not of this root.
    pub(super) fn read(tree: &Tree, repository: Repository, root: &Root) -> Result<Option<Self>, PublishError> {
        let folder = folder(repository);
        let Some(timestamp) = tree.read(&format!("{folder}/{TIMESTAMP}"))? else { return Ok(None) };
        let Some(timestamp) = SignedRole::<TimestampRole>::read(timestamp, root) else { return Ok(None) };
        let Some(meta) = timestamp.signed.meta.get("snapshot.json") else { return Ok(None) };
        let Some(snapshot) = tree.read(&format!("{folder}/{}.snapshot.json", meta.version))? else { return Ok(None) };
        let Some(snapshot) = SignedRole::<Snapshot>::read_named(snapshot, meta, root) else { return Ok(None) };
        let Some(meta) = snapshot.signed.meta.get("targets.json") else { return Ok(None) };
        let Some(targets) = tree.read(&format!("{folder}/{}.targets.json", meta.version))? else { return Ok(None) };
        let Some(targets) = SignedRole::<Targets>::read_named(targets, meta, root) else { return Ok(None) };
        Ok(Some(Self { timestamp, snapshot, targets }))
    }

    /// When each role's metadata ends.
    pub(super) fn expiries(&self) -> [(Role, Timestamp); 3] {
        [
            (Role::Targets, self.targets.signed.expires),
            (Role::Snapshot, self.snapshot.signed.expires),
            (Role::Timestamp, self.timestamp.signed.expires),
        ]
    }
}

/// What it takes to sign one repository's metadata.
pub(super) struct Signer<'a> {
    pub(super) store: &'a Store,
    pub(super) tree: &'a Tree,
    pub(super) keys: &'a Keys,
    pub(super) valid_for: Duration,
    pub(super) repository: Repository,
    pub(super) now: Timestamp,
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
        let current = Chain::read(self.tree, self.repository, root)?;
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

        let versions = self.reserve(targets.is_none(), snapshot.is_none())?;
        let targets = match targets {
            Some(targets) => targets.clone(),
            None => self.targets(versions.targets, wanted)?,
        };
        let snapshot = match snapshot {
            Some(snapshot) => snapshot.clone(),
            None => self.snapshot(versions.snapshot, targets.meta())?,
        };
        let timestamp = self.timestamp(versions.timestamp, snapshot.meta())?;
        Ok(Some((Chain { timestamp, snapshot, targets }, true)))
    }

    /// New numbers for what is signed, which always includes the timestamp: greater than any that was ever used, and at
    /// least the time, so that not even a restored backup of everything goes back. Kept before anything is signed.
    fn reserve(&self, targets: bool, snapshot: bool) -> Result<Versions, PublishError> {
        let name = format!("publish.{}.versions", self.repository);
        let kept: Versions = self.store.state(&name)?.unwrap_or_default();
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
        self.store.put_state(&name, &versions)?;
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

    fn targets(&self, version: u64, targets: HashMap<TargetName, Target>) -> Result<SignedRole<Targets>, PublishError> {
        let expires = self.term(Role::Targets).expires(self.now)?;
        let mut role = Targets::new(SPEC_VERSION.to_owned(), number(version), expires);
        role.targets = targets;
        // An empty set of delegations is allowed, and nothing that a reader should have to think about.
        role.delegations = None;
        SignedRole::sign(self.repository, Role::Targets, role, self.keys)
    }

    fn snapshot(&self, version: u64, targets: Metafile) -> Result<SignedRole<Snapshot>, PublishError> {
        let expires = self.term(Role::Snapshot).expires(self.now)?;
        let mut role = Snapshot::new(SPEC_VERSION.to_owned(), number(version), expires);
        role.meta.insert("targets.json".to_owned(), targets);
        SignedRole::sign(self.repository, Role::Snapshot, role, self.keys)
    }

    fn timestamp(&self, version: u64, snapshot: Metafile) -> Result<SignedRole<TimestampRole>, PublishError> {
        let expires = self.term(Role::Timestamp).expires(self.now)?;
        let mut role = TimestampRole::new(SPEC_VERSION.to_owned(), number(version), expires);
        role.meta.insert("snapshot.json".to_owned(), snapshot);
        SignedRole::sign(self.repository, Role::Timestamp, role, self.keys)
    }

    /// Writes the versioned files: no reader looks at them before [`Signer::switch`].
    pub(super) fn write_versioned(&self, roots: &Roots, chain: &Chain) -> Result<(), PublishError> {
        let folder = folder(self.repository);
        for root in roots.all() {
            self.tree.write(&format!("{folder}/{}.root.json", root.version()), &root.bytes)?;
        }
        let targets = &chain.targets;
        self.tree.write(&format!("{folder}/{}.targets.json", targets.version()), &targets.bytes)?;
        let snapshot = &chain.snapshot;
        self.tree.write(&format!("{folder}/{}.snapshot.json", snapshot.version()), &snapshot.bytes)
    }

    /// Puts the timestamp in place: from here on readers see the new chain.
    pub(super) fn switch(&self, chain: &Chain) -> Result<(), PublishError> {
        self.tree.write(&format!("{}/{TIMESTAMP}", folder(self.repository)), &chain.timestamp.bytes)?;
        self.tree.settle()
    }
}

/// Removes all but the newest versions of snapshot and targets. Roots stay for ever: a headend walks them one by one.
pub(super) fn clean(tree: &Tree, repository: Repository) -> Result<(), PublishError> {
    let folder = folder(repository);
    let names = tree.list(&folder)?;
    for role in [Role::Snapshot, Role::Targets] {
        for version in numbered(&names, role).iter().rev().skip(KEPT_VERSIONS) {
            tree.remove(&format!("{folder}/{version}.{role}.json"))?;
        }
    }
    Ok(())
}

/// The version numbers of a role's files, in order.
pub(super) fn numbered(names: &[String], role: Role) -> Vec<u64> {
    let suffix = format!(".{role}.json");
    let mut versions: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(&suffix)?.parse().ok()).collect();
    versions.sort_unstable();
    versions
}

/// Versions begin at 1 and are made by adding to others.
fn number(version: u64) -> NonZeroU64 {
    NonZeroU64::new(version).unwrap_or(NonZeroU64::MIN)
}
