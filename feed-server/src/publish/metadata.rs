//! A repository's metadata in the tree: reading what is there, and putting what belongs together in its place.

use std::sync::Arc;

use bundles::signed::Metadata;
use jiff::Timestamp;
use tough::schema::{Root, Snapshot, Targets, Timestamp as TimestampRole};

use super::roots::Roots;
use super::signing::SignedRole;
use super::tree::Tree;
use super::{PublishError, Repository, Role};

/// Old versions of snapshot and targets that stay for readers who are in the midst of a refresh, or behind a cache.
const KEPT_VERSIONS: usize = 8;

pub(super) const TIMESTAMP: &str = "timestamp.json";

/// Timestamp, snapshot and targets that belong together, signed by the keys of the root.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) timestamp: SignedRole<TimestampRole>,
    pub(super) snapshot: SignedRole<Snapshot>,
    /// The one large part: some hundred bytes for each file of each release that is kept.
    pub(super) targets: Arc<SignedRole<Targets>>,
}

/// A chain that was verified, and under which root: what is the same since need not be read and verified again.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) root: Root,
    pub(super) chain: Chain,
}

impl Verified {
    /// Its targets, where these are their bytes under the same root.
    fn targets(&self, bytes: &[u8], root: &Root) -> Option<Arc<SignedRole<Targets>>> {
        (self.chain.targets.bytes == bytes && self.root == *root).then(|| Arc::clone(&self.chain.targets))
    }
}

pub(super) fn folder(repository: Repository) -> String {
    format!("{}/metadata", repository.folder())
}

impl Chain {
    /// What the tree holds; `None` where something is missing, damaged, or not of this root. `known` was read before.
    pub(super) fn read(
        tree: &Tree,
        repository: Repository,
        root: &Root,
        known: Option<&Verified>,
    ) -> Result<Option<Self>, PublishError> {
        let folder = folder(repository);
        let Some(timestamp) = tree.read(&format!("{folder}/{TIMESTAMP}"))? else { return Ok(None) };
        let Some(timestamp) = SignedRole::<TimestampRole>::read(timestamp, root) else { return Ok(None) };
        let Some(meta) = timestamp.signed.meta.get("snapshot.json") else { return Ok(None) };
        let Some(snapshot) = tree.read(&format!("{folder}/{}.snapshot.json", meta.version))? else { return Ok(None) };
        let Some(snapshot) = SignedRole::<Snapshot>::read_named(snapshot, meta, root) else { return Ok(None) };
        let Some(meta) = snapshot.signed.meta.get("targets.json") else { return Ok(None) };
        let Some(targets) = tree.read(&format!("{folder}/{}.targets.json", meta.version))? else { return Ok(None) };
        let targets = match known.and_then(|known| known.targets(&targets, root)) {
            Some(known) => Some(known).filter(|known| known.meta() == *meta),
            None => SignedRole::<Targets>::read_named(targets, meta, root).map(Arc::new),
        };
        Ok(targets.map(|targets| Self { timestamp, snapshot, targets }))
    }

    /// What was received; `None` where it is damaged, or not of this root.
    pub(super) fn received(metadata: &Metadata, root: &Root) -> Option<Self> {
        let timestamp = SignedRole::<TimestampRole>::read(metadata.timestamp.clone().into_bytes(), root)?;
        let meta = timestamp.signed.meta.get("snapshot.json")?;
        let snapshot = SignedRole::<Snapshot>::read_named(metadata.snapshot.clone().into_bytes(), meta, root)?;
        let meta = snapshot.signed.meta.get("targets.json")?;
        let targets = SignedRole::<Targets>::read_named(metadata.targets.clone().into_bytes(), meta, root)?;
        Some(Self { timestamp, snapshot, targets: Arc::new(targets) })
    }

    /// Writes the versioned files: no reader looks at them before [`Chain::switch`].
    pub(super) fn write_versioned(
        &self,
        tree: &Tree,
        repository: Repository,
        roots: &Roots,
    ) -> Result<(), PublishError> {
        let folder = folder(repository);
        for root in roots.all() {
            tree.write(&format!("{folder}/{}.root.json", root.version()), &root.bytes)?;
        }
        let targets = &self.targets;
        tree.write(&format!("{folder}/{}.targets.json", targets.version()), &targets.bytes)?;
        let snapshot = &self.snapshot;
        tree.write(&format!("{folder}/{}.snapshot.json", snapshot.version()), &snapshot.bytes)
    }

    /// Puts the timestamp in place: from here on readers see this chain.
    pub(super) fn switch(&self, tree: &Tree, repository: Repository) -> Result<(), PublishError> {
        tree.write(&format!("{}/{TIMESTAMP}", folder(repository)), &self.timestamp.bytes)?;
        tree.settle()
    }

    /// The files that the chain is served as.
    pub(super) fn names(&self) -> [(Role, String); 3] {
        [
            (Role::Timestamp, TIMESTAMP.to_owned()),
            (Role::Snapshot, format!("{}.snapshot.json", self.snapshot.version())),
            (Role::Targets, format!("{}.targets.json", self.targets.version())),
        ]
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
