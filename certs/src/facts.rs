//! What a certificate says, for people and machines to read.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

/// What a certificate says of itself. Parsed, not verified: only [`crate::verify_chain`] says whether it is to be
/// believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// Whose it is, such as `C=US, O=IdenTrust, CN=IdenTrust Commercial Root CA 1`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The issuer's number for it, in hex without leading zeros.
    pub serial: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// The host names and addresses it is for.
    pub sans: Vec<String>,
    /// SHA-256 of the whole certificate, in hex: the fingerprint that browsers and the vendor's documents show.
    pub sha256: String,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// The kind and size of its key, such as `RSA 2048`.
    pub key: String,
}

impl CertificateFacts {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// The bytes are not a certificate, or more than one, or its dates lie outside the years 0 to 9999.
    pub fn from_der(der: &[u8]) -> Result<Self, FactsError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| FactsError::Parse { detail: error.to_string() })?;
        if !rest.is_empty() {
            return Err(FactsError::Trailing { length: rest.len() });
        }
        let serial = hex::encode(certificate.raw_serial());
        let significant = serial.trim_start_matches('0');
        Ok(Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            serial: if significant.is_empty() { "0" } else { significant }.to_owned(),
            not_before: timestamp(certificate.validity().not_before)?,
            not_after: timestamp(certificate.validity().not_after)?,
            sans: alternative_names(&certificate),
            sha256: hex::encode(Sha256::digest(der)),
            is_ca: certificate.is_ca(),
            key: key(&certificate),
        })
    }
}

/// Whoever makes a certificate chooses its names, and they end up on terminals and in logs: control characters, which
/// move cursors and begin lines, are replaced.
pub(crate) fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

pub(crate) fn timestamp(time: ASN1Time) -> Result<Timestamp, FactsError> {
    Timestamp::from_second(time.timestamp()).map_err(|source| FactsError::Time { detail: source.to_string() })
}

pub(crate) fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().map(|name| printable(&san(name))).collect()
}

fn san(name: &GeneralName<'_>) -> String {
    if let GeneralName::DNSName(name) = name {
        return (*name).to_owned();
    }
    if let GeneralName::IPAddress(octets) = name {
        if let Ok(v4) = <[u8; 4]>::try_from(*octets) {
            return Ipv4Addr::from(v4).to_string();
        }
        if let Ok(v6) = <[u8; 16]>::try_from(*octets) {
            return Ipv6Addr::from(v6).to_string();
        }
    }
    name.to_string()
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let info = certificate.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(key)) => format!("EC {}", key.key_size()),
        Ok(PublicKey::DSA(_) | PublicKey::GostR3410(_) | PublicKey::GostR3410_2012(_) | PublicKey::Unknown(_))
        | Err(_) => info.algorithm.algorithm.to_id_string(),
    }
}

/// Why bytes give no facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// Not DER of a certificate.
    #[error("these bytes are not an X.509 certificate ({detail})")]
    Parse {
        /// What the parser says.
        detail: String,
    },
    /// Bytes after the certificate.
    #[error("{length} bytes follow the certificate")]
    Trailing {
        /// How many.
        length: usize,
    },
    /// A date that cannot be represented.
    #[error("the certificate's validity lies outside the years that can be represented ({detail})")]
    Time {
        /// Why.
        detail: String,
    },
}
