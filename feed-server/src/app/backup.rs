//! Taking a backup of a data directory that is open.

use bundles::report::Failure;

use super::role::KEYS;
use super::{App, internal};
use crate::store::backup::Snapshot;

impl App {
    /// What there is at one moment, checked to be whole: between two publications and two changes of keys.
    ///
    /// # Errors
    /// Something cannot be read, or has rotted.
    pub async fn snapshot(&self, with_keys: bool) -> Result<Snapshot, Failure> {
        let (store, role, now) = (self.store.clone(), self.role(), self.now());
        let keys = with_keys.then(|| store.directory().join(KEYS));
        let take = move || store.snapshot(role, keys.as_deref(), now);
        let taken = self.publisher.paused(take).await.map_err(|error| Failure::of(&error))?;
        let snapshot = taken.map_err(|error| Failure::of(&error))?;
        // Reading takes long, and what was linked stays: others need not wait for it.
        let check = move || snapshot.check().map(|()| snapshot);
        let checked = tokio::task::spawn_blocking(check).await.map_err(|error| internal(&error))?;
        checked.map_err(|error| Failure::of(&error))
    }
}
