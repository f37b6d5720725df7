//! The cheap way to learn that nothing changed: upstream says of every URL that it is what it was.

use bundles::release::FileRef;
use url::Url;

use super::SyncError;
use super::checked::Validator;
use super::look::Run;
use crate::upstream::Answer;

/// What is known of the index, where "not modified" would be enough to know that its release still stands: the newest
/// release is made of it, and of each of its archives there is something to ask with.
pub(super) fn known_index<'a>(run: &Run<'a>) -> Option<&'a Validator> {
    let newest = run.known.newest.as_ref()?;
    let index = run.known.validator(run.vendor.index_url().as_str())?;
    index.condition()?;
    let is_newests = newest.index.as_ref().is_some_and(|file| file.sha256 == index.archive.sha256);
    let mut archives = newest.components.iter().flat_map(|released| &released.files).map(|file| &file.archive);
    (is_newests && archives.all(|archive| askable(run, archive).is_some())).then_some(index)
}

fn askable<'a>(run: &Run<'a>, archive: &FileRef) -> Option<&'a Validator> {
    let known = run.known.validators.iter().find(|known| known.archive == *archive)?;
    known.condition()?;
    run.known.validator(&known.url)
}

/// Whether upstream says of every known archive that it is what it was. An index that has not changed does not show
/// that by itself: names carry no version, so the same index may name changed archives. The vendor's zip is asked for
/// apart: it may be another one while all of these stay.
pub(super) async fn archives_are(run: &Run<'_>) -> Result<bool, SyncError> {
    let apart = [Some(run.vendor.index_url()), run.vendor.offline_zip_url()];
    let zip = run.known.newest.as_ref().and_then(|newest| newest.offline_zip.as_ref());
    for known in &run.known.validators {
        // A zip that is no longer configured is not asked for either.
        if apart.iter().flatten().any(|url| known.url == url.as_str()) || zip == Some(&known.archive) {
            continue;
        }
        let Ok(url) = Url::parse(&known.url) else { return Ok(false) };
        // The hosts may be other ones since; whether this one is still needed is for the index to say.
        if run.vendor.hosts().allow(&url).is_err() {
            return Ok(false);
        }
        let limit = run.limits.archive_bytes;
        match run.vendor.get(&url, known.condition(), limit, "archive_bytes").await? {
            Answer::NotModified { clock_offset } => run.note_clock(clock_offset),
            Answer::Content(_) => return Ok(false),
        }
    }
    Ok(true)
}
