//! The signing keys that are at hand: ed25519 keys, as PKCS#8 files in one directory, and among the credentials that systemd
//! gives the service.
//!
//! Which key signs what is not said here but in the newest root: a key is what its id says, whatever its file is called.
//! The first set of an origin is made whole in `keys.new`, which is then renamed: there is either no key, or all of them.
//! No key is ever made to stand in for one that is missing: that takes a new root (`super::rotation`).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bundles::Digest;
use tough::schema::decoded::{Decoded, Hex};
use zeroize::Zeroizing;

use super::key::{as_written, read_private};
use super::{Key, KeyError, Passphrase, Repository, Role};
use crate::config::Signing;
use crate::upstream::{Environment, read_secret};

/// What private keys' files that are made here are called.
const SUFFIX: &str = "der";

/// And those that are read: all other files are left alone.
const SUFFIXES: [&str; 2] = [SUFFIX, "pem"];

/// In the first set of keys: how many of the root keys have to sign a root, where that is not one.
const THRESHOLD: &str = "root-threshold";

/// The most root keys that there may be: more than any committee, and a root stays small.
pub const MOST_ROOT_KEYS: u64 = 16;

/// The id of a key in signed metadata.
pub(super) type KeyId = Decoded<Hex>;

/// The keys of both repositories, as far as they are here. `Debug` shows where they are, never what they are.
#[derive(Clone)]
pub struct Keys {
    directory: PathBuf,
    sources: Sources,
    keys: Arc<ArcSwap<Vec<Held>>>,
}

/// Where keys are besides the directory, and what opens those that are encrypted.
#[derive(Debug, Clone)]
pub struct Sources {
    signing: Signing,
    environment: Environment,
}

impl Default for Sources {
    /// Nowhere, and nothing.
    fn default() -> Self {
        Self { signing: Signing::default(), environment: Environment::empty() }
    }
}

impl Sources {
    /// Those of the configuration, and of the service as it was started.
    #[must_use]
    pub fn new(signing: Signing, environment: Environment) -> Self {
        Self { signing, environment }
    }

    /// The passphrase, where there is one; read anew each time.
    ///
    /// # Errors
    /// There should be one, and it cannot be read.
    pub fn passphrase(&self) -> Result<Option<Passphrase>, KeyError> {
        let Some(file) = &self.signing.passphrase_file else { return Ok(None) };
        let (_, passphrase) =
            read_secret(file, &self.signing.base_dir, &self.environment).map_err(KeyError::PassphraseFile)?;
        Ok(Some(Passphrase::new(passphrase)))
    }

    /// The credentials that are keys, by their names, which are those that files of keys are given here: other
    /// services' keys and passwords may be among them.
    fn credentials(&self) -> Result<Vec<PathBuf>, KeyError> {
        let Some(directory) = self.environment.credentials_directory() else { return Ok(Vec::new()) };
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Repository::ALL.iter().any(|repository| name.starts_with(&format!("{repository}-")))
        };
        Ok(key_files(&directory)?.into_iter().filter(is_ours).collect())
    }
}

/// A key that is at hand.
#[derive(Clone)]
struct Held {
    path: PathBuf,
    /// Of the file: where that is the same, an encrypted key need not be opened again.
    file: Digest,
    /// Whether the file is ours to remove.
    is_ours: bool,
    key: Key,
}

/// How many root keys the first root of each repository names, and how many of them have to sign the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// At least the threshold, at most [`MOST_ROOT_KEYS`].
    pub root_keys: u64,
    /// At least 1.
    pub threshold: u64,
}

impl Default for Quorum {
    fn default() -> Self {
        Self { root_keys: 1, threshold: 1 }
    }
}

/// What can be told of a key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeyFact {
    /// Whose metadata it signs.
    pub repository: Repository,
    /// Which role's.
    pub role: Role,
    /// Its id in signed metadata.
    pub key_id: String,
    /// SHA-256 of the public key's SubjectPublicKeyInfo, as `openssl pkey -inform DER -pubout -outform DER | sha256sum`
    /// prints it.
    pub fingerprint: Digest,
    /// The private key's file; `None` where it is not here.
    pub path: Option<PathBuf>,
}

impl Keys {
    /// Whether there are keys, or were.
    ///
    /// # Errors
    /// The directory cannot be looked at.
    pub fn are_at(directory: &Path) -> Result<bool, KeyError> {
        directory.try_exists().map_err(failed("look at", directory))
    }

    /// Reads the keys, or makes the first set where the directory is not there; whether they were made.
    ///
    /// # Errors
    /// A file is unreadable, not a key, or readable by others; or the directory cannot be made.
    pub fn open_or_create(directory: &Path) -> Result<(Self, bool), KeyError> {
        Self::open_or_create_from(directory, &Sources::default())
    }

    /// The same, of these sources.
    ///
    /// # Errors
    /// As [`Self::open_or_create`]; or an encrypted key cannot be opened.
    pub fn open_or_create_from(directory: &Path, sources: &Sources) -> Result<(Self, bool), KeyError> {
        let exists = Self::are_at(directory)? || !sources.credentials()?.is_empty();
        if !exists {
            Self::create(directory, Quorum::default(), sources)?;
        }
        Ok((Self::open(directory, sources)?, !exists))
    }

    /// Reads what is there, which may be none.
    ///
    /// # Errors
    /// As [`Self::open_or_create`].
    pub fn open(directory: &Path, sources: &Sources) -> Result<Self, KeyError> {
        let keys = Self { directory: directory.to_owned(), sources: sources.clone(), keys: Arc::default() };
        keys.reload()?;
        Ok(keys)
    }

    /// Makes the first set of keys, encrypted where there is a passphrase for them.
    ///
    /// # Errors
    /// The directory is there already, or cannot be made; or `quorum` is none.
    pub fn create(directory: &Path, quorum: Quorum, sources: &Sources) -> Result<(), KeyError> {
        let Quorum { root_keys, threshold } = quorum;
        if threshold == 0 || threshold > root_keys || root_keys > MOST_ROOT_KEYS {
            return Err(KeyError::Quorum { keys: root_keys, threshold });
        }
        if Self::are_at(directory)? {
            return Err(KeyError::Exists { path: directory.to_owned() });
        }
        let passphrase = sources.passphrase()?;
        let unfinished = directory.with_extension("new");
        match fs::remove_dir_all(&unfinished) {
            // No one has seen a key of a set that was never renamed into place.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove", &unfinished)(error)),
        }
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(failed("make the directory", &unfinished))?;
        for repository in Repository::ALL {
            for role in Role::ALL {
                let count = if role == Role::Root { root_keys } else { 1 };
                for number in 1..=count {
                    let number = if count == 1 { String::new() } else { format!("-{number}") };
                    let path = unfinished.join(format!("{repository}-{role}{number}.{SUFFIX}"));
                    let der = as_written(Key::make()?, passphrase.as_ref())?;
                    write_private(&path, &der).map_err(failed("write", &path))?;
                }
            }
        }
        if threshold > 1 {
            let path = unfinished.join(THRESHOLD);
            write_private(&path, threshold.to_string().as_bytes()).map_err(failed("write", &path))?;
        }
        sync_directory(&unfinished)?;
        fs::rename(&unfinished, directory).map_err(failed("rename to", directory))?;
        sync_directory(directory.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))
    }

    /// Looks again at what is there.
    ///
    /// # Errors
    /// As [`Self::open_or_create`]; then those that were known are known still.
    pub fn reload(&self) -> Result<(), KeyError> {
        let known = self.keys.load();
        let mut keys = Vec::new();
        let own = key_files(&self.directory)?.into_iter().map(|path| (path, true));
        for (path, is_ours) in own.chain(self.sources.credentials()?.into_iter().map(|path| (path, false))) {
            // Credentials are in a directory that systemd made for this service alone; their modes say nothing.
            let bytes = match is_ours {
                true => read_private(&path)?,
                false => Zeroizing::new(fs::read(&path).map_err(failed("read", &path))?),
            };
            let file = Digest::of(&bytes);
            let key = match known.iter().find(|held| held.path == path && held.file == file) {
                Some(held) => held.key.clone(),
                None => Key::of_file(&path, &bytes, || {
                    self.sources.passphrase()?.ok_or_else(|| KeyError::Locked { path: path.clone() })
                })?,
            };
            keys.push(Held { path, file, is_ours, key });
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Those that are here of these, in the order of their ids: each once.
    pub(super) fn among<'i>(&self, ids: impl IntoIterator<Item = &'i KeyId>) -> Vec<Key> {
        let keys = self.keys.load();
        let found = ids.into_iter().filter_map(|id| keys.iter().find(|held| held.key.id == *id));
        let found: BTreeMap<Vec<u8>, Key> = found.map(|held| (held.key.id.to_vec(), held.key.clone())).collect();
        found.into_values().collect()
    }

    /// The files of this key.
    pub(super) fn files_of(&self, id: &KeyId) -> Vec<PathBuf> {
        self.keys.load().iter().filter(|held| held.key.id == *id).map(|held| held.path.clone()).collect()
    }

    /// Those that [`Self::remove`] removes.
    pub(super) fn own_files_of(&self, id: &KeyId) -> Vec<PathBuf> {
        let keys = self.keys.load();
        keys.iter().filter(|held| held.key.id == *id && held.is_ours).map(|held| held.path.clone()).collect()
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.load().is_empty()
    }

    /// The first set's keys for a role, by the names of their files: nothing else says so before there is a root.
    pub(super) fn first_of(&self, repository: Repository, role: Role) -> Vec<Key> {
        let name = format!("{repository}-{role}");
        let is_its = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            stem.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.keys.load().iter().filter(|held| is_its(&held.path)).map(|held| held.key.clone()).collect()
    }

    /// How many root keys have to sign, in the first set.
    pub(super) fn first_threshold(&self) -> Result<u64, KeyError> {
        let path = self.directory.join(THRESHOLD);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| KeyError::NotAKey { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Makes a key; on disk when it returns. It signs nothing before a root names it.
    pub(super) fn add(&self, repository: Repository, role: Role) -> Result<Key, KeyError> {
        let der = Key::make()?;
        let key = Key::of(&der).ok_or(KeyError::NoRandomness)?;
        let der = as_written(der, self.sources.passphrase()?.as_ref())?;
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make the directory", &self.directory)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let name = format!("{repository}-{role}-{}", &hex::encode(&*key.id)[..16]);
        let path = self.directory.join(format!("{name}.{SUFFIX}"));
        // Under another suffix first: half a key is no reason for not starting.
        let unfinished = self.directory.join(format!("{name}.new"));
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &unfinished)(error)),
            Ok(()) | Err(_) => {}
        }
        write_private(&unfinished, &der).map_err(failed("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(failed("rename to", &path))?;
        sync_directory(&self.directory)?;
        self.reload()?;
        Ok(key)
    }

    /// Removes a key's files; which. Credentials are not ours to remove.
    pub(super) fn remove(&self, id: &KeyId) -> Result<Vec<PathBuf>, KeyError> {
        let paths = self.own_files_of(id);
        for path in &paths {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path)(error)),
                Ok(()) | Err(_) => {}
            }
        }
        if !paths.is_empty() {
            sync_directory(&self.directory)?;
            self.reload()?;
        }
        Ok(paths)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The files in a directory that are called as private keys are, in the order of their names; none where it is not there.
fn key_files(directory: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().map_err(failed("read", directory))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed("read", directory)(error)),
    };
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| SUFFIXES.iter().any(|known| suffix == *known)));
    paths.sort();
    Ok(paths)
}

/// Writes a file that only its owner can read, and that is not there yet.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> Result<(), KeyError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync the directory", path))
}

pub(super) fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { act, path, source }
}
