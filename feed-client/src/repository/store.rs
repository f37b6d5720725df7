//! Verified metadata on disk: the floor against rollback. sigstore-tuf only logs a store's errors, and takes metadata
//! that cannot be read for absent; both would lose the floor silently, so this store remembers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sigstore_tuf::{Metadata, MetadataStore, Timestamp};

use crate::crash;
use crate::durable::{self, Readers, StorageError};

/// A directory of metadata files. Clones share their memory of failures.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    failure: Arc<Mutex<Option<StorageError>>>,
}

impl Store {
    /// The store in this directory, which is created with the first file.
    #[must_use]
    pub fn open(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), failure: Arc::default() }
    }

    /// The first failure since the last call, if there was one.
    ///
    /// # Errors
    /// That failure.
    pub fn failure(&self) -> Result<(), StorageError> {
        self.remembered().take().map_or(Ok(()), Err)
    }

    /// The version of the timestamp that is held.
    #[must_use]
    pub fn timestamp_version(&self) -> Option<u64> {
        let bytes = self.load("timestamp.json").ok()??;
        Metadata::<Timestamp>::from_slice(&bytes).ok().map(|timestamp| timestamp.signed().version)
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Option<StorageError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, error: StorageError) -> sigstore_tuf::Error {
        let context = error.to_string();
        let kind = error.source.kind();
        self.remembered().get_or_insert(error);
        sigstore_tuf::Error::io(context, kind.into())
    }
}

impl MetadataStore for Store {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        let Some(path) = path_of(&self.directory, name) else { return Ok(None) };
        durable::read_if_there(&path).map_err(|error| self.remember(error))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        let Some(path) = path_of(&self.directory, name) else { return Ok(()) };
        // A root is written on every start, mostly the same one: a poll that changes nothing should write nothing.
        let same = durable::read_if_there(&path).is_ok_and(|old| old.as_deref() == Some(bytes));
        if !same {
            durable::write(&path, bytes, Readers::Anyone).map_err(|error| self.remember(error))?;
        }
        if name == "timestamp.json" {
            crash::point("client.refresh.timestamp_stored");
        }
        Ok(())
    }
}

/// The names that are read back on the next start. `<version>.snapshot.json` is handed over too and never asked for: it
/// would pile up. Names of delegated roles come from the repository and are none of ours.
fn path_of(directory: &Path, name: &str) -> Option<PathBuf> {
    let known = matches!(name, "root.json" | "timestamp.json" | "snapshot.json" | "targets.json")
        || name
            .strip_prefix("root_history/")
            .and_then(|name| name.strip_suffix(".root.json"))
            .is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()));
    known.then(|| directory.join(name))
}

#[cfg(test)]
mod tests {
    use bundles::{Reason, Reasoned as _};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_failed_write_is_remembered_once() {
        let directory = tempfile::tempdir().unwrap();
        let blocked = directory.path().join("tuf");
        std::fs::write(&blocked, b"a file where the directory should be").unwrap();
        let store = Store::open(&blocked);
        assert!(store.clone().store("timestamp.json", b"{}").is_err());
        assert_eq!(store.failure().unwrap_err().reason(), Reason::Storage);
        assert!(store.failure().is_ok());
    }

    #[test]
    fn an_unreadable_file_is_not_an_absent_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("snapshot.json")).unwrap();
        let store = Store::open(directory.path());
        assert!(store.load("snapshot.json").is_err());
        assert_eq!(store.failure().unwrap_err().reason(), Reason::Storage);
        assert!(store.load("timestamp.json").unwrap().is_none());
        assert!(store.failure().is_ok());
    }

    #[test]
    fn only_what_is_read_back_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path());
        for name in ["12.snapshot.json", "targets/x", "root_history/../../x.root.json", "role.json"] {
            store.store(name, b"x").unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        store.store("root_history/2.root.json", b"x").unwrap();
        assert_eq!(store.load("root_history/2.root.json").unwrap().as_deref(), Some(&b"x"[..]));
    }

    proptest! {
        #[test]
        fn no_name_leaves_the_directory(name in "(\\PC|\\.\\./|/|root_history/|\\.root\\.json){0,20}") {
            if let Some(path) = path_of(Path::new("/store"), &name) {
                prop_assert!(path.starts_with("/store"));
                prop_assert!(!path.components().any(|part| part == std::path::Component::ParentDir));
            }
        }
    }
}
