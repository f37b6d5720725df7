//! Verified metadata on disk: the floor against rollback. sigstore-tuf only logs a store's errors, and takes metadata
//! that cannot be read for absent; both would lose the floor silently, so this store remembers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::{Digest, signed};
use sigstore_tuf::{Metadata, MetadataStore, Timestamp};

use super::held::own_version;
use crate::crash;
use crate::durable::{self, Readers, StorageError};

/// Metadata by name.
type Files = BTreeMap<String, Vec<u8>>;

/// A directory of metadata files. Clones share their memory of failures.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    /// Where what was verified stays in memory: what it holds by now.
    memory: Option<Arc<Mutex<Files>>>,
    keeps_delegated: bool,
    /// The newest root that somebody else remembers to have been verified here.
    root_seen: u64,
    failure: Arc<Mutex<Option<StorageError>>>,
}

impl Store {
    /// The store in this directory, which is created with the first file.
    #[must_use]
    pub fn open(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory, memory: None, keeps_delegated: false, root_seen: 0, failure: Arc::default() }
    }

    /// The same for whoever only looks: what was held is read, and what is verified now stays in memory.
    #[must_use]
    pub fn looking_at(directory: &Path) -> Self {
        Self { memory: Some(Arc::default()), ..Self::open(directory) }
    }

    /// Keeps delegated roles too, for whoever looks at them: a release is never found through one.
    #[must_use]
    pub fn keeping_delegated(self) -> Self {
        Self { keeps_delegated: true, ..self }
    }

    /// The same for whoever remembers that a root of this version was verified here: all that is held may be damaged.
    #[must_use]
    pub fn having_seen_root(self, version: u64) -> Self {
        Self { root_seen: version, ..self }
    }

    pub(super) fn root_seen(&self) -> u64 {
        self.root_seen
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

    /// The digest of the timestamp that is held.
    #[must_use]
    pub fn timestamp_digest(&self) -> Option<Digest> {
        Some(Digest::of(&self.load("timestamp.json").ok()??))
    }

    /// Everything that is held, for whoever verifies metadata from bytes in hand, damaged or not. `None` where there is
    /// nothing yet; what a killed run did not come to is empty, and vouches for nothing.
    ///
    /// # Errors
    /// It cannot be read: a floor that is there is not forgotten.
    pub fn held(&self) -> Result<Option<signed::Metadata>, StorageError> {
        let mut versions = self.root_versions()?;
        versions.sort_unstable();
        let mut roots = Vec::new();
        for version in versions {
            roots.extend(self.text(&root_name(version))?);
        }
        // A second copy of the newest one, should that be damaged.
        roots.extend(self.text("root.json")?.filter(|root| !roots.contains(root)));
        let [timestamp, snapshot, targets] =
            ["timestamp.json", "snapshot.json", "targets.json"].map(|it| self.text(it));
        let [timestamp, snapshot, targets] = [timestamp?, snapshot?, targets?].map(Option::unwrap_or_default);
        let nothing = roots.is_empty() && timestamp.is_empty() && snapshot.is_empty() && targets.is_empty();
        Ok((!nothing).then_some(signed::Metadata { roots, timestamp, snapshot, targets }))
    }

    /// Keeps what was verified, as a refresh would: roots first, so that a kill in between leaves keys and no floor that
    /// they did not sign.
    ///
    /// # Errors
    /// Something could not be kept: then nothing may be built on it.
    pub fn keep(&self, verified: &signed::Metadata) -> Result<(), StorageError> {
        let mut files = Vec::new();
        for root in &verified.roots {
            // Whoever verified it knows its version; what cannot be read would not be looked for either.
            files.extend(signed::peek::root_version(root).ok().map(|version| (root_name(version), root)));
        }
        files.extend(verified.roots.last().map(|root| ("root.json".to_owned(), root)));
        let roots = files.len();
        for (name, text) in
            [("timestamp", &verified.timestamp), ("snapshot", &verified.snapshot), ("targets", &verified.targets)]
        {
            files.push((format!("{name}.json"), text));
        }
        for (index, (name, text)) in files.into_iter().enumerate() {
            // The error is the remembered one.
            let _ = self.store(&name, text.as_bytes());
            self.failure()?;
            if index < roots {
                crash::point("client.import.root_stored");
            }
        }
        Ok(())
    }

    /// The versions that root files are named after.
    pub(super) fn root_versions(&self) -> Result<Vec<u64>, StorageError> {
        let folder = self.directory.join("root_history");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StorageError { act: "list", path: folder, source }),
        };
        let mut versions = Vec::new();
        for entry in entries {
            let name = entry.map_err(StorageError::at("list", &folder))?.file_name();
            versions.extend(name.to_str().and_then(|name| name.strip_suffix(".root.json")?.parse::<u64>().ok()));
        }
        Ok(versions)
    }

    /// A file as it is; `None` where there is none.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        durable::read_if_there(&self.directory.join(name))
    }

    /// Forgets everything: it is another origin's past.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&self) -> Result<(), StorageError> {
        durable::remove_tree(&self.directory)
    }

    fn text(&self, name: &str) -> Result<Option<String>, StorageError> {
        let bytes = self.bytes(name)?;
        // Verified metadata is JSON; what became of it on a bad disk will not verify.
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn path_of(&self, name: &str) -> Option<PathBuf> {
        path_of(&self.directory, name)
            .or_else(|| (self.keeps_delegated && is_delegated(name)).then(|| self.directory.join(name)))
    }

    fn remembered(&self) -> MutexGuard<'_, Option<StorageError>> {
        lock(&self.failure)
    }

    pub(super) fn remember(&self, error: StorageError) -> sigstore_tuf::Error {
        let context = error.to_string();
        let kind = error.source.kind();
        self.remembered().get_or_insert(error);
        sigstore_tuf::Error::io(context, kind.into())
    }
}

impl MetadataStore for Store {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        let Some(path) = self.path_of(name) else { return Ok(None) };
        if let Some(bytes) = self.memory.as_ref().and_then(|memory| lock(memory).get(name).cloned()) {
            return Ok(Some(bytes));
        }
        durable::read_if_there(&path).map_err(|error| self.remember(error))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        let Some(path) = self.path_of(name) else { return Ok(()) };
        if let Some(memory) = &self.memory {
            lock(memory).insert(name.to_owned(), bytes.to_vec());
            return Ok(());
        }
        // A root is written on every start, mostly the same one: a poll that changes nothing should write nothing.
        let held = durable::read_if_there(&path).ok().flatten();
        let is_there = held.as_deref() == Some(bytes);
        // `root.json` is the newest root that was ever trusted, whatever the others say by now.
        let is_older = name == "root.json" && held.as_deref().and_then(own_version) > own_version(bytes);
        if !is_there && !is_older {
            durable::write(&path, bytes, Readers::Anyone).map_err(|error| self.remember(error))?;
            if name.starts_with("root_history/") {
                crash::point("client.refresh.root_stored");
            }
        }
        if name == "timestamp.json" {
            crash::point("client.refresh.timestamp_stored");
        }
        Ok(())
    }
}

pub(super) fn root_name(version: u64) -> String {
    format!("root_history/{version}.root.json")
}

/// A panic elsewhere leaves whole values in here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Whether it is a delegated role's file and not a version of anything. Roles come with everything but `A-Z a-z 0-9 - _ . ~`
/// percent-encoded.
fn is_delegated(name: &str) -> bool {
    let is_version = name.split_once('.').is_some_and(|(version, _)| version.parse::<u64>().is_ok());
    name.ends_with(".json") && !name.contains('/') && !is_version
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
        let names = ["12.snapshot.json", "targets/x", "root_history/../../x.root.json", "../role.json", "role.json"];
        for name in names {
            store.store(name, b"x").unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        for name in names {
            store.clone().keeping_delegated().store(name, b"x").unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(store.clone().keeping_delegated().load("role.json").unwrap().as_deref(), Some(&b"x"[..]));
        store.store("root_history/2.root.json", b"x").unwrap();
        assert_eq!(store.load("root_history/2.root.json").unwrap().as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn what_was_kept_is_held_and_a_failure_to_keep_it_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path());
        assert_eq!(store.held().unwrap(), None);
        let root = |version: u64| {
            format!(
                "{{\"signed\":{{\"_type\":\"root\",\"spec_version\":\"1.0.0\",\"version\":{version},\"expires\":\"2030-01-01T00:00:00Z\",\
                 \"consistent_snapshot\":true,\"keys\":{{}},\"roles\":{{}}}},\"signatures\":[]}}"
            )
        };
        let text = |name: &str| format!("the {name}");
        // More than nine, so that the order of names is not that of numbers.
        let metadata = signed::Metadata {
            roots: (1..=11).map(root).collect(),
            timestamp: text("timestamp"),
            snapshot: text("snapshot"),
            targets: text("targets"),
        };
        store.keep(&metadata).unwrap();
        assert_eq!(store.held().unwrap(), Some(metadata.clone()));

        std::fs::remove_file(directory.path().join("snapshot.json")).unwrap();
        std::fs::create_dir(directory.path().join("snapshot.json")).unwrap();
        assert_eq!(store.keep(&metadata).unwrap_err().reason(), Reason::Storage);
        assert_eq!(store.held().unwrap_err().reason(), Reason::Storage);
    }

    #[test]
    fn whoever_only_looks_reads_what_was_held_and_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        Store::open(directory.path()).store("snapshot.json", b"held").unwrap();
        let store = Store::looking_at(directory.path());
        assert_eq!(store.load("snapshot.json").unwrap().as_deref(), Some(&b"held"[..]));
        store.store("snapshot.json", b"new").unwrap();
        store.store("targets.json", b"new").unwrap();
        assert_eq!(store.load("snapshot.json").unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(std::fs::read(directory.path().join("snapshot.json")).unwrap(), b"held");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
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
