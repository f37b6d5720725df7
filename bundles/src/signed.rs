//! A repository's signed metadata as bytes in hand: what a bundle carries and a relay keeps. Verified here without a
//! network, a clock or a store; signatures, thresholds and hashes are sigstore-tuf's, the order of the questions is TUF's
//! (specification 1.0, section 5).
//!
//! The caller gives the root to trust, what was verified before (the floor against rollback) and the time.

mod error;
mod floor;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigstore_tuf::{Metadata as Parsed, Role, Root, Snapshot, TrustedMetadataSet};

pub use error::SignedError;
pub use floor::{Floor, Held};

use crate::{Digest, Manifest, TargetName};

/// An origin makes one root a year, and one more for each rotation of keys: three centuries of the first.
pub const MAX_ROOTS: usize = 512;

/// Bytes of one root at most, since each is held in memory: sixteen keys are some four kilobytes.
pub const MAX_ROOT_BYTES: u64 = 512 << 10;

/// Bytes of a timestamp at most: it names one file.
pub const MAX_TIMESTAMP_BYTES: u64 = 16 << 10;

/// Bytes of a snapshot at most: it names the targets metadata alone.
pub const MAX_SNAPSHOT_BYTES: u64 = 2 << 20;

/// Bytes of the targets metadata at most, held in memory: 24 releases of a thousand files each take some five million.
pub const MAX_TARGETS_BYTES: u64 = 16 << 20;

/// Verifying with this time leaves expiry out, which is then asked for by itself: nothing ended before it.
const BEFORE_EVERYTHING: Timestamp = Timestamp::UNIX_EPOCH;

/// One repository's metadata, verified or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Versions of the root, ascending and without a gap. A bundle has all of them from 1.
    pub roots: Vec<String>,
    /// `timestamp.json`
    pub timestamp: String,
    /// `<version>.snapshot.json`
    pub snapshot: String,
    /// `<version>.targets.json`
    pub targets: String,
}

/// What a root says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFacts {
    /// Its version.
    pub version: u64,
    /// When it ends.
    pub expires: Timestamp,
    /// SHA-256 of its bytes, to compare over the telephone.
    pub fingerprint: Digest,
}

/// What one role's metadata says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleFacts {
    /// `root`, `timestamp`, `snapshot` or `targets`.
    pub role: &'static str,
    /// Its version.
    pub version: u64,
    /// When it ends.
    pub expires: Timestamp,
}

impl RootFacts {
    /// Of a root alone, whether anything is signed under it or not.
    ///
    /// # Errors
    /// These bytes are no root that is signed by a threshold of its own keys.
    pub fn of_root(bytes: &[u8]) -> Result<Self, SignedError> {
        Ok(Self::of(&TrustedMetadataSet::from_root(bytes).map_err(SignedError::Root)?))
    }

    fn of(trusted: &TrustedMetadataSet) -> Self {
        let root = trusted.root();
        Self { version: root.version, expires: root.expires, fingerprint: Digest::of(trusted.root_bytes()) }
    }
}

impl fmt::Display for RoleFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9}  version {}, expires {}", self.role, self.version, self.expires)
    }
}

/// A target that a threshold of trusted keys vouches for. Only verified metadata gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTarget {
    name: TargetName,
    sha256: Digest,
    length: u64,
}

impl SignedTarget {
    /// Its path in the metadata.
    #[must_use]
    pub fn name(&self) -> &TargetName {
        &self.name
    }

    /// The digest that its bytes must have.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// How many bytes it must have.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A manifest as it was signed. Only verified metadata gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    manifest: Manifest,
    bytes: Vec<u8>,
}

impl SignedManifest {
    /// What it says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The signed bytes: newer fields that this program does not know are kept with the release.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Metadata that a threshold of trusted keys vouches for, and that is not older than what was held. Whether it has ended
/// is asked by [`Verified::check_expiry`].
#[derive(Debug, Clone)]
pub struct Verified {
    root: RootFacts,
    roots: Vec<String>,
    roles: [RoleFacts; 4],
    targets: BTreeMap<TargetName, SignedTarget>,
}

/// [`authenticate`], and nothing of it has ended at `now`.
///
/// # Errors
/// Whatever is not so.
pub fn verify(
    pinned_root: &[u8],
    given: &Metadata,
    held: Option<&Metadata>,
    now: Timestamp,
) -> Result<Verified, SignedError> {
    let verified = authenticate(pinned_root, given, held)?;
    verified.check_expiry(now)?;
    Ok(verified)
}

/// Verifies everything but expiry: the chain of roots from `pinned_root` over those held to those given, then timestamp,
/// snapshot and targets under the last of them, none older than in `held` (which counts, file by file, as far as the same
/// keys signed it: see [`Floor`]).
///
/// # Errors
/// Whatever is not so.
pub fn authenticate(pinned_root: &[u8], given: &Metadata, held: Option<&Metadata>) -> Result<Verified, SignedError> {
    let (mut trusted, roots) = walk_roots(pinned_root, given, held)?;

    trusted.update_timestamp(given.timestamp.as_bytes(), BEFORE_EVERYTHING).map_err(SignedError::of)?;
    trusted.update_snapshot(given.snapshot.as_bytes(), BEFORE_EVERYTHING).map_err(SignedError::of)?;
    trusted.update_targets(given.targets.as_bytes(), BEFORE_EVERYTHING).map_err(SignedError::of)?;
    if let Some(held) = held {
        check_floor(&trusted, &roots, given, held)?;
    }
    Ok(Verified::of(&trusted, roots))
}

impl Verified {
    /// What somebody else of the house verified, over a network say; of its roots, the newest one alone is known.
    ///
    /// # Errors
    /// One of the four roles was not verified yet.
    pub fn of_trusted(trusted: &TrustedMetadataSet) -> Result<Self, SignedError> {
        let complete =
            trusted.timestamp().is_some() && trusted.snapshot().is_some() && trusted.targets_role("targets").is_some();
        if !complete {
            return Err(SignedError::Internal(sigstore_tuf::Error::NotRefreshed));
        }
        Ok(Self::of(trusted, vec![String::from_utf8_lossy(trusted.root_bytes()).into_owned()]))
    }

    /// `trusted` has all of its roles.
    fn of(trusted: &TrustedMetadataSet, roots: Vec<String>) -> Self {
        let root = RootFacts::of(trusted);
        let facts = |role, of: Option<(u64, Timestamp)>| {
            let (version, expires) = of.unwrap_or_default();
            RoleFacts { role, version, expires }
        };
        let roles = [
            facts("root", Some((root.version, root.expires))),
            facts("timestamp", trusted.timestamp().map(|it| (it.version, it.expires))),
            facts("snapshot", trusted.snapshot().map(|it| (it.version, it.expires))),
            facts("targets", trusted.targets_role("targets").map(|it| (it.version, it.expires))),
        ];
        let named = trusted.targets_role("targets").into_iter().flat_map(|targets| &targets.targets);
        // Others' names cannot be asked for: whoever looks for a target has one of ours.
        let targets = named.filter_map(|(name, file)| {
            let name = TargetName::parse(name).ok()?;
            let sha256 = file.hashes.get("sha256")?.parse().ok()?;
            Some((name.clone(), SignedTarget { name, sha256, length: file.length }))
        });
        Self { root, roots, roles, targets: targets.collect() }
    }

    /// The newest root.
    #[must_use]
    pub fn root(&self) -> &RootFacts {
        &self.root
    }

    /// Every version of the root that is known, ascending and without a gap; the newest last.
    #[must_use]
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// Root, timestamp, snapshot, targets.
    #[must_use]
    pub fn roles(&self) -> &[RoleFacts] {
        &self.roles
    }

    /// When the first of them ends.
    #[must_use]
    pub fn valid_until(&self) -> Timestamp {
        self.roles.iter().map(|role| role.expires).min().unwrap_or_default()
    }

    /// Whether none of them has ended at `now`.
    ///
    /// # Errors
    /// The first that has.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), SignedError> {
        match self.roles.iter().find(|role| role.expires <= now) {
            Some(ended) => Err(SignedError::Expired { role: ended.role, expires: ended.expires }),
            None => Ok(()),
        }
    }

    /// Whether this is the one of an origin's two repositories that it should be. Their keys may be trusted for the other
    /// one's sake by mistake; what tells them apart is that the online one names the offline one's root, and not itself.
    ///
    /// # Errors
    /// It is the other one.
    pub fn check_is_online(&self, should_be: bool) -> Result<(), SignedError> {
        let is_online = self.targets.contains_key(&TargetName::of_offline_root());
        if is_online == should_be { Ok(()) } else { Err(SignedError::OtherRepository { is_online }) }
    }

    /// What is signed under a name.
    ///
    /// # Errors
    /// Nothing is.
    pub fn target(&self, name: &TargetName) -> Result<&SignedTarget, SignedError> {
        self.targets.get(name).ok_or_else(|| SignedError::NoTarget { name: name.clone() })
    }

    /// Everything that is signed, by name.
    pub fn targets(&self) -> impl Iterator<Item = &SignedTarget> {
        self.targets.values()
    }

    /// The manifest that is signed under this name, from its bytes.
    ///
    /// # Errors
    /// Nothing is signed under it, these are not the signed bytes, or they are no manifest.
    pub fn manifest(&self, name: &TargetName, bytes: Vec<u8>) -> Result<SignedManifest, SignedError> {
        let target = self.target(name)?;
        if bytes.len() as u64 != target.length || Digest::of(&bytes) != target.sha256 {
            return Err(SignedError::OtherBytes { name: name.clone() });
        }
        Ok(SignedManifest { manifest: Manifest::from_json(&bytes)?, bytes })
    }
}

/// Whether what is given undercuts what was held, or says something else under its version.
fn check_floor(
    trusted: &TrustedMetadataSet,
    roots: &[String],
    given: &Metadata,
    held: &Metadata,
) -> Result<(), SignedError> {
    let known = held.roots.iter().filter_map(|root| peek::root_version(root).ok()).max();
    let files = Held {
        timestamp: held.timestamp.as_bytes(),
        snapshot: held.snapshot.as_bytes(),
        targets: held.targets.as_bytes(),
    };
    let floor = Floor::of(roots, known.unwrap_or_default(), files);
    let timestamp = trusted.timestamp().map(|it| it.version).unwrap_or_default();
    let snapshot = trusted.snapshot().map(|it| it.version).unwrap_or_default();
    let targets = trusted.targets_role("targets").map(|it| it.version).unwrap_or_default();
    floor.check_timestamp(timestamp, snapshot)?;
    floor.check_snapshot(targets)?;
    // Only a file that proves something can be contradicted.
    for (role, version, held, differs) in [
        (
            "timestamp",
            timestamp,
            floor.timestamp,
            !is_same::<sigstore_tuf::Timestamp>(&given.timestamp, &held.timestamp),
        ),
        ("snapshot", snapshot, floor.own_snapshot, !is_same::<Snapshot>(&given.snapshot, &held.snapshot)),
    ] {
        if held == Some(version) && differs {
            return Err(SignedError::OtherOfSameVersion { role, version });
        }
    }
    Ok(())
}

/// From the pinned root to the newest one; and all roots that are known, each signed by the keys of the one before. Those
/// before the pinned one are there to hand on, and nothing vouches for them: who made up an older root can let it name the
/// keys of the next. So the last one is what may be trusted later, never the first.
fn walk_roots(
    pinned: &[u8],
    given: &Metadata,
    held: Option<&Metadata>,
) -> Result<(TrustedMetadataSet, Vec<String>), SignedError> {
    let mut trusted = TrustedMetadataSet::from_root(pinned).map_err(SignedError::Root)?;
    let pinned_version = trusted.root().version;
    let given = by_version(&given.roots)?;
    // What was held and cannot be read any more is no floor, and takes none of the others with it.
    let held: BTreeMap<u64, &String> = held
        .into_iter()
        .flat_map(|held| &held.roots)
        .filter_map(|root| Some((peek::root_version(root).ok()?, root)))
        .collect();

    let mut text = String::from_utf8_lossy(pinned).into_owned();
    if let Some(given) = given.get(&pinned_version) {
        if !is_same::<Root>(given, &text) {
            return Err(SignedError::OtherOfSameVersion { role: "root", version: pinned_version });
        }
        trusted = TrustedMetadataSet::from_root(given.as_bytes()).map_err(SignedError::of)?;
        text.clone_from(given);
    }
    let mut later = Vec::new();
    for version in pinned_version.saturating_add(1).. {
        // What was held and still fits was verified once: another root of its version is a fork.
        let known = held.get(&version).filter(|root| trusted.clone().update_root(root.as_bytes()).is_ok());
        let root = match (known, given.get(&version)) {
            (Some(known), Some(given)) if !is_same::<Root>(given, known) => {
                return Err(SignedError::OtherOfSameVersion { role: "root", version });
            }
            // As it came: whoever once wrote it in another way does not decide for ever what its bytes are.
            (_, Some(root)) | (Some(root), None) => root,
            (None, None) if given.keys().any(|known| *known > version) => {
                return Err(SignedError::RootMissing { version });
            }
            (None, None) => break,
        };
        trusted.update_root(root.as_bytes()).map_err(SignedError::of)?;
        later.push((*root).clone());
    }

    let mut earlier: Vec<String> = Vec::new();
    for version in (1..pinned_version).rev() {
        let next = earlier.last().unwrap_or(&text);
        let leads = |root: &str| {
            TrustedMetadataSet::from_root(root.as_bytes()).and_then(|mut before| before.update_root(next.as_bytes()))
        };
        let root = match (given.get(&version), held.get(&version)) {
            (Some(root), _) => leads(root).map(|()| *root).map_err(SignedError::of)?,
            (None, Some(root)) if leads(root).is_ok() => root,
            (None, _) => break,
        };
        earlier.push(root.clone());
    }
    earlier.reverse();
    earlier.push(text);
    earlier.extend(later);
    Ok((trusted, earlier))
}

/// Whether two files say the same. Signatures cover what they say, and neither spaces nor each other: whoever has one file in
/// their hands can make another of it that is as genuine, and it must be no fork.
fn is_same<T: Role>(one: &str, other: &str) -> bool {
    let parsed = |text: &str| Parsed::<T>::from_slice(text.as_bytes());
    one == other
        || matches!((parsed(one), parsed(other)), (Ok(one), Ok(other)) if one.signed_canonical() == other.signed_canonical())
}

fn by_version(roots: &[String]) -> Result<BTreeMap<u64, &String>, SignedError> {
    if roots.len() > MAX_ROOTS {
        return Err(SignedError::TooManyRoots { count: roots.len() });
    }
    roots.iter().map(|root| Ok((peek::root_version(root)?, root))).collect()
}

/// Versions that metadata names, before it is verified: for whoever has to fetch the next file first.
pub mod peek {
    use sigstore_tuf::{Metadata as Parsed, Root, Snapshot, Timestamp};

    use super::SignedError;

    /// The version of a root.
    ///
    /// # Errors
    /// It is no root.
    pub fn root_version(root: &str) -> Result<u64, SignedError> {
        Ok(Parsed::<Root>::from_slice(root.as_bytes()).map_err(SignedError::of)?.signed().version)
    }

    /// The version of the snapshot that a timestamp names.
    ///
    /// # Errors
    /// It is no timestamp.
    pub fn snapshot_version(timestamp: &str) -> Result<u64, SignedError> {
        let parsed = Parsed::<Timestamp>::from_slice(timestamp.as_bytes()).map_err(SignedError::of)?;
        let named = parsed.signed().snapshot_meta().map(|meta| meta.version);
        named.ok_or_else(|| missing("snapshot.json"))
    }

    /// The version of the targets metadata that a snapshot names.
    ///
    /// # Errors
    /// It is no snapshot.
    pub fn targets_version(snapshot: &str) -> Result<u64, SignedError> {
        let parsed = Parsed::<Snapshot>::from_slice(snapshot.as_bytes()).map_err(SignedError::of)?;
        let named = parsed.signed().meta.get("targets.json").map(|meta| meta.version);
        named.ok_or_else(|| missing("targets.json"))
    }

    fn missing(name: &str) -> SignedError {
        SignedError::NotMetadata(sigstore_tuf::Error::Malformed(format!("{name} is not named")))
    }
}
