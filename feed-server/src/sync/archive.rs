//! One archive: known already, or fetched, checked and opened.

use std::io::Seek as _;

use bundles::archive::{self, Opened};
use bundles::index::Entry;
use bundles::release::{FileRef, ReleasedFile};
use bundles::{Checksum, Version};

use super::checked::{CheckedFile, Validator};
use super::look::Run;
use super::stage::{Staged, Stoppable, stage};
use super::{SyncError, checked};
use crate::upstream::{Answer, Condition, Content, UpstreamError, shown};

/// An archive that is here, whole and opened.
pub(super) struct Fetched {
    pub(super) file: ReleasedFile,
    pub(super) inner_version: Option<Version>,
    pub(super) validator: Validator,
    /// Those of its two files that the store lacks.
    pub(super) new_files: Vec<CheckedFile>,
}

impl Fetched {
    fn known(known: &Validator) -> Self {
        Self {
            file: ReleasedFile { archive: known.archive.clone(), payload: known.payload.clone() },
            inner_version: known.inner_version.clone(),
            validator: known.clone(),
            new_files: Vec::new(),
        }
    }
}

impl checked::Validator {
    /// What to ask with; `None` where upstream gave nothing to ask with.
    pub(super) fn condition(&self) -> Option<Condition<'_>> {
        let condition = Condition { etag: self.etag.as_deref(), last_modified: self.last_modified.as_deref() };
        (self.etag.is_some() || self.last_modified.is_some()).then_some(condition)
    }
}

/// Gets one archive of the index, unless it is known.
pub(super) async fn fetch(run: &Run<'_>, entry: &Entry) -> Result<Fetched, SyncError> {
    run.stop.check()?;
    let known = run.known.validator(entry.url.as_str()).filter(|known| agrees(run, entry, known));
    if let (Some(known), Some(Checksum::Sha256(_))) = (known, &entry.checksum) {
        tracing::debug!(name = %entry.name, "known by the index's checksum");
        return Ok(Fetched::known(known));
    }
    let limit = run.limits.archive_bytes;
    if let Some(promised) = entry.size.filter(|size| *size > limit) {
        let (url, announced) = (entry.url.to_string(), Some(promised));
        return Err(UpstreamError::TooLarge { url, announced, limit, setting: "archive_bytes" }.into());
    }
    let condition = known.and_then(Validator::condition);
    match run.vendor.get(&entry.url, condition, limit, "archive_bytes").await? {
        Answer::NotModified { clock_offset } => {
            run.note_clock(clock_offset);
            tracing::debug!(name = %entry.name, "not modified");
            known.map(Fetched::known).ok_or(SyncError::Stopped)
        }
        Answer::Content(mut content) => {
            run.note_clock(content.clock_offset);
            take(run, entry, &mut content).await
        }
    }
}

/// Whether what is known can be what the index means. A checksum of another kind than ours cannot be compared, so it
/// was checked only if it stood in this very index before.
fn agrees(run: &Run<'_>, entry: &Entry, known: &Validator) -> bool {
    let checksum = match &entry.checksum {
        None => true,
        Some(Checksum::Sha256(digest)) => *digest == known.archive.sha256,
        Some(Checksum::Md5(_) | Checksum::Sha1(_) | Checksum::Sha512(_)) => run.index_is_known,
    };
    checksum && known.archive.name == entry.name && entry.size.is_none_or(|size| size == known.archive.length)
}

async fn take(run: &Run<'_>, entry: &Entry, content: &mut Content) -> Result<Fetched, SyncError> {
    tracing::info!(name = %entry.name, url = shown(&entry.url), length = content.length, "Starting download");
    run.expect(content.length)?;
    run.progress.file_started(&entry.name, content.length);
    let staged = stage(run, entry, content).await?;
    let (opened, archive, payload) = open(run, entry, staged).await?;
    run.progress.file_done(&entry.name);
    let version = opened.version.as_ref().map(Version::short);
    tracing::info!(
        name = %entry.name, bytes = opened.archive.length, sha256 = %opened.archive.sha256,
        payload_bytes = opened.payload.length, version, "Completed download"
    );

    let files = [Some((opened.archive.clone(), archive)), payload.map(|payload| (opened.payload.clone(), payload))];
    let unknown = files.into_iter().flatten().filter(|(file, _)| !(run.known.blobs)(&file.sha256));
    Ok(Fetched {
        new_files: unknown.map(|(file, staged)| CheckedFile::new(file, staged.into_temp_path())).collect(),
        validator: Validator {
            url: entry.url.to_string(),
            etag: content.etag.clone(),
            last_modified: content.last_modified.clone(),
            archive: opened.archive.clone(),
            payload: opened.payload.clone(),
            inner_version: opened.version.clone(),
        },
        file: ReleasedFile { archive: opened.archive, payload: opened.payload },
        inner_version: opened.version,
    })
}

type Files = (Opened, tempfile::NamedTempFile, Option<tempfile::NamedTempFile>);

/// Opens an archive on a thread of its own: inflating is work for a processor.
async fn open(run: &Run<'_>, entry: &Entry, staged: Staged) -> Result<Files, SyncError> {
    let payload = run.staging.file().map_err(SyncError::Staging)?;
    let mut payload = Stoppable::new(payload, run.stop.clone());
    let (name, limits) = (entry.name.clone(), run.limits.clone());
    let open = move || -> Result<Files, SyncError> {
        let Staged { mut file, sha256 } = staged;
        file.as_file_mut().rewind().map_err(SyncError::Staging)?;
        let opened = archive::open(file.as_file_mut(), &name, &limits, &mut payload);
        // Where it was stopped, that is why it did not open.
        let payload = payload.finish()?;
        let opened = opened.map_err(|source| SyncError::Archive { name: name.clone(), source })?;
        if opened.archive.sha256 != sha256 {
            let changed = std::io::Error::other("a staged file holds other bytes than were written to it");
            return Err(SyncError::Staging(changed));
        }
        publishable(&opened.archive)?;
        publishable(&opened.payload)?;
        let payload = opened.compressed.then_some(payload);
        Ok((opened, file, payload))
    };
    tokio::task::spawn_blocking(open).await.map_err(SyncError::Task)?
}

fn publishable(file: &FileRef) -> Result<(), SyncError> {
    file.target_name().map(|_| ()).map_err(SyncError::Name)
}
