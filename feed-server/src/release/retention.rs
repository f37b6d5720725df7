//! Forgetting old releases, and the content that only they named.

use std::collections::HashSet;

use bundles::{Digest, Serial};

use crate::crash;
use crate::store::{Batch, Repository, Store, StoreError};

/// Forgets the releases beyond the newest `keep` (at least one stays) and says which. Their numbers stay used, and their
/// content stays until [`collect`]. What received metadata calls stable stays too: a relay may get one repository later than
/// the other, and serves both whole.
///
/// # Errors
/// What the store could not do; then nothing was forgotten.
pub fn retain(store: &Store, keep: usize) -> Result<Vec<Serial>, StoreError> {
    let mut stable = Vec::new();
    for repository in Repository::ALL {
        stable.extend(store.held(repository)?.map(|held| held.serial));
    }
    let releases = store.releases(usize::MAX)?;
    let beyond = releases.iter().skip(keep.max(1)).map(|release| release.manifest.serial);
    let forgotten: Vec<Serial> = beyond.filter(|serial| !stable.contains(serial)).collect();
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
        named.extend(release.signed);
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
