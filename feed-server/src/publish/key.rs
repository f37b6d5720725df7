//! One signing key: an ed25519 key, in a PKCS#8 file that its owner alone can read.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bundles::{Digest, Reason, Reasoned};
use tough::sign::Sign as _;
use zeroize::Zeroizing;

use super::key_file::{self, KeyFile, Passphrase};
use super::keys::{KeyId, failed, write_private};
use crate::upstream::SecretFileError;

/// What stands before an ed25519 key's 32 bytes in its SubjectPublicKeyInfo (RFC 8410, section 4).
const PUBLIC_KEY_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key that signs.
#[derive(Clone)]
pub struct Key {
    pair: Arc<Ed25519KeyPair>,
    /// As it stands in the root.
    pub(super) public: tough::schema::key::Key,
    pub(super) id: KeyId,
    fingerprint: Digest,
}

impl Key {
    /// Reads a key's file; `passphrase` is asked where it is encrypted.
    ///
    /// # Errors
    /// It is missing, unreadable, not a key, or readable by others; or the passphrase is not to be had, or not the right one.
    pub fn read(path: &Path, passphrase: impl FnOnce() -> Result<Passphrase, KeyError>) -> Result<Self, KeyError> {
        Self::of_file(path, &read_private(path)?, passphrase)
    }

    /// The key in a file's bytes.
    pub(super) fn of_file(
        path: &Path,
        bytes: &[u8],
        passphrase: impl FnOnce() -> Result<Passphrase, KeyError>,
    ) -> Result<Self, KeyError> {
        let no_key = || KeyError::NotAKey { path: path.to_owned() };
        let file = KeyFile::read(bytes).ok_or_else(no_key)?;
        let der = file.open(path, passphrase)?;
        // By chance, a wrong passphrase may give something; no key, though.
        let wrong = || if file.is_encrypted() { KeyError::WrongPassphrase { path: path.to_owned() } } else { no_key() };
        Self::of(der.as_bytes()).ok_or_else(wrong)
    }

    /// Writes a key's file anew: encrypted with `new`, or as it is where that is none. It is the old file or the new one,
    /// whatever happens.
    ///
    /// # Errors
    /// As [`Self::read`]; or it cannot be written.
    pub fn rewrite(
        path: &Path,
        old: impl FnOnce() -> Result<Passphrase, KeyError>,
        new: impl FnOnce() -> Result<Option<Passphrase>, KeyError>,
    ) -> Result<Self, KeyError> {
        let bytes = read_private(path)?;
        let file = KeyFile::read(&bytes).ok_or_else(|| KeyError::NotAKey { path: path.to_owned() })?;
        let der = file.open(path, old)?;
        let key = Self::of(der.as_bytes()).ok_or_else(|| KeyError::NotAKey { path: path.to_owned() })?;
        let written = file.write(&der, new()?.as_ref()).ok_or(KeyError::NoRandomness)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let replace = || -> io::Result<()> {
            // Mode 0600 from the first byte on. No suffix of a key's: half of one is none.
            let mut file = tempfile::Builder::new().prefix(".key-").suffix(".new").tempfile_in(directory)?;
            file.write_all(&written)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            fs::File::open(directory)?.sync_all()
        };
        replace().map_err(failed("write", path))?;
        Ok(key)
    }

    /// Makes a key and writes it to `path`, which must not be there, encrypted where there is a passphrase; its public half to
    /// `<path>.pub`.
    ///
    /// # Errors
    /// A file cannot be written, or there is no randomness.
    pub fn generate(path: &Path, passphrase: Option<&Passphrase>) -> Result<(Self, PathBuf), KeyError> {
        let der = Self::make()?;
        let key = Self::of(&der).ok_or(KeyError::NoRandomness)?;
        let der = as_written(der, passphrase)?;
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        write_private(path, &der).map_err(failed("write", path))?;
        let json = serde_json::to_string_pretty(&key.public).unwrap_or_default() + "\n";
        fs::write(&public, json).map_err(failed("write", &public))?;
        Ok((key, public))
    }

    /// Version 1, without the public key: OpenSSL reads no other for ed25519.
    pub(super) fn make() -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1());
        der.map(|der| Zeroizing::new(der.as_ref().to_vec())).map_err(|_| KeyError::NoRandomness)
    }

    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
        let public = pair.tuf_key();
        let id = public.key_id().ok()?;
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
        let fingerprint = Digest::of(der.as_ref());
        Some(Self { pair: Arc::new(pair), public, id, fingerprint })
    }

    /// Its id in signed metadata.
    #[must_use]
    pub fn id(&self) -> String {
        hex::encode(&*self.id)
    }

    /// SHA-256 of the public key's SubjectPublicKeyInfo.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// `None` where the provider fails.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.pair.try_sign(message).ok().map(|signature| signature.as_ref().to_vec())
    }
}

/// How a key that was made is written.
pub(super) fn as_written(
    der: Zeroizing<Vec<u8>>,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let Some(passphrase) = passphrase else { return Ok(der) };
    let written = key_file::encrypted(&der, passphrase).ok_or(KeyError::NoRandomness)?;
    Ok(Zeroizing::new(written.as_bytes().to_vec()))
}

/// A private key's file, unless others can read it.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mode = fs::metadata(path).map_err(failed("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::OpenToOthers { path: path.to_owned(), mode: mode & 0o777 });
    }
    Ok(Zeroizing::new(fs::read(path).map_err(failed("read", path))?))
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// [`Key::fingerprint`] of a key whose private half may be elsewhere; of one that is not ed25519, of what the root says.
pub(super) fn fingerprint(public: &tough::schema::key::Key) -> Digest {
    match public {
        tough::schema::key::Key::Ed25519 { keyval, .. } => Digest::of(&[&PUBLIC_KEY_INFO[..], &keyval.public].concat()),
        other => Digest::of(&serde_json::to_vec(other).unwrap_or_default()),
    }
}

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system said no.
    #[error("cannot {act} {path}; check that it is there, its permissions and free space")]
    Io {
        /// "read", "write", …
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
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
    /// Not an ed25519 key in PKCS#8.
    #[error(
        "{path} is not an ed25519 key in PKCS#8 (DER or PEM); restore it from a backup, or take it out of the directory of keys"
    )]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// Encrypted, and nothing to open it with.
    #[error(
        "the signing key {path} is encrypted, and there is no passphrase for it: set [signing] passphrase_file, or give \
         --passphrase-file where this runs without a terminal"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Another passphrase.
    #[error(
        "the passphrase does not open the signing key {path}; check it, and that `openssl pkey -in FILE` reads the file (PBES2, \
         with PBKDF2 or scrypt, and AES are read here)"
    )]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The file that it should be in.
    #[error("the file of the signing keys' passphrase cannot be used: {0}")]
    PassphraseFile(#[source] SecretFileError),
    /// Nothing was typed, or something else the second time.
    #[error("no key was written: {what}; try again")]
    BadPassphrase {
        /// What was wrong.
        what: &'static str,
    },
    /// There are keys already.
    #[error(
        "there are signing keys in {path} already; `feed-server keys list` shows them, `keys rotate` replaces them"
    )]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody could reach that threshold, or it is none.
    #[error(
        "{threshold} of {keys} root keys cannot be: give a threshold from 1 up to the number of keys, and at most {} keys",
        super::keys::MOST_ROOT_KEYS
    )]
    Quorum {
        /// How many keys.
        keys: u64,
        /// How many of them are to sign.
        threshold: u64,
    },
    /// The system has no randomness to give.
    #[error("no key could be made: the system's source of randomness failed")]
    NoRandomness,
}

impl Reasoned for KeyError {
    fn reason(&self) -> Reason {
        match self {
            Self::Io { .. } | Self::OpenToOthers { .. } | Self::NotAKey { .. } => Reason::Storage,
            Self::Locked { .. }
            | Self::WrongPassphrase { .. }
            | Self::PassphraseFile(_)
            | Self::BadPassphrase { .. }
            | Self::Exists { .. }
            | Self::Quorum { .. } => Reason::BadRequest,
            Self::NoRandomness => Reason::Internal,
        }
    }
}
