//! Brings payloads here: fetched from the server and checked against signed length and digest as they stream by, or
//! taken over from an earlier release and checked just the same.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use bundles::release::FileRef;
use bundles::signed::SignedTarget;
use bundles::{Digest, DigestWriter, Reason, Reasoned, TargetName};

use crate::crash;
use crate::durable::StorageError;
use crate::fetch::{FetchError, Http};
use crate::progress::Progress;
use crate::repository::Location;

/// Fetches a signed target into a new file. Never more than the signed length is written, and the file is complete and
/// durable, or gone.
///
/// # Errors
/// The bytes do not come, or are not the signed ones.
pub async fn fetch(
    http: &Http,
    location: &Location,
    target: &SignedTarget,
    into: &Path,
    progress: &Progress,
) -> Result<(), DownloadError> {
    let file = File::create_new(into).map_err(StorageError::at("create", into))?;
    let written = stream(http, location, target, BufWriter::new(file), into, progress).await;
    if written.is_err() {
        // Bytes that nobody vouches for are not left lying about.
        let _ = fs::remove_file(into);
    }
    written
}

async fn stream(
    http: &Http,
    location: &Location,
    target: &SignedTarget,
    file: BufWriter<File>,
    into: &Path,
    progress: &Progress,
) -> Result<(), DownloadError> {
    let mut writer = DigestWriter::new(file);
    let url = location.target(target);
    let fetched = http.get(&url, target.length(), |chunk| {
        writer.write_all(chunk)?;
        progress.advance(chunk.len() as u64);
        crash::point("client.download.partial");
        Ok(())
    });
    match fetched.await {
        Ok(()) => {}
        Err(FetchError::Take(source)) => {
            return Err(StorageError { act: "write", path: into.to_owned(), source }.into());
        }
        Err(error) => return Err(error.into()),
    }
    let (digest, length, file) = writer.finish();
    if length < target.length() {
        return Err(DownloadError::Short { name: target.name().clone(), length, signed: target.length() });
    }
    if digest != target.sha256() {
        return Err(DownloadError::OtherBytes { name: target.name().clone(), found: digest });
    }
    let file = file.into_inner().map_err(|error| StorageError::at("write", into)(error.into_error()))?;
    file.sync_all().map_err(StorageError::at("sync", into))?;
    Ok(())
}

/// Takes over a payload that is here already: a hard link, or a copy where the file system has none. `false` if what is
/// there is not the file (any more): then it has to be fetched.
///
/// # Errors
/// The new name cannot be made.
pub fn take_over(file: &FileRef, from: &Path, into: &Path) -> Result<bool, StorageError> {
    let intact = File::open(from)
        .and_then(|mut kept| Digest::of_reader(&mut kept))
        .is_ok_and(|(digest, length)| digest == file.sha256 && length == file.length);
    if !intact {
        return Ok(false);
    }
    if fs::hard_link(from, into).is_ok() {
        return Ok(true);
    }
    // A new file in any case: copying onto another name of the same file would empty both.
    let mut copy = File::create_new(into).map_err(StorageError::at("create", into))?;
    let copied =
        File::open(from).and_then(|mut kept| std::io::copy(&mut kept, &mut copy)).and_then(|_| copy.sync_all());
    copied.map(|()| true).map_err(StorageError::at("copy to", into))
}

/// Why a payload is not here.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server or the way to it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Fewer bytes than signed.
    #[error(
        "{name} ended after {length} of {signed} signed bytes; try again, and check the server's store if it stays so"
    )]
    Short {
        /// Which target.
        name: TargetName,
        /// Bytes that came.
        length: u64,
        /// Bytes that were signed.
        signed: u64,
    },
    /// Other bytes than signed.
    #[error(
        "the bytes of {name} are not the signed ones (SHA-256 {found}); the server's store is damaged, or they were \
         changed on the way"
    )]
    OtherBytes {
        /// Which target.
        name: TargetName,
        /// What the bytes' digest is.
        found: Digest,
    },
    /// The manifest and the metadata disagree.
    #[error("the manifest and the signed metadata disagree about {name}; the origin has to publish again")]
    Disagree {
        /// Which target.
        name: TargetName,
    },
}

impl Reasoned for DownloadError {
    fn reason(&self) -> Reason {
        match self {
            Self::Fetch(error) => error.reason(),
            Self::Storage(error) => error.reason(),
            Self::Short { .. } => Reason::Truncated,
            Self::OtherBytes { .. } | Self::Disagree { .. } => Reason::DigestMismatch,
        }
    }
}

#[cfg(test)]
mod tests {
    use bundles::FileName;

    use super::*;

    #[test]
    fn a_kept_payload_is_taken_over_only_if_it_still_is_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (from, into) = (directory.path().join("from"), directory.path().join("into"));
        let name = FileName::parse("a.tar").unwrap();
        let file = FileRef { name, sha256: Digest::of(b"good"), length: 4 };
        assert!(!take_over(&file, &from, &into).unwrap(), "nothing there");
        fs::write(&from, b"rotten").unwrap();
        assert!(!take_over(&file, &from, &into).unwrap());
        assert!(!into.exists());
        fs::write(&from, b"good").unwrap();
        assert!(take_over(&file, &from, &into).unwrap());
        assert_eq!(fs::read(&into).unwrap(), b"good");
        assert_eq!(take_over(&file, &from, &into).unwrap_err().reason(), Reason::Storage);
    }
}
