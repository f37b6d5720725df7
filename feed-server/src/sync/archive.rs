//! One archive: known already, or fetched, checked and opened.

use std::io::Seek as _;
use std::sync::Arc;

use bundles::archive::{self, Opened};
use bundles::index::Entry;
use bundles::release::{FileRef, ReleasedFile};
use bundles::{Checksum, Digest, FileName, Limits, Version};

use super::checked::Staging;
use super::checked::{CheckedFile, Validator};
use super::look::Run;
use super::stage::{Staged, Stop, Stoppable, stage};
use super::{SyncError, checked};
use crate::upstream::{Answer, Condition, Content, UpstreamError, shown};

/// An archive that is here, whole and opened.
pub(super) struct Fetched {
    pub(super) file: ReleasedFile,
    pub(super) inner_version: Option<Version>,
    /// What upstream said of it; `None` where it came in a zip.
    pub(super) validator: Option<Validator>,
    /// Those of its two files that the store lacks.
    pub(super) new_files: Vec<CheckedFile>,
}

impl Fetched {
    fn known(known: &Validator) -> Self {
        Self {
            file: ReleasedFile { archive: known.archive.clone(), payload: known.payload.clone() },
            inner_version: known.inner_version.clone(),
            validator: Some(known.clone()),
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
        let (url, announced) = (shown(&entry.url), Some(promised));
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
    let staged = stage(run, &entry.into(), content).await?;
    let opening = Opening::of(run);
    let name = entry.name.clone();
    // On a thread of its own: inflating is work for a processor.
    let opened = tokio::task::spawn_blocking(move || opening.open(&name, staged));
    let mut fetched = opened.await.map_err(SyncError::Task)??;
    run.progress.file_done(&entry.name);
    let ReleasedFile { archive, payload } = &fetched.file;
    let version = fetched.inner_version.as_ref().map(Version::short);
    tracing::info!(
        name = %entry.name, bytes = archive.length, sha256 = %archive.sha256, payload_bytes = payload.length, version,
        "Completed download"
    );
    fetched.validator = Some(Validator {
        url: entry.url.to_string(),
        etag: content.etag.clone(),
        last_modified: content.last_modified.clone(),
        archive: archive.clone(),
        payload: payload.clone(),
        inner_version: fetched.inner_version.clone(),
    });
    Ok(fetched)
}

/// What opening a staged archive takes, wherever it came from.
#[derive(Clone)]
pub(super) struct Opening {
    pub(super) staging: Staging,
    pub(super) limits: Limits,
    pub(super) stop: Stop,
    /// Whether content is in the store.
    pub(super) is_known: Arc<dyn Fn(&Digest) -> bool + Send + Sync>,
}

impl Opening {
    fn of(run: &Run<'_>) -> Self {
        Self {
            staging: run.staging.clone(),
            limits: run.limits.clone(),
            stop: run.stop.clone(),
            is_known: Arc::clone(&run.known.blobs),
        }
    }

    /// Opens it and holds it to everything that archives are held to. Blocks.
    pub(super) fn open(&self, name: &FileName, staged: Staged) -> Result<Fetched, SyncError> {
        let payload = self.staging.file().map_err(SyncError::Staging)?;
        let mut payload = Stoppable::new(payload, self.stop.clone());
        let Staged { mut file, sha256, .. } = staged;
        file.as_file_mut().rewind().map_err(SyncError::Staging)?;
        let opened = archive::open(file.as_file_mut(), name, &self.limits, &mut payload);
        // Where it was stopped, that is why it did not open.
        let payload = payload.finish()?;
        let Opened { archive, payload: opened_to, compressed, version, .. } =
            opened.map_err(|source| SyncError::Archive { name: name.clone(), source })?;
        if archive.sha256 != sha256 {
            let changed = std::io::Error::other("a staged file holds other bytes than were written to it");
            return Err(SyncError::Staging(changed));
        }
        publishable(&archive)?;
        publishable(&opened_to)?;
        let files = [Some((archive.clone(), file)), compressed.then(|| (opened_to.clone(), payload))];
        let unknown = files.into_iter().flatten().filter(|(file, _)| !(self.is_known)(&file.sha256));
        Ok(Fetched {
            new_files: unknown.map(|(file, staged)| CheckedFile::new(file, staged.into_temp_path())).collect(),
            file: ReleasedFile { archive, payload: opened_to },
            inner_version: version,
            validator: None,
        })
    }
}

pub(super) fn publishable(file: &FileRef) -> Result<(), SyncError> {
    file.target_name().map(|_| ()).map_err(SyncError::Name)
}
