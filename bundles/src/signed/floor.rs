//! What held metadata proves: the versions that must not be undercut.
//!
//! Each file proves what it says by itself, as far as the trusted root's keys signed it. So a file that is damaged or lost
//! takes nothing with it but what it alone said.

use std::collections::BTreeSet;

use sigstore_tuf::{Metadata as Parsed, Role, Root, Snapshot, Targets, Timestamp};

use super::SignedError;

/// Metadata files that were verified once, as they are found now: empty where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held<'a> {
    /// `timestamp.json`
    pub timestamp: &'a [u8],
    /// `snapshot.json`
    pub snapshot: &'a [u8],
    /// `targets.json`
    pub targets: &'a [u8],
}

/// The versions that must not be undercut; those that nothing proves are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floor {
    /// Of the timestamp.
    pub timestamp: Option<u64>,
    /// Of the snapshot, which timestamps name.
    pub snapshot: Option<u64>,
    /// Of the targets metadata, which snapshots name.
    pub targets: Option<u64>,
    /// The version of the held snapshot itself, where it is one that counts.
    pub(super) own_snapshot: Option<u64>,
    /// Roles whose held file none of the known roots vouches for: damaged, or another origin's.
    pub worthless: Vec<&'static str>,
}

/// How far a held file is to be believed.
#[derive(Debug)]
enum Proof<T> {
    /// The trusted root's keys signed it, and so did those of the roots before it down to this version: that one was known
    /// when the file was kept.
    Holds(T, u64),
    /// An earlier root's keys signed it, and the trusted root has replaced them.
    Revoked,
    /// Nobody vouches for it.
    None,
}

impl<T: Role> Proof<T> {
    /// `roots` from the trusted one back.
    fn of(roots: &[Root], bytes: &[u8]) -> Self {
        let Ok(parsed) = Parsed::<T>::from_slice(bytes) else { return Self::None };
        let signed_for = |root: &Root| {
            root.role(T::TYPE).is_some_and(|keys| parsed.verify_threshold(&root.keys, keys, T::TYPE).is_ok())
        };
        let since = roots.iter().take_while(|root| signed_for(root)).last().map(|root| root.version);
        match since {
            Some(since) => Self::Holds(parsed.into_signed(), since),
            None if roots.iter().any(signed_for) => Self::Revoked,
            None => Self::None,
        }
    }

    fn signed(&self) -> Option<&T> {
        match self {
            Self::Holds(signed, _) => Some(signed),
            Self::Revoked | Self::None => None,
        }
    }

    fn since(&self) -> u64 {
        match self {
            Self::Holds(_, since) => *since,
            Self::Revoked | Self::None => 0,
        }
    }

    /// Whether the role's keys are others than when the file was kept. A file that holds says that they are not.
    fn is_rekeyed(&self, then: Option<&Root>, now: &Root) -> bool {
        match self {
            Self::Holds(..) => false,
            Self::Revoked => true,
            Self::None => then.is_some_and(|then| key_ids(then, T::TYPE) != key_ids(now, T::TYPE)),
        }
    }
}

impl Floor {
    /// `roots` is the chain, ascending; the last one is trusted. `known` is the version of the newest one that was known
    /// before, as far as that can be told.
    ///
    /// A root that replaces the timestamp's or the snapshot's keys lets versions begin anew (TUF 5.3.11): that is how an
    /// origin recovers whose stolen keys signed versions far ahead.
    #[must_use]
    pub fn of(roots: &[impl AsRef<[u8]>], known: u64, held: Held<'_>) -> Self {
        let parsed = roots.iter().rev().filter_map(|root| Parsed::<Root>::from_slice(root.as_ref()).ok());
        let roots: Vec<Root> = parsed.map(Parsed::into_signed).collect();
        let Some(now) = roots.first() else { return Self::default() };
        let timestamp = Proof::<Timestamp>::of(&roots, held.timestamp);
        let snapshot = Proof::<Snapshot>::of(&roots, held.snapshot);
        let targets = Proof::<Targets>::of(&roots, held.targets);

        let known = known.max(timestamp.since()).max(snapshot.since()).max(targets.since());
        let then = roots.iter().find(|root| root.version <= known);
        let other_timestamps = timestamp.is_rekeyed(then, now);
        let other_snapshots = other_timestamps || snapshot.is_rekeyed(then, now);
        let named = timestamp.signed().and_then(|it| Some(it.snapshot_meta()?.version));
        let own = snapshot.signed().filter(|_| !other_timestamps);
        let named_targets = own.and_then(|it| Some(it.meta.get("targets.json")?.version));
        let own_targets = targets.signed().map(|it| it.version);
        let worthless = [
            ("timestamp", !held.timestamp.is_empty() && matches!(timestamp, Proof::None)),
            ("snapshot", !held.snapshot.is_empty() && matches!(snapshot, Proof::None)),
            ("targets", !held.targets.is_empty() && matches!(targets, Proof::None)),
        ];
        Self {
            timestamp: timestamp.signed().map(|it| it.version),
            snapshot: named.max(own.map(|it| it.version)),
            own_snapshot: own.map(|it| it.version),
            targets: named_targets.max(own_targets).filter(|_| !other_snapshots),
            worthless: worthless.into_iter().filter(|(_, is)| *is).map(|(role, _)| role).collect(),
        }
    }

    /// Whether a timestamp undercuts it, which has this version and names this one of the snapshot.
    ///
    /// # Errors
    /// It does.
    pub fn check_timestamp(&self, version: u64, snapshot: u64) -> Result<(), SignedError> {
        check("timestamp", version, self.timestamp)?;
        check("snapshot", snapshot, self.snapshot)
    }

    /// Whether a snapshot undercuts it, which names this version of the targets metadata.
    ///
    /// # Errors
    /// It does.
    pub fn check_snapshot(&self, targets: u64) -> Result<(), SignedError> {
        check("targets", targets, self.targets)
    }
}

fn check(role: &'static str, found: u64, held: Option<u64>) -> Result<(), SignedError> {
    match held.filter(|held| found < *held) {
        Some(held) => Err(SignedError::Rollback { role, held, found }),
        None => Ok(()),
    }
}

fn key_ids<'a>(root: &'a Root, role: &str) -> BTreeSet<&'a String> {
    root.role(role).into_iter().flat_map(|keys| &keys.keyids).collect()
}
