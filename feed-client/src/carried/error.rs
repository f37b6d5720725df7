//! Why nothing was taken from a bundle.

use std::io;
use std::path::PathBuf;

use bundles::archive::ArchiveError;
use bundles::bundle::BundleError;
use bundles::{Digest, FileName, Reason, Reasoned};

use crate::durable::StorageError;

/// Why nothing was taken from a bundle.
#[derive(Debug, thiserror::Error)]
pub enum CarriedError {
    /// The medium's answer.
    #[error(
        "the bundle {} cannot be read; check that it is there and may be read, put the medium in again, or copy the bundle \
         anew, to another medium", path.display()
    )]
    Medium {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A directory, a disk, a pipe.
    #[error("{} is not a file; give the bundle itself, posture-bundle-N.zip", path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// It is no bundle, or may not be taken.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// This machine's disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Other bytes than signed.
    #[error(
        "the bundle's {name} is not what is signed (its SHA-256 is {found}); compare the bundle's SHA-256 with the sheet that \
         came with it, and copy it again"
    )]
    OtherBytes {
        /// Which archive.
        name: FileName,
        /// What the bytes' digest is.
        found: Digest,
    },
    /// An archive that does not open.
    #[error("the archive {name} in the bundle does not open; tell whoever runs the origin")]
    Archive {
        /// Which one.
        name: FileName,
        /// What is wrong with it.
        #[source]
        source: ArchiveError,
    },
    /// An archive that opens to something else than what is signed.
    #[error(
        "the archive {archive} in the bundle is the signed one and does not open to the signed {payload}; tell whoever runs \
         the origin"
    )]
    OtherPayload {
        /// Which archive.
        archive: FileName,
        /// What it should open to.
        payload: FileName,
    },
}

impl Reasoned for CarriedError {
    fn reason(&self) -> Reason {
        match self {
            Self::Medium { .. } => Reason::Storage,
            Self::NotAFile { .. } => Reason::BadRequest,
            Self::Bundle(error) => error.reason(),
            Self::Storage(error) => error.reason(),
            Self::OtherBytes { .. } | Self::OtherPayload { .. } => Reason::DigestMismatch,
            Self::Archive { source, .. } => source.reason(),
        }
    }
}
