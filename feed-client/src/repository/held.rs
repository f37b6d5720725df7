//! What a store holds of the past, and what of it still proves anything.
//!
//! Files get torn: by a cut of power under a disk that lies, by bad blocks, by whoever edits them. Each proves by its own
//! signatures what it says, so that what is left of them is a floor, and what is not is noticed and made anew.

use std::collections::BTreeMap;

use bundles::signed::{Floor, Held as Files, SignedError};
use bundles::{Serial, TargetName};
use sigstore_tuf::{Metadata, Root, Targets, TrustedMetadataSet};

use super::store::{Store, root_name};
use super::{RepositoryError, Side};
use crate::durable::StorageError;

/// The roots that are held: those that the pinned one leads to, and those beyond a gap.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    /// The newest one that is trusted.
    pub(super) trusted: TrustedMetadataSet,
    /// From the pinned root to that one.
    pub(super) chain: Vec<Vec<u8>>,
    /// Held, signed by their own keys, and newer: a version between is damaged or gone.
    beyond: BTreeMap<u64, Vec<u8>>,
}

impl Roots {
    /// Reads those in a store.
    ///
    /// # Errors
    /// A file cannot be read, or the pinned root is none.
    pub(super) fn read(store: &Store, pinned: &[u8]) -> Result<Self, RepositoryError> {
        let trusted =
            TrustedMetadataSet::from_root(pinned).map_err(|error| RepositoryError::Root(SignedError::Root(error)))?;
        let held = readable(store)?;
        let newest = newest(store)?;
        let mut roots = Self { trusted, chain: vec![pinned.to_vec()], beyond: held };
        while let Some(next) = roots.next() {
            roots.extend(&next);
        }
        // `root.json` is the newest that was ever trusted; others beyond it are another origin's, from before an enrolment.
        let limit = newest.map_or(u64::MAX, |(version, _)| version);
        let trusted = roots.version();
        roots.beyond.retain(|version, _| (trusted + 1..=limit).contains(version));
        Ok(roots)
    }

    /// The version of the newest one that is trusted.
    pub(super) fn version(&self) -> u64 {
        self.trusted.root().version
    }

    /// The held root that follows the trusted one, if it does.
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        let next = self.beyond.get(&(self.version() + 1))?;
        self.trusted.clone().update_root(next).is_ok().then(|| next.clone())
    }

    /// Trusts the next root, if that is what it is.
    pub(super) fn extend(&mut self, root: &[u8]) {
        if self.trusted.update_root(root).is_ok() {
            self.chain.push(root.to_vec());
        }
    }

    /// The held root of this version that the pinned one leads to.
    pub(super) fn in_chain(&self, version: u64) -> Option<&Vec<u8>> {
        let first = self.version() + 1 - self.chain.len() as u64;
        self.chain.get(usize::try_from(version.checked_sub(first)?).ok()?)
    }

    /// The newest root that was seen here, trusted or beyond a gap.
    pub(super) fn newest_seen(&self) -> u64 {
        self.beyond.keys().next_back().copied().unwrap_or_default().max(self.version())
    }
}

/// Every held root that its own keys signed, by version.
fn readable(store: &Store) -> Result<BTreeMap<u64, Vec<u8>>, StorageError> {
    let mut roots = BTreeMap::new();
    for version in store.root_versions()? {
        let bytes = store.bytes(&root_name(version))?;
        roots.extend(bytes.filter(|bytes| own_version(bytes) == Some(version)).map(|bytes| (version, bytes)));
    }
    roots.extend(newest(store)?);
    Ok(roots)
}

/// `root.json`, if it is whole.
fn newest(store: &Store) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
    let bytes = store.bytes("root.json")?;
    Ok(bytes.and_then(|bytes| Some((own_version(&bytes)?, bytes))))
}

/// The version of a root that its own keys signed.
pub(super) fn own_version(bytes: &[u8]) -> Option<u64> {
    Some(TrustedMetadataSet::from_root(bytes).ok()?.root().version)
}

/// The files of the other roles, as they are.
pub(super) struct Lower([Vec<u8>; 3]);

impl Lower {
    pub(super) fn read(store: &Store) -> Result<Self, StorageError> {
        let [timestamp, snapshot, targets] =
            ["timestamp.json", "snapshot.json", "targets.json"].map(|name| store.bytes(name));
        Ok(Self([timestamp?, snapshot?, targets?].map(Option::unwrap_or_default)))
    }

    pub(super) fn files(&self) -> Files<'_> {
        let [timestamp, snapshot, targets] = &self.0;
        Files { timestamp, snapshot, targets }
    }
}

impl Store {
    /// Names of files that are damaged, or gone though others prove that they were there. `is_complete` says that a whole
    /// refresh was kept here once. What is damaged is fetched again, and lowers no floor that the others prove.
    ///
    /// # Errors
    /// A file cannot be read, or the pinned root is none.
    pub fn damage(&self, pinned: &[u8], is_complete: bool) -> Result<Vec<String>, RepositoryError> {
        let roots = Roots::read(self, pinned)?;
        let lower = Lower::read(self)?;
        let [timestamp, snapshot, targets] = lower.0.each_ref().map(|bytes| !bytes.is_empty());
        if !is_complete && !timestamp && !snapshot && !targets && self.root_versions()?.is_empty() {
            return Ok(Vec::new());
        }
        let first = roots.version() + 2 - roots.chain.len() as u64;
        let mut damaged = Vec::new();
        for version in first..=roots.newest_seen() {
            let bytes = self.bytes(&root_name(version))?;
            if bytes.and_then(|bytes| own_version(&bytes)) != Some(version) {
                damaged.push(root_name(version));
            }
        }
        if newest(self)?.is_none() {
            damaged.push("root.json".to_owned());
        }
        // Also those beyond a gap: what they vouch for is not damaged by it.
        let known: Vec<&Vec<u8>> = roots.chain.iter().chain(roots.beyond.values()).collect();
        let floor = Floor::of(&known, roots.newest_seen(), lower.files());
        for (role, is_there, should_be) in [
            ("timestamp", timestamp, snapshot || targets || is_complete),
            ("snapshot", snapshot, targets || is_complete),
            ("targets", targets, is_complete),
        ] {
            if floor.worthless.contains(&role) || (!is_there && should_be) {
                damaged.push(format!("{role}.json"));
            }
        }
        Ok(damaged)
    }

    /// Whether nothing newer than this root was seen here: one beyond a gap is one that whoever gave this one holds back.
    ///
    /// # Errors
    /// A newer one was; or a file cannot be read, or the pinned root is none.
    pub fn check_newest_root(&self, pinned: &[u8], version: u64) -> Result<(), RepositoryError> {
        let seen = Roots::read(self, pinned)?.newest_seen().max(self.root_seen());
        if seen > version {
            return Err(RepositoryError::Signed(SignedError::Rollback { role: "root", held: seen, found: version }));
        }
        Ok(())
    }

    /// The number of the newest release that was signed here, as far as held roots vouch for what is held.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn newest_release(&self) -> Result<Option<Serial>, StorageError> {
        let Some(bytes) = self.bytes("targets.json")? else { return Ok(None) };
        let Ok(targets) = Metadata::<Targets>::from_slice(&bytes) else { return Ok(None) };
        let vouches = |root: &Vec<u8>| {
            let root = Metadata::<Root>::from_slice(root).ok()?;
            targets.verify_threshold(&root.signed().keys, root.signed().role("targets")?, "targets").ok()
        };
        if !readable(self)?.values().any(|root| vouches(root).is_some()) {
            return Ok(None);
        }
        let targets = &targets.signed().targets;
        let Some(stable) = targets.get(TargetName::of_channel_stable().as_str()) else { return Ok(None) };
        let number = |name: &String| name.strip_prefix("release-")?.strip_suffix(".json")?.parse().ok();
        let same = targets.iter().filter(|(_, target)| target.hashes == stable.hashes);
        Ok(same.filter_map(|(name, _)| number(name)).max())
    }

    /// Whether what is held may be this root's past: it is one of the roots here, or the one before or after them.
    ///
    /// # Errors
    /// A file cannot be read, or the root is none.
    pub fn is_past_of(&self, root: &[u8]) -> Result<bool, RepositoryError> {
        let roots = Roots::read(self, root)?;
        let version = roots.chain.first().and_then(|root| own_version(root)).unwrap_or_default();
        let held = readable(self)?;
        let leads =
            |one: &[u8], to: &[u8]| TrustedMetadataSet::from_root(one).is_ok_and(|mut one| one.update_root(to).is_ok());
        let same = |one: &[u8]| match (Metadata::<Root>::from_slice(one), Metadata::<Root>::from_slice(root)) {
            (Ok(one), Ok(other)) => one.signed_canonical() == other.signed_canonical(),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        };
        Ok(held.is_empty()
            || roots.chain.len() > 1
            || held.get(&version).is_some_and(|held| same(held))
            || held.get(&version.saturating_sub(1)).is_some_and(|held| leads(held, root)))
    }
}

impl Side {
    /// How people are told of a file of this repository's store.
    #[must_use]
    pub fn shown(self, name: &str) -> String {
        format!("tuf/{}/{name}", self.path())
    }
}
