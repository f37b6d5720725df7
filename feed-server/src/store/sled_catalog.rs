//! The catalog in sled 0.34.
//!
//! One sled tree, tables told apart by a first byte: sled's batches are atomic within a tree only.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::directory::failed;
use super::space::free_bytes;
use super::{Batch, Catalog, Pair, StoreError, Table};

/// sled takes 1 GiB unless told otherwise; the whole catalog of a large site is some megabytes.
const CACHE_BYTES: u64 = 16 << 20;

/// sled writes in segments of 512 KiB and must not be surprised by a full disk in the midst of one: below this, commits
/// are refused while reading goes on.
const MIN_FREE_BYTES: u64 = 4 << 20;

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
        require_space(&directory)?;
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

impl Engine {
    fn open(directory: &Path) -> Result<Self, StoreError> {
        let open = || -> io::Result<Self> {
            wait_for_predecessor(directory)?;
            let db = sled::Config::new()
                .path(directory)
                .cache_capacity(CACHE_BYTES)
                // Every commit flushes before it returns; a timer would only write at times of its own.
                .flush_every_ms(None)
                .open()?;
            let file = File::open(directory.join(FILE))?;
            Ok(Self { db, file })
        };
        open().map_err(|source| StoreError::Catalog { act: "open", source: Box::new(source) })
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
        // On Linux sled asks for `sync_file_range` alone, which leaves the file's length and the disk's cache unwritten.
        self.file.sync_data()
    }

    fn scan(&self, table: Table, newest_first: bool, limit: usize) -> io::Result<Vec<Pair>> {
        let pair = |pair: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = pair?;
            Ok((key.get(1..).unwrap_or_default().to_vec(), value.to_vec()))
        };
        let pairs = self.db.scan_prefix([prefix(table)]);
        if newest_first { pairs.rev().take(limit).map(pair).collect() } else { pairs.take(limit).map(pair).collect() }
    }
}

impl Catalog for SledCatalog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with("read", |engine| Ok(engine.db.get(in_table(table, key))?.map(|value| value.to_vec())))
    }

    fn scan(&self, table: Table, newest_first: bool, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.with("read", |engine| engine.scan(table, newest_first, limit))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        require_space(&self.directory)?;
        self.with("write", |engine| engine.commit(&batch))
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
    }
}

fn in_table(table: Table, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(1 + key.len());
    whole.push(prefix(table));
    whole.extend_from_slice(key);
    whole
}

fn require_space(directory: &Path) -> Result<(), StoreError> {
    let free = free_bytes(directory).map_err(failed("measure", directory))?;
    if free < MIN_FREE_BYTES {
        let full = io::Error::new(
            io::ErrorKind::StorageFull,
            format!("{free} bytes are free, and the catalog needs {MIN_FREE_BYTES}"),
        );
        return Err(failed("write", directory)(full));
    }
    Ok(())
}
