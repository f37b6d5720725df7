//! Taking over a release that another feed-server signed. Nothing is planned or numbered here: what came is kept, byte for
//! byte.

use bundles::signed::{self, Metadata, SignedError, SignedManifest};
use bundles::{Digest, FileName, Reason, Reasoned, Serial, TargetName};
use jiff::Timestamp;

use super::commit::adopt_and_check;
use crate::crash;
use crate::store::records::ReleaseRecord;
use crate::store::{Batch, Held, Repository, Store, StoreError};
use crate::sync::CheckedFile;

/// A release that arrived, verified.
#[derive(Debug)]
pub struct Received {
    /// What it is.
    pub manifest: SignedManifest,
    /// Archives, payloads, index and offline zip that the store does not have yet.
    pub files: Vec<CheckedFile>,
    /// The metadata that calls this release stable, verified against [`Store::floors`] and the time; one repository's, or
    /// both.
    pub metadata: Vec<(Repository, Metadata)>,
    /// When, by this machine's clock.
    pub now: Timestamp,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// The release was not here.
    New,
    /// The release was here, under older metadata.
    Refreshed,
    /// Everything was here.
    UpToDate,
}

/// Stores the files, then in one batch the release with its number and time, and the metadata. Killed before that batch,
/// there are blobs that nothing names and no release; after it, the release. Nothing may [`super::collect`] meanwhile, and
/// nothing else be taken: the caller holds the lock of runs.
///
/// The floors are held once more: this is the last door before they rise.
///
/// # Errors
/// The release is older than one that was taken before, or another of its number; the metadata is not of this origin, is
/// older than what is held, or calls another release stable; content is missing; or what the store could not do. Then
/// neither release nor metadata was changed.
pub fn take(store: &Store, received: Received) -> Result<Took, TakeError> {
    let Received { manifest, files, metadata, now } = received;
    let serial = manifest.manifest().serial;
    let signed = Digest::of(manifest.bytes());
    if let Some(highest) = store.highest_serial()?.filter(|highest| serial < *highest) {
        return Err(TakeError::Older { serial, highest });
    }
    let is_here = match store.release(serial)? {
        Some(kept) if kept.signed != Some(signed) => return Err(TakeError::OtherOfSameNumber { serial }),
        kept => kept.is_some(),
    };
    let mut batch = Batch::new();
    for (repository, given) in &metadata {
        let held = store.held(*repository)?;
        let taken = newer(&manifest, given, held.as_ref().map(|held| &held.metadata));
        let metadata = taken.map_err(|source| TakeError::Metadata { repository: *repository, source })?;
        let taken = Held { serial, metadata };
        if held.as_ref() != Some(&taken) {
            batch.put_held(*repository, &taken)?;
        }
    }
    let took = match (is_here, batch.changes.is_empty()) {
        (false, _) => Took::New,
        (true, false) => Took::Refreshed,
        (true, true) => Took::UpToDate,
    };

    // Also where nothing is new: content may have gone missing from the store.
    adopt_and_check(store, files, manifest.manifest())?;
    adopt_bytes(store, serial, signed, manifest.bytes())?;
    crash::point("blobs.all");
    if took == Took::New {
        let record = ReleaseRecord {
            manifest: manifest.manifest().clone(),
            signed: Some(signed),
            taken: Some(now),
            content_of: None,
        };
        batch.put_release(&record)?;
        let created = record.manifest.created;
        batch.put_signed_time(store.signed_time()?.map_or(created, |newest| newest.max(created)))?;
    }
    crash::point("catalog.before_commit");
    if took != Took::UpToDate {
        store.commit(batch)?;
    }
    crash::point("catalog.committed");
    Ok(took)
}

/// The metadata to keep: as it was given, with every root that is known.
fn newer(manifest: &SignedManifest, given: &Metadata, held: Option<&Metadata>) -> Result<Metadata, SignedError> {
    // The newest one: whoever verified these was led there, and nobody vouches for those before the configured one.
    let root = held.unwrap_or(given).roots.last().map(String::as_bytes).unwrap_or_default();
    let verified = signed::authenticate(root, given, held)?;
    verified.manifest(&TargetName::of_channel_stable(), manifest.bytes().to_vec())?;
    Ok(Metadata { roots: verified.roots().to_vec(), ..given.clone() })
}

fn adopt_bytes(store: &Store, serial: Serial, sha256: Digest, mut bytes: &[u8]) -> Result<(), TakeError> {
    let target = TargetName::of_manifest(serial);
    let name = FileName::parse(target.as_str()).map_err(|source| TakeError::Name { serial, source })?;
    let file = bundles::release::FileRef { name, sha256, length: bytes.len() as u64 };
    let staged = CheckedFile::check(&store.staging, file, &mut bytes);
    let staged = staged.map_err(|source| StoreError::Io { act: "write", path: target.as_str().into(), source })?;
    Ok(store.blobs.adopt(staged)?)
}

/// Why a release was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// A newer one was taken before.
    #[error(
        "release {serial} is older than release {highest}, which was taken here before; carry over the newest one, and ask \
         who offers an old one if it is said to be"
    )]
    Older {
        /// What was offered.
        serial: Serial,
        /// What was taken.
        highest: Serial,
    },
    /// One of this number and other content was taken before.
    #[error(
        "another release {serial} was taken here before; its origin made two of one number, as one restored from an old \
         backup does: ask who runs it, and take its next release"
    )]
    OtherOfSameNumber {
        /// The number of both.
        serial: Serial,
    },
    /// The metadata does not lead on from what is held to this release.
    #[error("the {repository} repository's signed metadata cannot be taken")]
    Metadata {
        /// Of which repository.
        repository: Repository,
        /// Why.
        #[source]
        source: SignedError,
    },
    /// The manifest's name is no file name.
    #[error("the manifest of release {serial} cannot be kept under its name; report it as a defect")]
    Name {
        /// Of which release.
        serial: Serial,
        /// Why.
        #[source]
        source: bundles::name::BadName,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reasoned for TakeError {
    fn reason(&self) -> Reason {
        match self {
            Self::Older { .. } | Self::OtherOfSameNumber { .. } => Reason::Rollback,
            Self::Metadata { source, .. } => source.reason(),
            Self::Name { .. } => Reason::Internal,
            Self::Store(source) => source.reason(),
        }
    }
}

#[cfg(test)]
mod tests;
