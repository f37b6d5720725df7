//! Writing so that a cut of power leaves the old content or the new one: temporary file, fsync, rename, fsync of the
//! directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bundles::{Reason, Reasoned};

/// A file or directory that could not be read, written or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {}; check {}", path.display(), what_to_check(act))]
pub struct StorageError {
    /// What was being done, as a verb.
    pub act: &'static str,
    /// To what.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Reading takes no space.
fn what_to_check(act: &str) -> &'static str {
    let reads = ["read", "list", "look at"].iter().any(|word| act.starts_with(word));
    if reads { "that it is there, and its permissions" } else { "free space and permissions there" }
}

impl StorageError {
    /// For `map_err`.
    pub fn at(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { act, path, source }
    }
}

impl Reasoned for StorageError {
    fn reason(&self) -> Reason {
        Reason::Storage
    }
}

/// Who may read a file that is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Whatever the umask leaves: 0644 as a rule.
    Anyone,
    /// 0600: tokens.
    OwnerOnly,
}

/// Replaces `path` by these bytes, durably: whoever reads sees the old content or the new one.
///
/// # Errors
/// Any step that the file system refuses; the old content then still stands.
pub fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), StorageError> {
    let directory = parent(path);
    fs::create_dir_all(directory).map_err(StorageError::at("create", directory))?;
    let temporary = temporary_beside(path);
    let mode = match readers {
        Readers::Anyone => 0o644,
        Readers::OwnerOnly => 0o600,
    };
    // A leftover of a killed run may have another mode; a new file surely has ours.
    remove_file(&temporary)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .map_err(StorageError::at("create", &temporary))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary);
        return Err(StorageError { act: "write", path: temporary, source });
    }
    rename(&temporary, path)
}

/// Renames within one directory or two, and makes the names durable.
///
/// # Errors
/// The rename or the fsync fails.
pub fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(StorageError::at("rename to", to))?;
    if parent(from) != parent(to) {
        sync_directory(parent(from))?;
    }
    sync_directory(parent(to))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// It cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<(), StorageError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(StorageError::at("sync", directory))
}

/// Makes a whole tree durable: every file's content, then every directory's names, from the leaves up.
///
/// # Errors
/// Anything in it cannot be opened or synced.
pub fn sync_tree(directory: &Path) -> Result<(), StorageError> {
    for entry in fs::read_dir(directory).map_err(StorageError::at("list", directory))? {
        let entry = entry.map_err(StorageError::at("list", directory))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(StorageError::at("look at", &path))?;
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).map_err(StorageError::at("sync", &path))?;
        }
    }
    sync_directory(directory)
}

/// Removes a file; one that is not there is removed already.
///
/// # Errors
/// Anything else than that.
pub fn remove_file(path: &Path) -> Result<(), StorageError> {
    absent_is_fine(fs::remove_file(path)).map_err(StorageError::at("remove", path))
}

/// Removes a tree; one that is not there is removed already.
///
/// # Errors
/// Anything else than that.
pub fn remove_tree(path: &Path) -> Result<(), StorageError> {
    absent_is_fine(fs::remove_dir_all(path)).map_err(StorageError::at("remove", path))
}

/// Reads a file that may not be there.
///
/// # Errors
/// Anything else than its absence.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StorageError { act: "read", path: path.to_owned(), source }),
    }
}

/// Reads a file that people point at, up to one byte more than it may have: the wrong file, or `/dev/zero`, must not fill
/// the memory.
///
/// # Errors
/// It cannot be read.
pub fn read_given(act: &'static str, path: &Path, limit: usize) -> Result<Vec<u8>, StorageError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(StorageError::at(act, path))
}

/// `/` and bare names have no parent to speak of; names are relative to the working directory then.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// One fixed name, since one instance runs at a time: a killed run's leftover is overwritten and never piles up.
fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    parent(path).join(name)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_private_file_is_its_owners_alone_even_over_a_leftover_of_another_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/token");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(temporary_beside(&path), b"left over, readable by all").unwrap();
        write(&path, b"secret", Readers::OwnerOnly).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_given_file_is_read_no_further_than_shows_that_it_is_too_long() {
        assert_eq!(read_given("read", Path::new("/dev/zero"), 10).unwrap().len(), 11);
        assert_eq!(read_given("read", Path::new("/dev/null"), 10).unwrap().len(), 0);
        assert_eq!(read_given("read", Path::new("/nowhere/file"), 10).unwrap_err().reason(), Reason::Storage);
    }

    #[test]
    fn what_is_not_there_is_removed_and_read_without_fuss() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = directory.path().join("nothing");
        remove_file(&nothing).unwrap();
        remove_tree(&nothing).unwrap();
        assert_eq!(read_if_there(&nothing).unwrap(), None);
        assert_eq!(read_if_there(directory.path()).unwrap_err().reason(), Reason::Storage);
    }
}
