//! Acts on the static tree. Every file appears whole, by rename, and is on disk after [`Tree::settle`].

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bundles::Digest;

use super::PublishError;
use super::error::failed;
use crate::store::Blobs;

/// Any web server may serve the tree, under whatever account.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Where files are made before they are renamed; in the tree, so that it is on the tree's file system.
const SCRATCH: &str = ".scratch";

/// A file in the making. What did not get to its place is removed: a full disk is not to stay full of it.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Mostly it was renamed and is not there; what cannot be removed now is removed by the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// `<data>/tree`. Paths are relative to it, with `/`; they are made of checked names only.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    counter: AtomicU64,
    /// Directories whose entries changed since the last [`Tree::settle`].
    unsettled: Mutex<BTreeSet<PathBuf>>,
}

impl Tree {
    /// Opens the tree, or makes it. What a process that died left in the scratch directory is removed, so nobody else
    /// may be publishing: the caller holds the store's lock.
    pub(super) fn open(data_dir: &Path) -> Result<Self, PublishError> {
        let root = data_dir.join("tree");
        let tree = Self { root, counter: AtomicU64::new(0), unsettled: Mutex::default() };
        tree.directory("")?;
        // Emptied and not made anew: a full disk may have no room for a directory.
        for name in tree.list(SCRATCH)? {
            tree.remove(&format!("{SCRATCH}/{name}"))?;
        }
        tree.directory(SCRATCH)?;
        Ok(tree)
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A path for a new file, to be [`Tree::adopt`]ed.
    pub(super) fn scratch(&self) -> Scratch {
        Scratch(self.root.join(SCRATCH).join(self.counter.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    /// Makes a directory with those above it.
    pub(super) fn directory(&self, relative: &str) -> Result<(), PublishError> {
        let path = self.path(relative);
        if path.is_dir() {
            return Ok(());
        }
        if let Some((parent, _)) = relative.rsplit_once('/') {
            self.directory(parent)?;
        }
        fs::create_dir(&path).map_err(failed("make the directory", &path))?;
        // Not by the mode given to mkdir, which the umask cuts.
        fs::set_permissions(&path, Permissions::from_mode(DIRECTORY_MODE)).map_err(failed("set the mode of", &path))?;
        self.changed(&path);
        Ok(())
    }

    /// The content of a small file; `None` where it is not there.
    pub(super) fn read(&self, relative: &str) -> Result<Option<Vec<u8>>, PublishError> {
        let path = self.path(relative);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// What the system says of a file; `None` where there is no file.
    pub(super) fn metadata(&self, relative: &str) -> Result<Option<fs::Metadata>, PublishError> {
        let path = self.path(relative);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata).filter(fs::Metadata::is_file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("look at", &path)(error)),
        }
    }

    pub(super) fn has(&self, relative: &str, length: u64) -> Result<bool, PublishError> {
        Ok(self.metadata(relative)?.is_some_and(|metadata| metadata.len() == length))
    }

    /// Names in a directory; none where it is not there.
    pub(super) fn list(&self, relative: &str) -> Result<Vec<String>, PublishError> {
        let path = self.path(relative);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &path)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry.map_err(failed("list", &path))?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    /// Puts these bytes at a path, unless they are there already.
    pub(super) fn write(&self, relative: &str, bytes: &[u8]) -> Result<(), PublishError> {
        if self.has(relative, bytes.len() as u64)? && self.read(relative)?.as_deref() == Some(bytes) {
            return Ok(());
        }
        let scratch = self.scratch();
        let write = || -> io::Result<()> {
            let mut file = File::create(scratch.path())?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(failed("write", &self.path(relative)))?;
        self.adopt(&scratch, relative)
    }

    /// Puts a blob at a path that is named by its digest, so that a file of its length there is that blob.
    pub(super) fn place(
        &self,
        blobs: &dyn Blobs,
        digest: &Digest,
        length: u64,
        relative: &str,
    ) -> Result<(), PublishError> {
        if self.has(relative, length)? {
            return Ok(());
        }
        let scratch = self.scratch();
        blobs.place(digest, scratch.path())?;
        self.adopt(&scratch, relative)
    }

    /// Gives a file of the tree another path, whatever is there now; they share their bytes where the file system can.
    pub(super) fn link(&self, from: &str, to: &str) -> Result<(), PublishError> {
        let source = self.path(from);
        let wanted = fs::metadata(&source).map_err(failed("look at", &source))?;
        let found = self.metadata(to)?;
        if found.as_ref().is_some_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino())) {
            return Ok(());
        }
        // No links here, or too many. Then the same length has to be enough to know a copy by.
        let is_copy = || found.is_some_and(|found| found.len() == wanted.len());
        self.link_unless(from, to, is_copy)
    }

    /// As [`Tree::link`], where what is at the other path is known to be another file, perhaps of the same length.
    pub(super) fn relink(&self, from: &str, to: &str) -> Result<(), PublishError> {
        self.link_unless(from, to, || false)
    }

    fn link_unless(&self, from: &str, to: &str, is_copy: impl FnOnce() -> bool) -> Result<(), PublishError> {
        let source = self.path(from);
        let scratch = self.scratch();
        if fs::hard_link(&source, scratch.path()).is_err() {
            if is_copy() {
                return Ok(());
            }
            let copy = || -> io::Result<()> {
                fs::copy(&source, scratch.path())?;
                File::open(scratch.path())?.sync_all()
            };
            copy().map_err(failed("copy", &source))?;
        }
        self.adopt(&scratch, to)
    }

    /// Renames a finished file, whose content is on disk, to its place.
    pub(super) fn adopt(&self, finished: &Scratch, relative: &str) -> Result<(), PublishError> {
        let path = self.path(relative);
        let parent = relative.rsplit_once('/').map_or("", |(parent, _)| parent);
        let finished = finished.path();
        self.directory(parent)?;
        fs::set_permissions(finished, Permissions::from_mode(FILE_MODE))
            .map_err(failed("set the mode of", finished))?;
        fs::rename(finished, &path).map_err(failed("rename a file to", &path))?;
        self.changed(&path);
        Ok(())
    }

    /// Removes a file or a whole directory; it is no error if it is not there.
    pub(super) fn remove(&self, relative: &str) -> Result<(), PublishError> {
        let path = self.path(relative);
        let removed = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => {
                self.changed(&path);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("remove", &path)(error)),
        }
    }

    /// Waits until everything that changed is on disk.
    pub(super) fn settle(&self) -> Result<(), PublishError> {
        let unsettled = std::mem::take(&mut *self.unsettled.lock().unwrap_or_else(PoisonError::into_inner));
        for directory in unsettled {
            match File::open(&directory).and_then(|directory| directory.sync_all()) {
                Ok(()) => {}
                // Removed since, with its parent among those that changed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("sync the directory", &directory)(error)),
            }
        }
        Ok(())
    }

    fn changed(&self, path: &Path) {
        if let Some(parent) = path.parent() {
            self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).insert(parent.to_owned());
        }
    }
}
