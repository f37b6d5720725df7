//! The certificate that the server presents: read at the start, looked at again while it runs, and replaced for the
//! connections that come next. Those that are open go on.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bundles::{Digest, Reason, Reasoned};
use certs::CertificateFacts;
use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::warnings::{EXPIRES_SOON, Warning, WarningKind};
use crate::config;
use crate::store::evidence::common_name;

/// Chain and key have some kilobytes; more than this is some other file, given by mistake.
const MAX_BYTES: u64 = 1 << 20;

/// Why a certificate is not presented.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path} of [listen]; it must be a PEM file that this user may read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any chain or key.
    #[error("{path} of [listen] has more than {MAX_BYTES} bytes, which neither a chain nor a key has; check the path")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A PEM file is none.
    #[error("cannot read {path} of [listen]; it must be a PEM file that this user may read")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// A PEM file holds something else.
    #[error("{path} of [listen] {key}: there is no {what} in it; write the path of a PEM file that holds one")]
    Lacks {
        /// The file.
        path: PathBuf,
        /// The configuration's key that names it.
        key: &'static str,
        /// What it should hold.
        what: &'static str,
    },
    /// The first certificate cannot be read.
    #[error("{path} of [listen] tls_certificate begins with something that is no certificate")]
    Facts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: certs::FactsError,
    },
    /// Certificate and key do not serve.
    #[error("{certificate} and {key} of [listen] do not make a TLS server; check that they belong together")]
    Tls {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// It is not valid any more.
    #[error("the certificate in {path} of [listen] ended at {not_after}; put a newer one there")]
    Ended {
        /// The file.
        path: PathBuf,
        /// When it ended.
        not_after: Timestamp,
    },
    /// It is not valid yet.
    #[error(
        "the certificate in {path} of [listen] is valid from {not_before} on, and is taken then; check this machine's clock"
    )]
    NotYet {
        /// The file.
        path: PathBuf,
        /// When it begins.
        not_before: Timestamp,
    },
}

impl Reasoned for CertificateError {
    fn reason(&self) -> Reason {
        match self {
            Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Pem { .. }
            | Self::Lacks { .. }
            | Self::Facts { .. }
            | Self::Tls { .. } => Reason::BadRequest,
            Self::Ended { .. } | Self::NotYet { .. } => Reason::TlsExpired,
        }
    }
}

/// What new connections are shown.
#[derive(Debug)]
pub struct Presented {
    key: Arc<CertifiedKey>,
    /// The server's own certificate, the first of the chain.
    pub leaf: CertificateFacts,
    /// Since when this process presents it.
    pub since: Timestamp,
    /// SHA-256 over both files, which tells whether there is anything new in them; the key itself stays with rustls.
    files: Digest,
}

/// What is in the files and is not presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, for people. Paths are the operator's own, so this is for the log and for administrators.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a look at the files came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What they hold is presented.
    Same,
    /// What they hold is presented from now on.
    Renewed,
    /// What they hold is not presented, for another reason than at the last look.
    Refused,
    /// As at the last look.
    StillRefused,
}

/// The certificate of `[listen]`. rustls asks it at each handshake.
#[derive(Debug)]
pub struct ServerCertificate {
    files: config::Tls,
    presented: ArcSwap<Presented>,
    refused: Mutex<Option<Refused>>,
}

impl ServerCertificate {
    /// Reads the files. One that has ended is presented all the same, and warned of: headends say then what is wrong,
    /// which they could not where nobody answers.
    ///
    /// # Errors
    /// They are not there, no PEM, or do not belong together.
    pub fn open(files: &config::Tls, now: Timestamp) -> Result<Self, CertificateError> {
        let presented = Files::read(files)?.presented(files, now)?;
        Ok(Self { files: files.clone(), presented: ArcSwap::from_pointee(presented), refused: Mutex::default() })
    }

    /// What new connections are shown.
    #[must_use]
    pub fn presented(&self) -> Arc<Presented> {
        self.presented.load_full()
    }

    /// What is in the files and is not presented.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files, and takes over what is new in them. Reads them whole, since neither times nor inodes tell of every
    /// way in which files are replaced (links to directories that are switched, copies that keep times).
    ///
    /// What cannot be presented changes nothing: not a pair that does not belong together, as in the moment between the
    /// writing of the one file and of the other, and not one that has ended or not begun.
    pub fn look(&self, now: Timestamp) -> Look {
        let current = self.presented();
        let found = Files::read(&self.files).and_then(|files| {
            if files.digest == current.files {
                return Ok(None);
            }
            files.presented(&self.files, now)?.if_valid(&self.files, now).map(Some)
        });
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(None) => {
                *refused = None;
                Look::Same
            }
            Ok(Some(presented)) => {
                self.presented.store(Arc::new(presented));
                *refused = None;
                Look::Renewed
            }
            Err(error) => {
                let message = error.whole_message();
                if refused.as_ref().is_some_and(|refused| refused.message == message) {
                    return Look::StillRefused;
                }
                let since = refused.as_ref().map_or(now, |refused| refused.since);
                *refused = Some(Refused { message, since });
                Look::Refused
            }
        }
    }

    /// What there is to warn of.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<Warning> {
        let leaf = self.presented().leaf.clone();
        let mut warnings = Vec::new();
        if leaf.not_after.duration_since(now) <= EXPIRES_SOON {
            let verb = if leaf.not_after < now { "ended" } else { "ends" };
            let message = format!(
                "this server's own certificate ({}) {verb} at {}, and headends, relays and ISE nodes refuse to connect then; \
                 write a newer one to {}, which is noticed within seconds",
                common_name(&leaf.subject),
                leaf.not_after,
                self.files.certificate.display(),
            );
            let soon = leaf.not_after.checked_sub(EXPIRES_SOON).unwrap_or(leaf.not_after);
            warnings.push(Warning {
                kind: WarningKind::ServerCertificateExpiring,
                message,
                since: soon.max(leaf.not_before),
            });
        }
        warnings.extend(self.refused().map(|Refused { message, since }| Warning {
            kind: WarningKind::ServerCertificateRefused,
            message: format!("the server goes on with the certificate that it has: {message}"),
            since,
        }));
        warnings
    }
}

impl ResolvesServerCert for ServerCertificate {
    /// One for all names: whoever asks for another name is told by the certificate which it is for.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.presented.load().key))
    }
}

/// Both files' bytes at one look.
struct Files {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    digest: Digest,
}

impl Files {
    fn read(files: &config::Tls) -> Result<Self, CertificateError> {
        let certificate = read(&files.certificate)?;
        let key = Zeroizing::new(read(&files.key)?);
        let digests = [Digest::of(&certificate), Digest::of(&key)].map(|digest| digest.to_string());
        Ok(Self { digest: Digest::of(digests.concat().as_bytes()), certificate, key })
    }

    fn presented(&self, files: &config::Tls, now: Timestamp) -> Result<Presented, CertificateError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| CertificateError::Pem { path, source }
        };
        let lacks = |path: &Path, key, what| CertificateError::Lacks { path: path.to_owned(), key, what };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(unreadable(&files.certificate))?;
        let Some(leaf) = chain.first() else {
            return Err(lacks(&files.certificate, "tls_certificate", "certificate"));
        };
        let leaf = CertificateFacts::from_der(leaf)
            .map_err(|source| CertificateError::Facts { path: files.certificate.clone(), source })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| match source {
            pem::Error::NoItemsFound => lacks(&files.key, "tls_key", "private key"),
            source => unreadable(&files.key)(source),
        })?;
        let key = CertifiedKey::from_der(chain, key, &certs::provider()).map_err(|source| CertificateError::Tls {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })?;
        Ok(Presented { key: Arc::new(key), leaf, since: now, files: self.digest })
    }
}

impl Presented {
    /// All that is sent, the server's own first.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.key.cert.clone()
    }

    fn if_valid(self, files: &config::Tls, now: Timestamp) -> Result<Self, CertificateError> {
        let (not_before, not_after) = (self.leaf.not_before, self.leaf.not_after);
        if now > not_after {
            return Err(CertificateError::Ended { path: files.certificate.clone(), not_after });
        }
        if now < not_before {
            return Err(CertificateError::NotYet { path: files.certificate.clone(), not_before });
        }
        Ok(self)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CertificateError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
