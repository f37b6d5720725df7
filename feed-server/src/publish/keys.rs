//! The signing keys: one ed25519 key for each role of each repository, as PKCS#8 DER files.
//!
//! All eight are made together in `keys.new`, which is then renamed: there is either no key, or the whole set. A set that
//! is there is only read; a missing or foreign file in it is an error and never replaced, since headends trust no other.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bundles::{Digest, Reason, Reasoned};
use tough::schema::decoded::{Decoded, Hex};
use tough::sign::Sign as _;

use super::{Repository, Role};

/// The keys of both repositories. `Debug` shows where they are, never what they are.
#[derive(Clone)]
pub struct Keys {
    directory: PathBuf,
    keys: Arc<Vec<Key>>,
}

pub(super) struct Key {
    repository: Repository,
    role: Role,
    pair: Ed25519KeyPair,
    /// As it stands in the root.
    pub(super) public: tough::schema::key::Key,
    pub(super) id: Decoded<Hex>,
    fingerprint: Digest,
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
    /// The private key's file.
    pub path: PathBuf,
}

impl Keys {
    /// Reads the keys, or makes them where the directory is not there; whether they were made.
    ///
    /// # Errors
    /// A key is missing, unreadable, not a key, or readable by others; or the directory cannot be made.
    pub fn open_or_create(directory: &Path) -> Result<(Self, bool), KeyError> {
        let exists = directory.try_exists().map_err(failed("look at", directory))?;
        if !exists {
            create(directory)?;
        }
        Ok((Self::open(directory)?, !exists))
    }

    fn open(directory: &Path) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (repository, role) in every_key() {
            let path = directory.join(file_name(repository, role));
            let mode = fs::metadata(&path).map_err(missing_or_failed(&path))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(KeyError::OpenToOthers { path, mode: mode & 0o777 });
            }
            let der = fs::read(&path).map_err(missing_or_failed(&path))?;
            keys.push(Key::read(repository, role, &der).ok_or(KeyError::NotAKey { path })?);
        }
        Ok(Self { directory: directory.to_owned(), keys: Arc::new(keys) })
    }

    /// What can be told of each key.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<KeyFact> {
        let fact = |key: &Key| KeyFact {
            repository: key.repository,
            role: key.role,
            key_id: hex::encode(&*key.id),
            fingerprint: key.fingerprint,
            path: self.directory.join(file_name(key.repository, key.role)),
        };
        self.keys.iter().map(fact).collect()
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The key that signs a role's metadata; every set has all of them.
    pub(super) fn of(&self, repository: Repository, role: Role) -> Option<&Key> {
        self.keys.iter().find(|key| (key.repository, key.role) == (repository, role))
    }
}

impl Key {
    fn read(repository: Repository, role: Role, der: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
        let public = pair.tuf_key();
        let id = public.key_id().ok()?;
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
        let fingerprint = Digest::of(der.as_ref());
        Some(Self { repository, role, pair, public, id, fingerprint })
    }

    /// `None` where the provider fails.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.pair.try_sign(message).ok().map(|signature| signature.as_ref().to_vec())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn every_key() -> impl Iterator<Item = (Repository, Role)> {
    Repository::ALL.into_iter().flat_map(|repository| Role::ALL.into_iter().map(move |role| (repository, role)))
}

fn file_name(repository: Repository, role: Role) -> String {
    format!("{repository}-{role}.der")
}

fn create(directory: &Path) -> Result<(), KeyError> {
    let unfinished = directory.with_extension("new");
    match fs::remove_dir_all(&unfinished) {
        // No one has seen a key of a set that was never renamed into place.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", &unfinished)(error)),
    }
    DirBuilder::new().mode(0o700).create(&unfinished).map_err(failed("make the directory", &unfinished))?;
    for (repository, role) in every_key() {
        let path = unfinished.join(file_name(repository, role));
        // Version 1, without the public key: OpenSSL reads no other for ed25519.
        let der = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(|_| KeyError::NoRandomness)?;
        write_private(&path, der.as_ref()).map_err(failed("write", &path))?;
    }
    sync_directory(&unfinished)?;
    fs::rename(&unfinished, directory).map_err(failed("rename to", directory))?;
    sync_directory(directory.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> Result<(), KeyError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync the directory", path))
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { act, path, source }
}

fn missing_or_failed(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => KeyError::Missing { path },
        _ => KeyError::Io { act: "read", path, source },
    }
}

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system said no.
    #[error("cannot {act} {path}; check free space and permissions of the data directory")]
    Io {
        /// "read", "write", …
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// One of the set is not there.
    #[error(
        "the signing key {path} is missing; restore the directory of keys from a backup: headends trust no other keys"
    )]
    Missing {
        /// Its file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error(
        "the signing key {path} has mode {mode:o}, so others may have read it; make it 600, and rotate it if they may have"
    )]
    OpenToOthers {
        /// Its file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not an ed25519 key in PKCS#8 DER.
    #[error("{path} is not an ed25519 key in PKCS#8 DER; restore the directory of keys from a backup")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The system has no randomness to give.
    #[error("no key could be made: the system's source of randomness failed")]
    NoRandomness,
}

impl Reasoned for KeyError {
    fn reason(&self) -> Reason {
        match self {
            Self::Io { .. } | Self::Missing { .. } | Self::OpenToOthers { .. } | Self::NotAKey { .. } => {
                Reason::Storage
            }
            Self::NoRandomness => Reason::Internal,
        }
    }
}
