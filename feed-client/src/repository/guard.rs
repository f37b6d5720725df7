//! What stands between the verifier and the store for the time of one refresh.
//!
//! sigstore-tuf takes metadata that cannot be read for absent, and so would let a torn file lower the floor. Here whatever it
//! wants to keep is held to what the other held files prove, and a server that ends its roots before the newest one that was
//! seen is refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::signed::{Floor, SignedError};
use sigstore_tuf::{Error as TufError, Metadata, MetadataStore, Snapshot, Timestamp};

use super::RepositoryError;
use super::held::{Lower, Roots};
use super::store::Store;

/// Clones are one.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    store: Store,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    roots: Roots,
    /// The newest root that was known before.
    known: u64,
    /// What is held, from the first file on that is to replace any of it.
    floor: Option<Floor>,
    refusal: Option<TufError>,
}

impl Guard {
    pub(super) fn new(store: &Store, pinned: &[u8]) -> Result<Self, RepositoryError> {
        let roots = Roots::read(store, pinned)?;
        let known = roots.newest_seen().max(store.root_seen());
        let seen = Seen { roots, known, floor: None, refusal: None };
        Ok(Self { store: store.clone(), seen: Arc::new(Mutex::new(seen)) })
    }

    /// The root of this version that is held beyond a gap, where what was fetched since leads to it: better than what a
    /// server says, whose keys may have been replaced by it.
    pub(super) fn held_root(&self, version: u64) -> Option<Vec<u8>> {
        let seen = self.seen();
        seen.roots.next().filter(|_| version == seen.roots.version() + 1)
    }

    /// Whether the newest root that is known by now may be the server's newest.
    ///
    /// # Errors
    /// A newer one was seen before.
    pub(super) fn check_end_of_roots(&self) -> sigstore_tuf::Result<()> {
        let seen = self.seen();
        let (trusted, newest) = (seen.roots.version(), seen.roots.newest_seen().max(self.store.root_seen()));
        if newest > trusted {
            return Err(TufError::Rollback { role: "root".to_owned(), trusted: newest, new: trusted });
        }
        Ok(())
    }

    /// Why something was not kept that the verifier would have kept.
    ///
    /// # Errors
    /// That is why.
    pub(super) fn refusal(&self) -> sigstore_tuf::Result<()> {
        self.seen().refusal.take().map_or(Ok(()), Err)
    }

    /// The rest is not kept either.
    fn check(&self, seen: &mut Seen, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        if let Some(refusal) = &seen.refusal {
            return Err(TufError::Malformed(format!("{name} follows what was refused: {refusal}")));
        }
        if seen.floor.is_none() {
            let held = Lower::read(&self.store).map_err(|error| self.store.remember(error))?;
            seen.floor = Some(Floor::of(&seen.roots.chain, seen.known, held.files()));
        }
        let Some(floor) = &seen.floor else { return Ok(()) };
        let checked = match name {
            "timestamp.json" => {
                let timestamp = Metadata::<Timestamp>::from_slice(bytes)?.into_signed();
                let named = timestamp.snapshot_meta().map(|it| it.version).unwrap_or_default();
                floor.check_timestamp(timestamp.version, named)
            }
            "snapshot.json" => {
                let snapshot = Metadata::<Snapshot>::from_slice(bytes)?.into_signed();
                floor.check_snapshot(snapshot.meta.get("targets.json").map(|it| it.version).unwrap_or_default())
            }
            _ => Ok(()),
        };
        match checked {
            Err(SignedError::Rollback { role, held, found }) => {
                let refusal = || TufError::Rollback { role: role.to_owned(), trusted: held, new: found };
                seen.refusal = Some(refusal());
                Err(refusal())
            }
            _ => Ok(()),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic elsewhere leaves whole values in here.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MetadataStore for Guard {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        match version_of_root(name) {
            // What does not lead anywhere is damaged, and a copy of it may not be.
            Some(version) => Ok(self.seen().roots.in_chain(version).cloned()),
            None => self.store.load(name),
        }
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        if version_of_root(name).is_some() {
            self.seen().roots.extend(bytes);
        } else if matches!(name, "timestamp.json" | "snapshot.json" | "targets.json") {
            self.check(&mut self.seen(), name, bytes)?;
        }
        self.store.store(name, bytes)
    }
}

fn version_of_root(name: &str) -> Option<u64> {
    name.strip_prefix("root_history/")?.strip_suffix(".root.json")?.parse().ok()
}
