//! The vendor's own zip, fetched beside the index: looked at as a zip of somebody else's, and carried as it came.
//!
//! What is in it is not released from here: the index says what the feed is, and the zip may hold more (client
//! provisioning). That it is whole and safe to unpack is all that is asked of it.

use std::io::{Read, Seek};

use bundles::release::FileRef;
use bundles::zip_file::{Rules, ZipFile};
use bundles::{FileName, Limits, Manifest};

use super::archive::publishable;
use super::checked::{CheckedFile, Staging, Validator};
use super::look::Run;
use super::stage::{Promise, Staged, Stop, stage};
use super::{Known, Progress, SyncError};
use crate::upstream::{Answer, Content, Vendor, shown};

/// What the zip is called in releases, whatever it was called where it came from: the same zip under another name is no
/// other content.
pub(super) const NAME: &str = "posture-offline.zip";

/// Bytes between two looks at whether the run was stopped.
const PIECE: usize = 256 << 10;

/// The zip, whole and safe.
pub(super) struct FetchedZip {
    pub(super) file: FileRef,
    pub(super) validator: Validator,
    /// Where the store lacks it.
    pub(super) new_file: Option<CheckedFile>,
}

impl FetchedZip {
    /// Whether the newest release carries this very zip.
    pub(super) fn is_of(&self, newest: Option<&Manifest>) -> bool {
        newest.and_then(|newest| newest.offline_zip.as_ref()) == Some(&self.file) && self.new_file.is_none()
    }
}

/// What is known, with what upstream says of the zip now.
pub(super) fn among(mut known: Vec<Validator>, zip: Option<FetchedZip>) -> Vec<Validator> {
    if let Some(zip) = zip {
        known.retain(|known| known.url != zip.validator.url);
        known.push(zip.validator);
    }
    known
}

/// Looks at the vendor's zip alone; how many bytes it has, or `None` where none is configured.
///
/// # Errors
/// The first thing that went wrong. Nothing is kept.
pub async fn look_at_zip(
    vendor: &Vendor,
    staging: &Staging,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Option<u64>, SyncError> {
    let known = Known::nothing();
    let run = Run::new(vendor, &known, staging, limits, progress);
    let _waited_for = run.while_waited_for();
    Ok(fetch(&run).await?.map(|zip| zip.file.length))
}

/// Gets the zip, unless it is known; `None` where none is configured.
pub(super) async fn fetch(run: &Run<'_>) -> Result<Option<FetchedZip>, SyncError> {
    let Some(url) = run.vendor.offline_zip_url() else { return Ok(None) };
    let fetched = async {
        run.stop.check()?;
        let known = run.known.validator(url.as_str());
        let limit = run.limits.offline_zip_bytes;
        let condition = known.and_then(Validator::condition);
        match run.vendor.get(url, condition, limit, "offline_zip_bytes").await? {
            Answer::NotModified { clock_offset } => {
                run.note_clock(clock_offset);
                tracing::debug!(url = shown(url), "the vendor's zip is not modified");
                let known = known.ok_or(SyncError::Stopped)?;
                Ok(FetchedZip { file: known.archive.clone(), validator: known.clone(), new_file: None })
            }
            Answer::Content(mut content) => {
                run.note_clock(content.clock_offset);
                take(run, url.to_string(), &mut content).await
            }
        }
    };
    match fetched.await {
        Ok(zip) => Ok(Some(zip)),
        // Nobody waits for the run any more: that says nothing of the zip.
        Err(SyncError::Stopped) => Err(SyncError::Stopped),
        Err(source) => Err(SyncError::OfflineZip { url: shown(url), source: Box::new(source) }),
    }
}

async fn take(run: &Run<'_>, url: String, content: &mut Content) -> Result<FetchedZip, SyncError> {
    let name = name()?;
    tracing::info!(%name, url = shown(&content.url), length = content.length, "Starting download");
    run.expect(content.length)?;
    run.progress.file_started(&name, content.length);
    let staged = stage(run, &Promise::named(&name), content).await?;
    let (limits, stop) = (run.limits.clone(), run.stop.clone());
    // On a thread of its own: inflating is work for a processor.
    let checked = tokio::task::spawn_blocking(move || whole(staged, &limits, &stop));
    let Staged { file: staged, sha256, length } = checked.await.map_err(SyncError::Task)??;
    run.progress.offline_zip_done();
    tracing::info!(%name, bytes = length, %sha256, "Completed download");
    let file = FileRef { name, sha256, length };
    publishable(&file)?;
    let is_known = (run.known.blobs)(&sha256);
    Ok(FetchedZip {
        validator: Validator {
            url,
            etag: content.etag.clone(),
            last_modified: content.last_modified.clone(),
            archive: file.clone(),
            payload: file.clone(),
            inner_version: None,
        },
        new_file: (!is_known).then(|| CheckedFile::new(file.clone(), staged.into_temp_path())),
        file,
    })
}

/// [`NAME`], as a name.
pub(super) fn name() -> Result<FileName, SyncError> {
    FileName::parse(NAME).map_err(SyncError::Name)
}

/// Holds a zip to the rules for other people's, reads all of it and gives it back.
fn whole(mut staged: Staged, limits: &Limits, stop: &Stop) -> Result<Staged, SyncError> {
    let mut zip = open(staged.file.as_file_mut(), staged.length, limits)?;
    for index in 0..zip.entries().len() {
        drain(&mut zip, index, stop)?;
    }
    Ok(staged)
}

/// Reads a zip's structure.
pub(super) fn open<F: Read + Seek>(file: F, length: u64, limits: &Limits) -> Result<ZipFile<F>, SyncError> {
    let limit = limits.offline_zip_bytes;
    if length > limit {
        return Err(SyncError::ZipTooLarge { length, limit });
    }
    ZipFile::open(file, &Rules::vendors(limits)).map_err(SyncError::Zip)
}

/// Reads a member to its end, which is how it is known to be whole. Directories have none.
pub(super) fn drain<F: Read + Seek>(zip: &mut ZipFile<F>, index: usize, stop: &Stop) -> Result<(), SyncError> {
    if zip.entries().get(index).is_some_and(|entry| entry.is_dir) {
        return Ok(());
    }
    let mut content = zip.read(index).map_err(SyncError::Zip)?;
    let mut buffer = vec![0; PIECE];
    loop {
        stop.check()?;
        if content.read(&mut buffer).map_err(SyncError::member)? == 0 {
            return Ok(());
        }
    }
}
