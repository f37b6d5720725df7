//! The catalog in sled 0.34.
//!
//! One sled tree, tables told apart by a first byte: sled's batches are atomic within a tree only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::directory::failed;
use super::space::free_bytes;
use super::{Batch, Catalog, Pair, StoreError, Table, TablePair};

/// sled takes 1 GiB unless told otherwise; the whole catalog of a large site is some megabytes.
const CACHE_BYTES: u64 = 16 << 20;

/// sled 0.34 never returns from a write that meets a full disk. So room for what it may write is taken before it is
/// asked to: this much (it writes in segments of 512 KiB), and a multiple of the batch, because whole nodes of the tree
/// are written anew.
const RESERVE_BYTES: u64 = 4 << 20;
const RESERVE_FACTOR: u64 = 4;

/// The name of sled's file in the directory that it is given.
const FILE: &str = "db";

/// Records in sled.
#[derive(Debug)]
pub struct SledCatalog {
    directory: PathBuf,
    /// `None` after a failed write: sled keeps its first error for good, and what it holds in memory is then no longer
    /// what is on disk. The next act opens it again.
    engine: RwLock<Option<Engine>>,
}

#[derive(Debug)]
struct Engine {
    db: sled::Db,
    file: File,
}

impl SledCatalog {
    /// Opens the catalog in a directory that exists, or makes one there.
    ///
    /// # Errors
    /// [`StoreError::Catalog`] where sled cannot.
    pub fn open(directory: PathBuf) -> Result<Self, StoreError> {
        let engine = Engine::open(&directory)?;
        Ok(Self { directory, engine: RwLock::new(Some(engine)) })
    }

    /// Works on the engine, opened again if need be.
    fn with<T>(&self, act: &'static str, work: impl Fn(&Engine) -> io::Result<T>) -> Result<T, StoreError> {
        loop {
            // A panic elsewhere leaves the `Option` as whole as it was, so a poisoned lock is taken all the same.
            let done = self.engine.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(&work);
            match done {
                Some(Ok(done)) => return Ok(done),
                Some(Err(error)) => {
                    *self.engine.write().unwrap_or_else(PoisonError::into_inner) = None;
                    return Err(StoreError::Catalog { act, source: Box::new(error) });
                }
                None => {
                    let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
                    if engine.is_none() {
                        *engine = Some(Engine::open(&self.directory)?);
                    }
                }
            }
        }
    }
}

impl Drop for SledCatalog {
    /// sled's threads hold the file for a moment longer. Whoever closes a store may count on its being closed: to unmount
    /// its file system, or to open it again.
    fn drop(&mut self) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = wait_for_predecessor(&self.directory) {
            tracing::debug!(%error, "cannot see whether the catalog is closed");
        }
    }
}

impl Engine {
    fn open(directory: &Path) -> Result<Self, StoreError> {
        // Opening may write as well, and there is no file yet to reserve room for.
        require_space(directory, RESERVE_BYTES)?;
        let open = || -> io::Result<Self> {
            wait_for_predecessor(directory)?;
            let db = sled::Config::new()
                .path(directory)
                .cache_capacity(CACHE_BYTES)
                // Every commit flushes before it returns; a timer would only write at times of its own.
                .flush_every_ms(None)
                .open()?;
            let file = OpenOptions::new().read(true).write(true).open(directory.join(FILE))?;
            Ok(Self { db, file })
        };
        open().map_err(|source| StoreError::Catalog { act: "open", source: Box::new(source) })
    }

    /// Takes room for a batch behind the end of sled's file, so that nobody else can take it meanwhile.
    fn reserve(&self, directory: &Path, batch: &Batch) -> Result<(), StoreError> {
        let bytes =
            |(_, key, value): &(Table, Vec<u8>, Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        let batch_bytes = batch.changes.iter().map(bytes).sum::<usize>() as u64;
        let needed = RESERVE_BYTES.saturating_add(batch_bytes.saturating_mul(RESERVE_FACTOR));
        let path = directory.join(FILE);
        let length = self.file.metadata().map_err(failed("measure", &path))?.len();
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, length, needed) {
            Ok(()) => Ok(()),
            // Some file systems cannot; then what is free at this moment has to do.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => require_space(directory, needed),
            Err(error) => Err(failed("write", &path)(error.into())),
        }
    }

    fn commit(&self, batch: &Batch) -> io::Result<()> {
        let mut changes = sled::Batch::default();
        for (table, key, value) in &batch.changes {
            match value {
                Some(value) => changes.insert(in_table(*table, key), value.as_slice()),
                None => changes.remove(in_table(*table, key)),
            }
        }
        self.db.apply_batch(changes)?;
        self.db.flush()?;
        // On Linux sled asks for `sync_file_range` alone, which leaves length and disk cache unwritten.
        self.file.sync_data()
    }

    fn scan(&self, table: Table, newest_first: bool, limit: usize) -> io::Result<Vec<Pair>> {
        let pairs = self.db.scan_prefix([prefix(table)]);
        if newest_first { pairs.rev().take(limit).map(pair).collect() } else { pairs.take(limit).map(pair).collect() }
    }
}

/// As it was put: without the byte that says which table.
fn pair(pair: sled::Result<(sled::IVec, sled::IVec)>) -> io::Result<Pair> {
    let (key, value) = pair?;
    Ok((key.get(1..).unwrap_or_default().to_vec(), value.to_vec()))
}

impl Catalog for SledCatalog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with("read", |engine| Ok(engine.db.get(in_table(table, key))?.map(|value| value.to_vec())))
    }

    fn scan(&self, table: Table, newest_first: bool, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.with("read", |engine| engine.scan(table, newest_first, limit))
    }

    fn scan_after(&self, table: Table, key: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let range = (Bound::Excluded(in_table(table, key)), Bound::Excluded(vec![prefix(table) + 1]));
        self.with("read", |engine| engine.db.range(range.clone()).take(limit).map(pair).collect())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.with("write", |engine| {
            // Nothing was written yet, so this does not call for opening the engine again.
            if let Err(error) = engine.reserve(&self.directory, &batch) {
                return Ok(Err(error));
            }
            engine.commit(&batch).map(Ok)
        })?
    }

    fn snapshot(&self, tables: &[Table]) -> Result<Vec<TablePair>, StoreError> {
        // Whoever reads or writes holds the lock for reading: nobody does while this is held.
        let mut held = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        let engine = match held.take() {
            Some(engine) => engine,
            None => Engine::open(&self.directory)?,
        };
        let mut pairs = Vec::new();
        for table in tables {
            let scanned = engine.scan(*table, false, usize::MAX);
            let scanned = scanned.map_err(|error| StoreError::Catalog { act: "read", source: Box::new(error) })?;
            pairs.extend(scanned.into_iter().map(|(key, value)| (*table, key, value)));
        }
        *held = Some(engine);
        Ok(pairs)
    }
}

/// sled's threads let go of its file a moment after the handle is dropped, and sled does not wait for that on opening.
/// Other processes are kept out by the data directory's own lock, so whoever still holds the file is of this process.
fn wait_for_predecessor(directory: &Path) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(1);
    let file = match File::open(directory.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return file.unlock(),
            Err(TryLockError::Error(error)) => return Err(error),
            // After that sled says itself what is wrong.
            Err(TryLockError::WouldBlock) if started.elapsed() > PATIENCE => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(PAUSE),
        }
    }
}

/// Stored: never change one that was used.
fn prefix(table: Table) -> u8 {
    match table {
        Table::Releases => b'r',
        Table::Runs => b'u',
        Table::Headends => b'h',
        Table::Reports => b'p',
        Table::Tokens => b't',
        Table::Validators => b'v',
        Table::State => b's',
        Table::Imports => b'i',
        Table::Variants => b'f',
        Table::Audit => b'a',
        Table::Refusals => b'x',
        Table::Samples => b'm',
        Table::PastReleases => b'e',
        Table::Ise => b'd',
        Table::IseSeen => b'o',
    }
}

fn in_table(table: Table, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(1 + key.len());
    whole.push(prefix(table));
    whole.extend_from_slice(key);
    whole
}

fn require_space(directory: &Path, needed: u64) -> Result<(), StoreError> {
    let free = free_bytes(directory).map_err(failed("measure", directory))?;
    if free < needed {
        let message = format!("{free} bytes are free, and the catalog needs {needed}");
        return Err(failed("write", directory)(io::Error::new(io::ErrorKind::StorageFull, message)));
    }
    Ok(())
}
