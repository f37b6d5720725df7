//! Opening a data directory: one process at a time, and never one that a newer program wrote.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::Reasoned as _;
use jiff::Timestamp;

use super::backup::RESTORING;
use super::directory::{self, failed};
use super::file_blobs::FileBlobs;
use super::late::LateCatalog;
use super::schema::{self, SCHEMA, Schemas};
use super::sled_catalog::SledCatalog;
use super::typed::state;
use super::{Batch, Blobs, Catalog, StoreError};
use crate::clock;
use crate::sync::checked::Staging;

pub(super) const BLOBS: &str = "blobs";
pub(super) const CATALOG: &str = "catalog";
pub(super) const PREPARED: &str = "prepared";
const STAGING: &str = "staging";
pub(super) const LOCK: &str = "lock";

/// The schema stands twice: in this file, which any program can read before it opens an engine, and in the catalog,
/// where a migration changes it in the same batch as the records.
pub(super) const SCHEMA_FILE: &str = "schema";
pub(super) const SCHEMA_STATE: &str = "schema";

/// The data directory, open and locked. Clones share it; the lock goes with the last one, or with the process.
#[derive(Debug, Clone)]
pub struct Store {
    /// Records.
    pub catalog: Arc<dyn Catalog>,
    /// Content.
    pub blobs: Arc<dyn Blobs>,
    /// Content in other forms, which can be made again: nobody but who prepares them puts or removes any.
    pub prepared: Arc<dyn Blobs>,
    /// Where unverified bytes are written to. Emptied on opening.
    pub staging: Staging,
    directory: PathBuf,
    _lock: Arc<File>,
}

impl Store {
    /// Opens a data directory, or makes one (mode 0700).
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`] (then nothing was touched), or what could not be done.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_as(data_dir, &schema::KNOWN, clock::now())
    }

    /// As a program that knows these schemas does.
    pub(super) fn open_as(data_dir: &Path, schemas: &Schemas, now: Timestamp) -> Result<Self, StoreError> {
        let opening = Opening::begin(data_dir, schemas)?;
        let catalog = Arc::new(open_catalog(data_dir, schemas)?);
        opening.upgraded(catalog, schemas, now)
    }

    /// The same, but where only room for the catalog is missing, and the directory was opened by this program before, the
    /// catalog is opened by the first act on it that finds room. Until then every act on it fails.
    ///
    /// # Errors
    /// As [`Store::open`], but for a full disk.
    pub fn open_even_if_full(data_dir: &Path) -> Result<Self, StoreError> {
        let schemas = &schema::KNOWN;
        let opening = Opening::begin(data_dir, schemas)?;
        match open_catalog(data_dir, schemas) {
            Ok(catalog) => opening.upgraded(Arc::new(catalog), schemas, clock::now()),
            Err(error) if error.lacks_room() && schema_in_file(data_dir)? == Some(SCHEMA) => {
                let error = error.whole_message();
                tracing::error!(error, "the disk is full: nothing new can be stored until there is room");
                opening.end(Arc::new(LateCatalog::new(data_dir.to_owned())))
            }
            Err(error) => Err(error),
        }
    }

    /// Where what is prepared is written to; not among what runs stage, which goes by with them.
    #[must_use]
    pub fn prepared_staging(&self) -> Staging {
        Staging::new(self.directory.join(PREPARED))
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The arrangement of its records.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn schema(&self) -> Result<u64, StoreError> {
        Ok(self.state(SCHEMA_STATE)?.unwrap_or(SCHEMA))
    }

    /// Applies all changes or none; on disk when it returns.
    ///
    /// # Errors
    /// As [`Catalog::commit`].
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.catalog.commit(batch)
    }
}

/// A data directory that is locked and has its parts, but for the catalog.
struct Opening<'a> {
    data_dir: &'a Path,
    lock: File,
}

impl<'a> Opening<'a> {
    fn begin(data_dir: &'a Path, schemas: &Schemas) -> Result<Self, StoreError> {
        directory::make(data_dir, 0o700)?;
        let lock = lock(data_dir)?;
        if data_dir.join(RESTORING).exists() {
            return Err(StoreError::HalfRestored { path: data_dir.to_owned() });
        }
        schemas.refuse_newer(data_dir, schema_in_file(data_dir)?)?;
        for part in [BLOBS, CATALOG, STAGING] {
            directory::make(&data_dir.join(part), 0o700)?;
        }
        // Nothing hangs on this one; a full disk is no reason not to serve.
        match directory::make(&data_dir.join(PREPARED), 0o700) {
            Err(error) if !error.lacks_room() => return Err(error),
            Ok(()) | Err(_) => {}
        }
        remove_files(&data_dir.join(PREPARED))?;
        // Whatever is there is of a process that died, since the lock is ours. First of all, for it may be what fills the
        // disk.
        directory::empty(&data_dir.join(STAGING))?;
        Ok(Self { data_dir, lock })
    }

    /// With its records in the newest form.
    fn upgraded(self, catalog: Arc<dyn Catalog>, schemas: &Schemas, now: Timestamp) -> Result<Store, StoreError> {
        let store = self.end(catalog)?;
        schemas.upgrade(&store, now)?;
        write_schema_file(store.directory(), schemas.newest)?;
        Ok(store)
    }

    fn end(self, catalog: Arc<dyn Catalog>) -> Result<Store, StoreError> {
        let data_dir = self.data_dir;
        directory::sync(data_dir)?;
        Ok(Store {
            catalog,
            blobs: Arc::new(FileBlobs::new(data_dir.join(BLOBS))),
            prepared: Arc::new(FileBlobs::new(data_dir.join(PREPARED))),
            staging: Staging::new(data_dir.join(STAGING)),
            directory: data_dir.to_owned(),
            _lock: Arc::new(self.lock),
        })
    }
}

/// Files that a process that died was writing; what it had written is in folders.
fn remove_files(path: &Path) -> Result<(), StoreError> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        fs::remove_file(entry.path()).map_err(failed("remove", path))?;
    }
    Ok(())
}

/// Opens the catalog, unless a newer program wrote it.
pub(super) fn open_catalog(data_dir: &Path, schemas: &Schemas) -> Result<SledCatalog, StoreError> {
    let catalog = SledCatalog::open(data_dir.join(CATALOG))?;
    let schema = state(&catalog, SCHEMA_STATE)?;
    schemas.refuse_newer(data_dir, schema)?;
    if schema.is_none() {
        let mut batch = Batch::new();
        batch.put_state(SCHEMA_STATE, &schemas.newest)?;
        catalog.commit(batch)?;
    }
    Ok(catalog)
}

/// Whether a process ever began to open a data directory.
#[must_use]
pub fn was_locked(data_dir: &Path) -> bool {
    data_dir.join(LOCK).exists()
}

/// The kernel lets go of the lock when the process ends, however it ends.
pub(super) fn lock(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: data_dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
    }
}

fn schema_in_file(data_dir: &Path) -> Result<Option<u64>, StoreError> {
    let path = data_dir.join(SCHEMA_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            failed("read", &path)(io::Error::new(io::ErrorKind::InvalidData, "it does not hold a schema version"))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

fn write_schema_file(data_dir: &Path, schema: u64) -> Result<(), StoreError> {
    if schema_in_file(data_dir)? == Some(schema) {
        return Ok(());
    }
    let path = data_dir.join(SCHEMA_FILE);
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(data_dir.join(STAGING))?;
        writeln!(file, "{schema}")?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(failed("write", &path))
}
