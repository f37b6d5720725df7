//! The files of a signed release from another feed-server: what the store lacks of them, and nothing else, is fetched.

use bundles::signed::{SignedError, SignedManifest, Verified};
use bundles::{Digest, Limits, Reason, Reasoned};
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::checked::{CheckedFile, Staging};
use super::error::{WEIGHS_NOTHING, weight_of};
use super::look::{PARALLEL, Run};
use super::signed::{SignedFileError, Wanted, wanted};
use super::stage::{Promise, stage};
use super::{Known, Progress, SyncError};
use crate::upstream::mirror::{Mirror, MirrorError};
use crate::upstream::{Content, UpstreamError};

/// A release that a server has, and the metadata that vouches for it.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The server.
    pub mirror: &'a Mirror,
    /// The folder of the repository there.
    pub folder: &'a str,
    /// What that repository's metadata says.
    pub verified: &'a Verified,
    /// The release.
    pub manifest: &'a SignedManifest,
}

/// Fetches what is not known of a release, opens its archives, and holds everything to what is signed.
///
/// # Errors
/// The first thing that went wrong. Then nothing was kept, in staging or elsewhere.
pub async fn follow(
    release: &Signed<'_>,
    known: &Known,
    staging: &Staging,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Vec<CheckedFile>, FollowError> {
    let run = Run::new(release.mirror.vendor(), known, staging, limits, progress);
    let _waited_for = run.while_waited_for();
    let wanted = wanted(release.manifest.manifest(), |digest: &Digest| (known.blobs)(digest), limits)?;
    progress.release_read(wanted.len());
    let fetches: Vec<_> = wanted.iter().map(|wanted| fetch(&run, release, wanted).boxed()).collect();
    let mut fetches = stream::iter(fetches).buffered(PARALLEL);
    let mut files = Vec::new();
    let mut failed: Option<FollowError> = None;
    // Where one fails, the others are stopped and waited for, so that nothing is still being written afterwards.
    while let Some(fetched) = fetches.next().await {
        match fetched {
            Ok(fetched) => files.extend(fetched),
            Err(error) => {
                run.stop.now();
                if failed.as_ref().is_none_or(|known| known.weight() < error.weight()) {
                    failed = Some(error);
                }
            }
        }
    }
    failed.map_or(Ok(files), Err)
}

async fn fetch(run: &Run<'_>, release: &Signed<'_>, wanted: &Wanted) -> Result<Vec<CheckedFile>, FollowError> {
    run.stop.check()?;
    let file = wanted.file();
    let name = file.target_name().map_err(SignedFileError::Name)?;
    // What the manifest names and the metadata does not could not be handed on.
    release.verified.target(&name)?;
    let content = release.mirror.target(release.folder, &name, &file.sha256, file.length).await;
    let mut content = content.map_err(|error| too_long(wanted, error))?;
    let other_length = content.length.filter(|length| *length != file.length);
    if let Some(length) = other_length.filter(|_| content.is_itself()) {
        return Err(wanted.other_length(length).into());
    }
    tracing::info!(name = %file.name, bytes = file.length, "Starting download");
    run.progress.file_started(&file.name, Some(file.length));
    let files = take(run, wanted, &mut content).await?;
    run.progress.file_done(&file.name);
    tracing::info!(name = %file.name, bytes = file.length, sha256 = %file.sha256, "Completed download");
    Ok(files)
}

async fn take(run: &Run<'_>, wanted: &Wanted, content: &mut Content) -> Result<Vec<CheckedFile>, FollowError> {
    let promise = Promise { name: &wanted.file().name, size: None, checksum: None };
    let staged = match stage(run, &promise, content).await {
        Ok(staged) => staged,
        // Not even the limit is the operator's: no more than the signed length is taken.
        Err(SyncError::Upstream(UpstreamError::TooLarge { .. })) => {
            return Err(wanted.other_length(wanted.file().length + 1).into());
        }
        Err(error) => return Err(error.into()),
    };
    let (wanted, staging, limits, stop) = (wanted.clone(), run.staging.clone(), run.limits.clone(), run.stop.clone());
    let taken = tokio::task::spawn_blocking(move || wanted.take_staged(&staging, &limits, &stop, staged));
    Ok(taken.await.map_err(SyncError::Task)??)
}

/// What is announced with more bytes than signed is other bytes than signed.
fn too_long(wanted: &Wanted, error: MirrorError) -> FollowError {
    match error {
        MirrorError::TooLarge { .. } => wanted.other_length(wanted.file().length + 1).into(),
        error => error.into(),
    }
}

/// Why the files of a release did not come. Then nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The server did not give what it names.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A file did not come, or could not be staged.
    #[error(transparent)]
    Fetch(#[from] SyncError),
    /// It is not what was signed, or does not open.
    #[error(transparent)]
    File(#[from] SignedFileError),
    /// The manifest names a file that is no target.
    #[error("the release names a file that is not signed as a target; its origin made a mistake: tell whoever runs it")]
    Unsigned(#[from] SignedError),
}

impl FollowError {
    /// The answer of upstream, or of the way there, that it is.
    #[must_use]
    pub fn upstream(&self) -> Option<&UpstreamError> {
        match self {
            Self::Mirror(error) => error.upstream(),
            Self::Fetch(error) => error.upstream(),
            Self::File(_) | Self::Unsigned(_) => None,
        }
    }

    fn weight(&self) -> u8 {
        match self {
            Self::Fetch(SyncError::Stopped) | Self::File(SignedFileError::Stopped) => WEIGHS_NOTHING,
            Self::Mirror(_) | Self::Fetch(_) | Self::File(_) | Self::Unsigned(_) => weight_of(self.upstream()),
        }
    }
}

impl Reasoned for FollowError {
    fn reason(&self) -> Reason {
        match self {
            Self::Mirror(error) => error.reason(),
            Self::Fetch(error) => error.reason(),
            Self::File(error) => error.reason(),
            Self::Unsigned(error) => error.reason(),
        }
    }
}
