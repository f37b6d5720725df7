//! How much room there is, and how much is used.

use std::fs;
use std::io;
use std::path::Path;

use super::directory::failed;
use super::{Store, StoreError};

/// Room on the data directory's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of blobs, what is prepared of them, and catalog. Trees that share the blobs' bytes are not counted again.
    pub store_bytes: u64,
    /// Bytes that this process could still write.
    pub free_bytes: u64,
}

/// Bytes that an unprivileged process can still write on the file system of `path`.
///
/// # Errors
/// The system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(path)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

impl Store {
    /// What the store takes and what is left.
    ///
    /// # Errors
    /// The directories cannot be read.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let directory = self.directory();
        let free_bytes = free_bytes(directory).map_err(failed("measure", directory))?;
        let mut store_bytes = 0;
        for part in [super::open::BLOBS, super::open::CATALOG, super::open::PREPARED] {
            let part = directory.join(part);
            store_bytes += bytes_under(&part).map_err(failed("measure", &part))?;
        }
        Ok(Usage { store_bytes, free_bytes })
    }
}

fn bytes_under(directory: &Path) -> io::Result<u64> {
    let mut total = 0;
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // The collector may remove a blob while this counts.
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => total += bytes_under(&entry.path())?,
            Ok(metadata) => total += metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}
