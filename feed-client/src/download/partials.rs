//! Downloads that broke off, `.downloads/<sha256>.partial`: whole payloads as far as they came, for the next try to go on
//! from. Nothing of them is believed before the digest of the whole was checked.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use bundles::Digest;

use crate::data::Paths;
use crate::durable::{self, StorageError};

/// The folder of them.
#[derive(Debug, Clone)]
pub struct Partials {
    folder: PathBuf,
}

impl Partials {
    /// Beside the releases, so that a whole one needs only a new name.
    #[must_use]
    pub fn of(paths: &Paths) -> Self {
        Self { folder: paths.downloads() }
    }

    /// Where the bytes with this digest are gathered.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(name(digest))
    }

    /// Removes all but these.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn keep_only(&self, wanted: impl IntoIterator<Item = Digest>) -> Result<(), StorageError> {
        let wanted: BTreeSet<OsString> = wanted.into_iter().map(|digest| name(&digest).into()).collect();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(StorageError { act: "list", path: self.folder.clone(), source }),
        };
        for entry in entries {
            let entry = entry.map_err(StorageError::at("list", &self.folder))?;
            if !wanted.contains(&entry.file_name()) {
                durable::remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes all of them.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn clear(&self) -> Result<(), StorageError> {
        durable::remove_tree(&self.folder)
    }

    /// Opens one to be gone on with behind its first `from` bytes.
    pub(super) fn open(&self, path: &Path, from: u64) -> Result<File, StorageError> {
        fs::create_dir_all(&self.folder).map_err(StorageError::at("create", &self.folder))?;
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let file = opened.map_err(StorageError::at("open", path))?;
        file.set_len(from).map_err(StorageError::at("cut", path))?;
        Ok(file)
    }
}

/// Bytes that are there; 0 where none are.
pub(super) fn length(path: &Path) -> u64 {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map_or(0, |file| file.len())
}

fn name(digest: &Digest) -> String {
    format!("{digest}.partial")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_any_more_goes() {
        let directory = tempfile::tempdir().unwrap();
        let partials = Partials::of(&Paths::new(directory.path(), None));
        let (wanted, other) = (Digest::of(b"wanted"), Digest::of(b"other"));
        partials.keep_only([wanted]).unwrap();
        for digest in [wanted, other] {
            io::Write::write_all(&mut partials.open(&partials.path(&digest), 0).unwrap(), b"beginning").unwrap();
        }
        partials.keep_only([wanted]).unwrap();
        assert_eq!((length(&partials.path(&wanted)), length(&partials.path(&other))), (9, 0));
        drop(partials.open(&partials.path(&wanted), 4).unwrap());
        assert_eq!(length(&partials.path(&wanted)), 4);
        partials.clear().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
