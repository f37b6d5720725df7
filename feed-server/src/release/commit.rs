//! Making a planned release durable.

use bundles::Manifest;

use crate::crash;
use crate::store::records::ReleaseRecord;
use crate::store::{Store, StoreError};
use crate::sync::CheckedFeed;

/// Stores the feed's new files, then the release with what upstream said of its URLs, in one batch. Killed before that
/// batch, there are blobs that nothing names and no release; after it, the release. Nothing may [`super::collect`]
/// meanwhile: the caller holds the lock of runs.
///
/// # Errors
/// [`StoreError::Missing`] where the feed says that content is here and it is not, or what the store could not do; then
/// there is no release.
pub fn commit(store: &Store, feed: CheckedFeed, manifest: &Manifest) -> Result<(), StoreError> {
    adopt_and_check(store, feed.new_files, manifest)?;
    crash::point("blobs.all");
    let record = ReleaseRecord { manifest: manifest.clone(), signed: None, taken: None, content_of: None };
    let batch = store.release_batch(&record, &feed.validators)?;
    crash::point("catalog.before_commit");
    store.commit(batch)?;
    crash::point("catalog.committed");
    Ok(())
}

/// Content first, and all of it.
pub(super) fn adopt_and_check(
    store: &Store,
    files: Vec<crate::sync::CheckedFile>,
    manifest: &Manifest,
) -> Result<(), StoreError> {
    for file in files {
        store.blobs.adopt(file)?;
    }
    for file in manifest.files() {
        if !store.blobs.contains(&file.sha256)? {
            return Err(StoreError::Missing { digest: file.sha256 });
        }
    }
    Ok(())
}

/// Remembers what upstream said of its URLs where the feed made no release. Content that was fetched all the same is
/// taken too: it is the newest release's, and may have gone missing from the store.
///
/// # Errors
/// What the store could not do.
pub fn unchanged(store: &Store, feed: CheckedFeed) -> Result<(), StoreError> {
    for file in feed.new_files {
        store.blobs.adopt(file)?;
    }
    let by_url = |mut validators: Vec<crate::sync::checked::Validator>| {
        validators.sort_by(|a, b| a.url.cmp(&b.url));
        validators
    };
    let validators = by_url(feed.validators);
    // Most runs end here, and most of them hear what they heard before.
    if validators == by_url(store.validators()?) {
        return Ok(());
    }
    store.commit(store.validators_batch(&validators)?)
}
