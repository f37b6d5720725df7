//! The root file whose keys say whose releases are taken.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bundles::signed::{MAX_ROOT_BYTES, SignedError, peek};
use bundles::{Reason, Reasoned};

use crate::config;

/// Why a root file is none to trust.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It cannot be read.
    #[error("the root file {path} cannot be read; check the path and who may read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is longer than any root.
    #[error(
        "{path} has more than {MAX_ROOT_BYTES} bytes and is no root file; give the one that `feed-server keys export-root` \
         writes on the origin"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{path} is no root file; give the one that `feed-server keys export-root` writes on the origin")]
    NotARoot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: SignedError,
    },
}

impl Reasoned for RootError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { .. } | Self::TooLarge { .. } | Self::NotARoot { .. } => Reason::BadRequest,
        }
    }
}

/// Reads a root file. That it is signed by its own keys is found when something is verified with it.
///
/// # Errors
/// It cannot be read, or is no root.
pub fn read_root(path: &Path) -> Result<Vec<u8>, RootError> {
    let unreadable = |source| RootError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_ROOT_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_ROOT_BYTES {
        return Err(RootError::TooLarge { path: path.to_owned() });
    }
    peek::root_version(&String::from_utf8_lossy(&bytes))
        .map_err(|source| RootError::NotARoot { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// The root that a mirror trusts; `None` for an origin. Read for each act, so that a file that is put right needs no
/// restart.
///
/// # Errors
/// As [`read_root`].
pub fn trusted_root(config: &config::Upstream) -> Result<Option<Vec<u8>>, RootError> {
    config.root.as_deref().map(read_root).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_root_file_is_refused_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.json");
        let refused = |expected: &str| {
            let error = read_root(&path).unwrap_err();
            assert_eq!(error.reason(), Reason::BadRequest);
            let message = error.to_string();
            assert!(message.contains(expected) && message.contains("root.json"), "{message}");
        };
        refused("cannot be read");
        std::fs::write(&path, "{\"signed\":{}}").unwrap();
        refused("is no root file");
        std::fs::write(&path, vec![b' '; 600 << 10]).unwrap();
        refused("has more than 524288 bytes");
    }

    #[test]
    fn an_origin_trusts_no_root_file() {
        assert_eq!(trusted_root(&config::Upstream::default()).unwrap(), None);
    }
}
