//! Blobs as files: `<data>/blobs/ab/<sha256>`, so that no directory gets too long to list.
//!
//! Written once and never changed: temporary file, fsync, rename, fsync of the directory. Mode 0644, since the static
//! tree, which any web server may serve, holds hard links to them; the data directory keeps others out.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use bundles::Digest;

use super::directory::{self, failed};
use super::{Blobs, StoreError};
use crate::crash;
use crate::sync::CheckedFile;

const FILE_MODE: u32 = 0o644;

/// Content by digest in a directory.
#[derive(Debug)]
pub struct FileBlobs {
    directory: PathBuf,
}

impl FileBlobs {
    /// The directory must exist.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.directory.join(&name[..2]).join(name)
    }
}

impl Blobs for FileBlobs {
    fn contains(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        path.try_exists().map_err(failed("look at", &path))
    }

    fn adopt(&self, file: CheckedFile) -> Result<(), StoreError> {
        let path = self.path(&file.file().sha256);
        let folder = path.parent().unwrap_or(&self.directory);
        if path.try_exists().map_err(failed("look at", &path))? {
            // A process that was killed between rename and sync may have put it there.
            directory::sync(folder)?;
            return directory::sync(&self.directory);
        }
        let staged = file.into_path();
        directory::set_mode(&staged, FILE_MODE)?;
        File::open(&staged).and_then(|file| file.sync_all()).map_err(failed("sync", &staged))?;
        crash::point("blob.staged");

        directory::make(folder, 0o700)?;
        directory::sync(&self.directory)?;
        staged.persist(&path).map_err(|error| failed("rename a staged file to", &path)(error.error))?;
        crash::point("blob.renamed");
        directory::sync(folder)
    }

    fn open(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| missing_or("read", &path, digest, error))
    }

    fn place(&self, digest: &Digest, path: &Path) -> Result<(), StoreError> {
        let blob = self.path(digest);
        match fs::hard_link(&blob, path) {
            Ok(()) => Ok(()),
            Err(error) if links_cannot_be_had(error.kind()) => copy(&blob, digest, path),
            // Also what comes back where the folder to put it in is not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && blob.exists() => Err(failed("make", path)(error)),
            Err(error) => Err(missing_or("make", path, digest, error)),
        }
    }

    fn list(&self) -> Result<Vec<Digest>, StoreError> {
        let entries = |path: &Path| -> Result<Vec<PathBuf>, StoreError> {
            let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
            entries.map_err(failed("list", path))
        };
        let mut digests = Vec::new();
        for folder in entries(&self.directory)?.iter().filter(|path| path.is_dir()) {
            let names = entries(folder)?;
            // What is not named by a digest was not put here by us, and is left alone.
            digests.extend(names.iter().filter_map(|path| path.file_name()?.to_str()?.parse::<Digest>().ok()));
        }
        Ok(digests)
    }

    fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Another device, too many links, or a file system that has none.
fn links_cannot_be_had(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(kind, CrossesDevices | TooManyLinks | Unsupported | PermissionDenied)
}

fn copy(blob: &Path, digest: &Digest, path: &Path) -> Result<(), StoreError> {
    let mut from = File::open(blob).map_err(|error| missing_or("read", blob, digest, error))?;
    let mut to = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed("make", path))?;
    let copied = io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(failed("write", path));
    let copied = copied.and_then(|()| directory::set_mode(path, FILE_MODE));
    if copied.is_err() {
        // It was made by us a moment ago; what matters is the first error.
        let _ = fs::remove_file(path);
    }
    copied
}

fn missing_or(act: &'static str, path: &Path, digest: &Digest, error: io::Error) -> StoreError {
    if error.kind() == io::ErrorKind::NotFound {
        StoreError::Missing { digest: *digest }
    } else {
        failed(act, path)(error)
    }
}
