//! Trust anchors: the few roots that may vouch for a host, by name or from PEM files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// The one root that the vendor's documents name for posture updates ("Trust for authenticating Cisco services").
pub const DEFAULT_ANCHOR: &str = "IdenTrust Commercial Root CA 1";

/// SHA-256 of [`DEFAULT_ANCHOR`]'s subject public key info. A name alone would follow whatever key a later edition of
/// webpki-roots carried under it; the certificate's own digest is 5D56499B…3019E528AE (domain notes, "The upstream
/// connection"), of which this is the key.
const DEFAULT_ANCHOR_KEY: &str = "07e854f26a7cbd389927aa041bfef1b6cd21dd143818ad947dc655a9e587fe88";

/// A file of trust anchors is read whole. The bundle of a whole operating system has some 250 KB; more than this is
/// some other file, given by mistake.
pub const MAX_PEM_BYTES: u64 = 1 << 20;

/// One trusted root: its subject, its public key and its name constraints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    name: String,
    origin: String,
    trust: TrustAnchor<'static>,
}

impl Anchor {
    /// The subject's common name, or the whole subject where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it came from, for messages: `webpki-roots`, or a file.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The subject's organisation (`O=`), where it has one.
    #[must_use]
    pub fn organization(&self) -> Option<String> {
        let sequence = der_sequence(&self.trust.subject);
        let (_, subject) = X509Name::from_der(&sequence).ok()?;
        subject.iter_organization().next().and_then(|name| name.as_str().ok()).map(ToOwned::to_owned)
    }

    /// SHA-256 of the subject public key info, in hex: what the anchor is pinned by, beside its subject.
    #[must_use]
    pub fn key_sha256(&self) -> String {
        key_sha256(&self.trust)
    }

    pub(crate) fn trust(&self) -> &TrustAnchor<'static> {
        &self.trust
    }
}

/// A set of trusted roots. Nothing outside the set is trusted, whatever the machine's own store says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchors(Vec<Anchor>);

impl Anchors {
    /// The root of that common name in webpki-roots (Mozilla's set), such as [`DEFAULT_ANCHOR`].
    ///
    /// # Errors
    /// No root has the name, several have, or the default root has another key than the one pinned here.
    pub fn named(name: &str) -> Result<Anchor, AnchorError> {
        let mut found = webpki_roots::TLS_SERVER_ROOTS.iter().filter(|root| common_name(root).as_deref() == Some(name));
        let trust = found.next().ok_or_else(|| AnchorError::UnknownName { name: name.to_owned() })?;
        if found.next().is_some() {
            return Err(AnchorError::AmbiguousName { name: name.to_owned() });
        }
        if name == DEFAULT_ANCHOR && key_sha256(trust) != DEFAULT_ANCHOR_KEY {
            return Err(AnchorError::OtherKey { name: name.to_owned(), found: key_sha256(trust) });
        }
        Ok(public(trust))
    }

    /// All of webpki-roots (Mozilla's set): what browsers trust. For servers of one's own that any public CA may vouch
    /// for, not for the vendor's.
    #[must_use]
    pub fn all_public() -> Self {
        webpki_roots::TLS_SERVER_ROOTS.iter().map(public).collect::<Vec<_>>().into()
    }

    /// The CA certificates in a PEM file's bytes; `origin` names the file in messages. Sections that are not
    /// certificates are passed over.
    ///
    /// # Errors
    /// The bytes hold no certificate, one that cannot be read, or one that is not a CA's: a leaf as an anchor would
    /// trust that one host's key for every host.
    pub fn from_pem(bytes: &[u8], origin: &str) -> Result<Vec<Anchor>, AnchorError> {
        let mut anchors = Vec::new();
        for (index, section) in CertificateDer::pem_slice_iter(bytes).enumerate() {
            let position = index + 1;
            let der =
                section.map_err(|source| AnchorError::Pem { origin: origin.to_owned(), source: Box::new(source) })?;
            anchors.push(anchor_of(&der, origin, position)?);
        }
        if anchors.is_empty() {
            return Err(AnchorError::NoCertificate { origin: origin.to_owned() });
        }
        Ok(anchors)
    }

    /// What a `trust_anchors` setting holds: names in webpki-roots, or PEM files (relative ones from `base_dir`).
    ///
    /// # Errors
    /// The list is empty, a file cannot be read, or as [`Anchors::named`] and [`Anchors::from_pem`].
    pub fn load(names_or_files: &[String], base_dir: &Path) -> Result<Self, AnchorError> {
        let mut anchors = Vec::new();
        for entry in names_or_files {
            match Self::named(entry) {
                Ok(anchor) => anchors.push(anchor),
                Err(AnchorError::UnknownName { name }) => {
                    let path = base_dir.join(entry);
                    if !looks_like_a_file(entry) && !path.is_file() {
                        return Err(AnchorError::UnknownName { name });
                    }
                    anchors.extend(Self::from_pem(&read_bounded(&path)?, &path.display().to_string())?);
                }
                Err(other) => return Err(other),
            }
        }
        if anchors.is_empty() {
            return Err(AnchorError::Empty);
        }
        Ok(Self::from(anchors))
    }

    /// The anchors, each once.
    pub fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.0.iter()
    }

    /// Whether nothing is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Anchor>> for Anchors {
    fn from(anchors: Vec<Anchor>) -> Self {
        let mut once: Vec<Anchor> = Vec::with_capacity(anchors.len());
        for anchor in anchors {
            if !once.iter().any(|known| known.trust == anchor.trust) {
                once.push(anchor);
            }
        }
        Self(once)
    }
}

fn public(trust: &TrustAnchor<'static>) -> Anchor {
    let name = common_name(trust).unwrap_or_else(|| {
        let subject = der_sequence(&trust.subject);
        X509Name::from_der(&subject).map(|(_, subject)| subject.to_string()).unwrap_or_default()
    });
    Anchor { name, origin: "webpki-roots".to_owned(), trust: trust.clone() }
}

/// So that a misspelt file is reported as a file that is missing, not as a root that is unknown.
fn looks_like_a_file(entry: &str) -> bool {
    let extension = Path::new(entry).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    entry.contains(['/', '\\']) || ["pem", "crt", "cer"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, AnchorError> {
    let failed = |source| AnchorError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(AnchorError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn anchor_of(der: &CertificateDer<'_>, origin: &str, position: usize) -> Result<Anchor, AnchorError> {
    let unreadable = |detail: String| AnchorError::Certificate { origin: origin.to_owned(), position, detail };
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
    let subject = certificate.subject().to_string();
    let may_sign = certificate
        .key_usage()
        .map_err(|error| unreadable(error.to_string()))?
        .is_none_or(|usage| usage.value.key_cert_sign());
    if !certificate.is_ca() || !may_sign {
        return Err(AnchorError::NotACa { origin: origin.to_owned(), position, subject });
    }
    let trust = webpki::anchor_from_trusted_cert(der).map_err(|error| unreadable(error.to_string()))?.to_owned();
    let name = common_name(&trust).unwrap_or(subject);
    Ok(Anchor { name, origin: origin.to_owned(), trust })
}

/// A trust anchor holds the content of the subject's SEQUENCE, without the SEQUENCE's own header.
pub(crate) fn common_name(trust: &TrustAnchor<'_>) -> Option<String> {
    let sequence = der_sequence(&trust.subject);
    let (_, subject) = X509Name::from_der(&sequence).ok()?;
    subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(ToOwned::to_owned)
}

fn key_sha256(trust: &TrustAnchor<'_>) -> String {
    hex::encode(Sha256::digest(der_sequence(&trust.subject_public_key_info)))
}

/// Puts the header of a DER SEQUENCE before its content (X.690, sections 8.1.3 and 10.1: the shortest length form).
pub(crate) fn der_sequence(content: &[u8]) -> Vec<u8> {
    let mut sequence = vec![0x30];
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count().min(length.len() - 1)..];
    if content.len() >= 0x80 {
        // At most eight length octets on any machine, so the count fits.
        sequence.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
    }
    sequence.extend_from_slice(significant);
    sequence.extend_from_slice(content);
    sequence
}

/// Why something is not an anchor.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// Not in webpki-roots, and not a file.
    #[error(
        "{name:?} is neither the common name of a root in webpki-roots nor a file; name one such as \
         \"IdenTrust Commercial Root CA 1\", or give the path of a PEM file"
    )]
    UnknownName {
        /// As configured.
        name: String,
    },
    /// Several roots of one name.
    #[error("webpki-roots has several roots named {name:?}; give the path of the right one's PEM file instead")]
    AmbiguousName {
        /// As configured.
        name: String,
    },
    /// Another key under the pinned name.
    #[error(
        "webpki-roots has another key under {name:?} than the one pinned in this program (found {found}); \
         check where this program was built before anything else"
    )]
    OtherKey {
        /// The root.
        name: String,
        /// SHA-256 of the key found.
        found: String,
    },
    /// The file does not open.
    #[error("the trust anchors' file {} cannot be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Larger than [`MAX_PEM_BYTES`].
    #[error("{} is larger than {MAX_PEM_BYTES} bytes, which no file of trust anchors is; check the path", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// Broken PEM.
    #[error("{origin} is not well-formed PEM; give a file of -----BEGIN CERTIFICATE----- sections")]
    Pem {
        /// The file.
        origin: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// PEM without certificates.
    #[error("{origin} holds no certificate; give a PEM file with the root's certificate")]
    NoCertificate {
        /// The file.
        origin: String,
    },
    /// A certificate that does not parse.
    #[error("certificate {position} in {origin} cannot be read ({detail}); export it again")]
    Certificate {
        /// The file.
        origin: String,
        /// Counted from 1.
        position: usize,
        /// What the parser says.
        detail: String,
    },
    /// A leaf.
    #[error(
        "certificate {position} in {origin} ({subject}) is not a CA's, so it cannot be a trust anchor; give the root \
         that issued it"
    )]
    NotACa {
        /// The file.
        origin: String,
        /// Counted from 1.
        position: usize,
        /// Whose certificate it is.
        subject: String,
    },
    /// Nothing to trust.
    #[error("the list of trust anchors is empty, so that no server could be trusted; name at least one root")]
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_anchor_is_the_one_root_of_that_name_and_key() {
        let anchor = Anchors::named(DEFAULT_ANCHOR).unwrap();
        assert_eq!(anchor.name(), DEFAULT_ANCHOR);
        assert_eq!(anchor.key_sha256(), DEFAULT_ANCHOR_KEY);
        assert_eq!(anchor.organization().as_deref(), Some("IdenTrust"));
    }

    #[test]
    fn every_public_root_has_a_name_and_the_default_is_among_them() {
        let public = Anchors::all_public();
        assert!(public.iter().all(|anchor| !anchor.name().is_empty()));
        assert!(public.iter().any(|anchor| anchor == &Anchors::named(DEFAULT_ANCHOR).unwrap()));
    }

    #[test]
    fn der_lengths_take_the_shortest_form() {
        assert_eq!(der_sequence(&[7; 3])[..2], [0x30, 3]);
        assert_eq!(der_sequence(&[7; 0x7f])[..2], [0x30, 0x7f]);
        assert_eq!(der_sequence(&[7; 0x80])[..3], [0x30, 0x81, 0x80]);
        assert_eq!(der_sequence(&[7; 0x1234])[..4], [0x30, 0x82, 0x12, 0x34]);
        assert_eq!(der_sequence(&[]), [0x30, 0]);
    }

    #[test]
    fn an_unknown_name_and_a_missing_file_are_told_apart() {
        let base = Path::new("/nonexistent");
        let load = |entry: &str| Anchors::load(&[entry.to_owned()], base);
        assert!(matches!(load("Some Root"), Err(AnchorError::UnknownName { .. })));
        assert!(matches!(load("ca.pem"), Err(AnchorError::Read { .. })));
        assert!(matches!(Anchors::load(&[], base), Err(AnchorError::Empty)));
    }
}
