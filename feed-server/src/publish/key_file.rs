//! What is in a private key's file: PKCS#8, in DER or in PEM, as it is or encrypted with a passphrase (RFC 8018), as
//! `openssl pkcs8 -topk8` writes and `openssl pkey` reads it.

use std::fmt;
use std::path::Path;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::SecretDocument;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::pem::LineEnding;
use pkcs8::pkcs5::pbes2;
use zeroize::Zeroizing;

use super::KeyError;

/// Rounds of PBKDF2 with SHA-256, which makes a guess cost a fifth of a second: what OWASP's cheat sheet on storing
/// passwords asks for (2023). PBKDF2 and AES-256-CBC, since every openssl from 1.1 on reads them.
const ROUNDS: u32 = 600_000;

/// The most bytes of a passphrase's salt and of AES's first block.
const SALT: usize = 16;

const PLAIN: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// What opens encrypted keys. It has no `Display`, its `Debug` says nothing, and its memory is wiped when it goes.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes the text as it is.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are the same text: one that was typed twice.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// A key's file as it is, and how it was written.
pub(super) struct KeyFile {
    der: SecretDocument,
    is_encrypted: bool,
    is_pem: bool,
}

impl KeyFile {
    /// `None` where these are no PKCS#8 at all.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let is_pem = bytes.trim_ascii_start().starts_with(b"-----BEGIN ");
        let der = if is_pem {
            let text = std::str::from_utf8(bytes.trim_ascii()).ok()?;
            let (label, der) = SecretDocument::from_pem(text).ok()?;
            matches!(label, PLAIN | ENCRYPTED).then_some(der)?
        } else {
            SecretDocument::try_from(bytes).ok()?
        };
        let is_encrypted = EncryptedPrivateKeyInfoRef::try_from(der.as_bytes()).is_ok();
        Some(Self { der, is_encrypted, is_pem })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// The key itself; `passphrase` is asked only where it takes one.
    pub(super) fn open(
        &self,
        path: &Path,
        passphrase: impl FnOnce() -> Result<Passphrase, KeyError>,
    ) -> Result<SecretDocument, KeyError> {
        if !self.is_encrypted {
            return Ok(self.der.clone());
        }
        let Passphrase(passphrase) = passphrase()?;
        let refused = |_| KeyError::WrongPassphrase { path: path.to_owned() };
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(self.der.as_bytes()).map_err(refused)?;
        encrypted.decrypt(passphrase.as_bytes()).map_err(refused)
    }

    /// The same key as it is written where `passphrase` has to open it from now on, or where nothing has to.
    pub(super) fn write(&self, key: &SecretDocument, passphrase: Option<&Passphrase>) -> Option<Zeroizing<Vec<u8>>> {
        let (label, der) = match passphrase {
            Some(passphrase) => (ENCRYPTED, encrypted(key.as_bytes(), passphrase)?),
            None => (PLAIN, key.clone()),
        };
        if self.is_pem {
            let text = der.to_pem(label, LineEnding::LF).ok()?;
            return Some(Zeroizing::new(text.as_bytes().to_vec()));
        }
        Some(Zeroizing::new(der.as_bytes().to_vec()))
    }
}

/// A key in PKCS#8, encrypted. `None` where the system has no randomness.
pub(super) fn encrypted(der: &[u8], Passphrase(passphrase): &Passphrase) -> Option<SecretDocument> {
    let (mut salt, mut block) = ([0; SALT], [0; SALT]);
    aws_lc_rs::rand::fill(&mut salt).ok()?;
    aws_lc_rs::rand::fill(&mut block).ok()?;
    let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, block).ok()?;
    let bytes = parameters.encrypt(passphrase.as_bytes(), der).ok()?;
    let encrypted_data = OctetStringRef::new(&bytes).ok()?;
    let info = EncryptedPrivateKeyInfoRef { encryption_algorithm: parameters.into(), encrypted_data };
    SecretDocument::try_from(&info).ok()
}
