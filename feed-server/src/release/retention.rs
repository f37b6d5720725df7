//! Forgetting old releases, and the content that only they named.

use std::collections::HashSet;

use bundles::{Digest, Serial};

use crate::crash;
use crate::store::{Batch, Store, StoreError};

/// Forgets the releases beyond the newest `keep` (at least one stays) and says which. Their numbers stay used, and their
/// content stays until [`collect`].
///
/// # Errors
/// What the store could not do; then nothing was forgotten.
pub fn retain(store: &Store, keep: usize) -> Result<Vec<Serial>, StoreError> {
    let forgotten: Vec<Serial> =
        store.releases(usize::MAX)?.iter().skip(keep.max(1)).map(|release| release.manifest.serial).collect();
    if !forgotten.is_empty() {
        let mut batch = Batch::new();
        for serial in &forgotten {
            batch.remove_release(*serial);
        }
        store.commit(batch)?;
    }
    Ok(forgotten)
}

/// Removes the blobs that no release, no remembered answer of upstream and nothing `in_use` names; how many.
///
/// Must not run while a feed is being committed: its first blobs are here before its release is.
///
/// # Errors
/// What the store could not do; what was removed until then stays removed, and the next call goes on.
pub fn collect(store: &Store, in_use: &HashSet<Digest>) -> Result<u64, StoreError> {
    let mut named = in_use.clone();
    for release in store.releases(usize::MAX)? {
        named.extend(release.manifest.files().iter().map(|file| file.sha256));
    }
    // A run may be told "not modified" of these and then count on them.
    for validator in store.validators()? {
        named.extend([validator.archive.sha256, validator.payload.sha256]);
    }
    let mut removed = 0;
    for digest in store.blobs.list()?.iter().filter(|digest| !named.contains(digest)) {
        store.blobs.remove(digest)?;
        removed += 1;
        crash::point("collect.partial");
    }
    Ok(removed)
}
