//! Putting a backup in place: all of it, or none that anybody takes for a data directory.
//!
//! Everything is written to `restoring/` in the data directory first. That may be a mount point, and its parent another
//! user's, so nothing is put beside it. While `restoring/` is there, no store opens; that it goes is the moment at which the
//! directory is a mirror's.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bundles::release::FileRef;
use bundles::{FileName, Serial};
use jiff::Timestamp;

use super::error::failed;
use super::lines::Line;
use super::read::Checked;
use super::{BackupError, Contents, KEYS, Member, MemberName};
use crate::config::Role;
use crate::crash;
use crate::store::open::{self, BLOBS, CATALOG, SCHEMA_FILE};
use crate::store::records::ReleaseRecord;
use crate::store::sled_catalog::SledCatalog;
use crate::store::typed::state;
use crate::store::versions::{self, Versions};
use crate::store::{Batch, Blobs as _, Catalog as _, Repository, directory, file_blobs::FileBlobs};
use crate::sync::checked::{CheckedFile, Staging};

/// Where a restore writes, in the data directory.
pub(in crate::store) const RESTORING: &str = "restoring";

/// What a role is kept in, as [`crate::app::role`] reads it.
const ROLE: &str = "role";

/// What a restore puts in place, in this order.
const PARTS: [&str; 5] = [BLOBS, CATALOG, SCHEMA_FILE, KEYS, ROLE];

/// Belongs to a file system, not to us.
const LOST_AND_FOUND: &str = "lost+found";

/// Records that are written at once.
const BATCH: usize = 1_000;

/// And bytes of them: room is taken for a multiple of that.
const BATCH_BYTES: usize = 4 << 20;

/// An empty data directory that is being filled. Until [`Place::end`] nothing takes it for one.
#[derive(Debug)]
pub struct Place {
    directory: PathBuf,
    staged: PathBuf,
    staging: Staging,
    blobs: FileBlobs,
    catalog: SledCatalog,
    batch: Batch,
    bytes: usize,
    _lock: File,
}

/// Whether a restore can go there.
///
/// # Errors
/// There is something already, or it cannot be looked at.
fn refuse_full(directory: &Path) -> Result<(), BackupError> {
    let is_cut_off = directory.join(RESTORING).exists();
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let name = entry.map_err(failed("list", directory))?.file_name();
        let ours = [open::LOCK, LOST_AND_FOUND].into_iter().any(|known| name == known);
        let begun = is_cut_off && PARTS.into_iter().chain([RESTORING]).any(|part| name == part);
        if !ours && !begun {
            return Err(BackupError::NotEmpty { path: directory.to_owned() });
        }
    }
    Ok(())
}

impl Place {
    /// Begins, in a directory that is empty or not there. What an earlier restore left half done is removed.
    ///
    /// # Errors
    /// There is something else; a server runs on it; or it cannot be written.
    pub fn begin(directory: &Path) -> Result<Self, BackupError> {
        // Before the lock's file is made in a directory that is somebody else's.
        if directory.exists() {
            refuse_full(directory)?;
        }
        directory::make(directory, 0o700)?;
        let lock = open::lock(directory)?;
        refuse_full(directory)?;
        let staged = directory.join(RESTORING);
        // The parts first: while that directory is there, they are nobody's.
        for part in PARTS.into_iter().chain([RESTORING]) {
            let path = directory.join(part);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(error)),
                Ok(()) | Err(_) => {}
            }
        }
        for path in [staged.clone(), staged.join(BLOBS), staged.join(CATALOG), staged.join("staging")] {
            directory::make(&path, 0o700)?;
        }
        directory::sync(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            staging: Staging::new(staged.join("staging")),
            blobs: FileBlobs::new(staged.join(BLOBS)),
            catalog: SledCatalog::open(staged.join(CATALOG))?,
            batch: Batch::new(),
            bytes: 0,
            staged,
            _lock: lock,
        })
    }

    /// Puts a release into the catalog, with its number as the highest; or that number alone. What is signed from now on has
    /// versions above all that clients can have seen.
    ///
    /// # Errors
    /// The catalog cannot be read or written.
    pub fn raise(
        &mut self,
        highest: Serial,
        release: Option<&ReleaseRecord>,
        now: Timestamp,
    ) -> Result<(), BackupError> {
        self.flush()?;
        let mut batch = Batch::new();
        batch.put_state(crate::store::typed::HIGHEST_SERIAL, &highest)?;
        if let Some(release) = release {
            batch.put_release(release)?;
        }
        for repository in Repository::ALL {
            let name = versions::name(repository);
            let kept: Versions = state(&self.catalog, &name)?.unwrap_or_default();
            batch.put_state(&name, &kept.after_restore(now))?;
        }
        Ok(self.catalog.commit(batch)?)
    }

    fn flush(&mut self) -> Result<(), BackupError> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.changes.is_empty() { Ok(()) } else { Ok(self.catalog.commit(batch)?) }
    }

    /// Puts everything in its place. From here on it is a mirror's data directory.
    ///
    /// # Errors
    /// Something cannot be written; then it is none.
    pub fn end(mut self, contents: &Contents) -> Result<(), BackupError> {
        self.flush()?;
        let Self { directory, staged, catalog, staging, _lock: lock, .. } = self;
        // Closed, for its directory moves.
        drop(catalog);
        fs::remove_dir_all(staging.directory()).map_err(failed("remove", staging.directory()))?;
        for (name, text) in [(SCHEMA_FILE, contents.schema.to_string()), (ROLE, contents.role.to_string())] {
            write_private(&staged.join(name), format!("{text}\n").as_bytes())?;
        }
        let keys = staged.join(KEYS);
        // Also where no key is in it: where the directory is missing, a start makes new keys, which no headend trusts.
        if contents.role == Role::Origin && !keys.exists() {
            directory::make(&keys, 0o700)?;
        }
        let parts = PARTS.into_iter().filter(|part| staged.join(part).exists());
        let parts: Vec<_> = parts.collect();
        for part in [CATALOG, KEYS].iter().filter(|part| parts.contains(part)) {
            directory::sync(&staged.join(part))?;
        }
        directory::sync(&staged)?;
        crash::point("restore.staged");
        for part in parts {
            let path = directory.join(part);
            fs::rename(staged.join(part), &path).map_err(failed("rename to", &path))?;
            crash::point("restore.partial");
        }
        directory::sync(&staged)?;
        directory::sync(&directory)?;
        crash::point("restore.placed");
        fs::remove_dir(&staged).map_err(failed("remove", &staged))?;
        directory::sync(&directory)?;
        drop(lock);
        Ok(())
    }

    /// Removes what was written, since it is of no use.
    pub fn give_up(self) {
        let staged = self.staged.clone();
        drop(self);
        if let Err(error) = fs::remove_dir_all(&staged) {
            tracing::debug!(%error, "the next restore removes what this one wrote");
        }
    }
}

impl Checked for Place {
    fn line(&mut self, (table, key, value): Line) -> Result<(), BackupError> {
        self.bytes += key.len() + value.len();
        self.batch.changes.push((table, key, Some(value)));
        if self.batch.changes.len() < BATCH && self.bytes < BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    fn file(&mut self, file: &Member, bytes: &mut dyn Read) -> Result<(), BackupError> {
        match &file.name {
            MemberName::Catalog => Err(BackupError::misses(&file.name)),
            MemberName::Key(name) => {
                let directory = self.staged.join(KEYS);
                match DirBuilder::new().mode(0o700).create(&directory) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed("make the directory", &directory)(error));
                    }
                    Ok(()) | Err(_) => {}
                }
                let mut key = zeroize::Zeroizing::new(Vec::with_capacity(super::MOST_KEY as usize));
                bytes.take(super::MOST_KEY).read_to_end(&mut key).map_err(BackupError::Unreadable)?;
                write_private(&directory.join(name.as_str()), &key)
            }
            MemberName::Blob(_) => self.blob(file, bytes),
        }
    }
}

impl Place {
    fn blob(&mut self, member: &Member, mut bytes: &mut dyn Read) -> Result<(), BackupError> {
        let Member { name, sha256, length } = member;
        let file_name = FileName::parse(&sha256.to_string()).map_err(|_| BackupError::misses(name))?;
        let file = FileRef { name: file_name, sha256: *sha256, length: *length };
        let checked = CheckedFile::check(&self.staging, file, &mut bytes).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => BackupError::Damaged { name: name.to_string() },
            _ => failed("write", &self.staged)(source),
        })?;
        Ok(self.blobs.adopt(checked)?)
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(failed("write", path))
}
