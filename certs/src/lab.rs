//! Chains of the vendor's shape, freshly made: the same subjects and extensions as the real ones, with keys of their
//! own. For tests, the lab upstream and the demo. Two chains share their subjects but not their keys, so that one of
//! them plays the impostor to the other.

mod error;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::date;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SanType,
};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Anchors, provider};

pub use error::LabError;

/// The root's subject, as in the vendor's documents.
pub const ROOT: &[(&str, &str)] = &[("C", "US"), ("O", "IdenTrust"), ("CN", crate::DEFAULT_ANCHOR)];

/// The intermediate's subject, as in the handshake of www.cisco.com.
pub const INTERMEDIATE: &[(&str, &str)] = &[
    ("C", "US"),
    ("O", "IdenTrust"),
    ("OU", "HydrantID Trusted Certificate Service"),
    ("CN", "HydrantID Server CA O1"),
];

/// The leaf's subject.
pub const LEAF: &[(&str, &str)] =
    &[("CN", "www.cisco.com"), ("O", "Cisco Systems Inc."), ("L", "San Jose"), ("ST", "California"), ("C", "US")];

/// The kind of the chain's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// RSA 2048, as the vendor's leaf and intermediate.
    #[default]
    Rsa,
    /// ECDSA P-256: made in a millisecond, where the shape does not matter.
    Ecdsa,
}

/// The TLS versions that a lab server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// As the vendor's (domain notes: no TLS 1.3 seen).
    #[default]
    Tls12Only,
    /// Both, as most other servers.
    Tls12And13,
}

/// Which of its certificates a server sends, and in which order. The leaf is the first always: a server's key fits no
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presented {
    /// Leaf, intermediate and root, as the vendor sends them.
    #[default]
    Whole,
    /// Leaf and intermediate, as most other servers.
    WithoutRoot,
    /// Leaf and root: the link between them is missing.
    WithoutIntermediate,
    /// Leaf, root, intermediate.
    WrongOrder,
    /// The whole chain with unrelated certificates before and after the intermediate.
    WithExtras,
    /// The leaf and nothing else.
    LeafOnly,
}

/// What the leaf may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Usage {
    /// TLS servers and clients, as the vendor's.
    #[default]
    Server,
    /// TLS clients only.
    ClientOnly,
    /// A CA's own certificate, in the place of a server's.
    Authority,
}

/// What a chain is to look like; see [`Chain::builder`].
#[derive(Debug, Clone)]
pub struct ChainBuilder {
    root_name: Option<String>,
    presented: Presented,
    usage: Usage,
    names: Vec<String>,
    leaf_valid: (Timestamp, Timestamp),
    ca_valid: (Timestamp, Timestamp),
    keys: Keys,
}

impl ChainBuilder {
    /// The host names and addresses that the leaf is for, instead of `www.cisco.com`.
    #[must_use]
    pub fn names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds this machine's own names: `localhost`, `127.0.0.1`, `::1`.
    #[must_use]
    pub fn loopback(mut self) -> Self {
        self.names.extend(["localhost", "127.0.0.1", "::1"].map(ToOwned::to_owned));
        self
    }

    /// From when until when the leaf is valid. Without this, from 2024 to 2034: a lab has no clock.
    #[must_use]
    pub fn valid(mut self, not_before: Timestamp, not_after: Timestamp) -> Self {
        self.leaf_valid = (not_before, not_after);
        self
    }

    /// From when until when root and intermediate are valid. Without this, as the vendor's root: 2014 to 2034.
    #[must_use]
    pub fn ca_valid(mut self, not_before: Timestamp, not_after: Timestamp) -> Self {
        self.ca_valid = (not_before, not_after);
        self
    }

    /// The root's common name, instead of the vendor's: a root that is no namesake.
    #[must_use]
    pub fn root_named(mut self, name: impl Into<String>) -> Self {
        self.root_name = Some(name.into());
        self
    }

    /// What servers with this chain send.
    #[must_use]
    pub fn presented(mut self, presented: Presented) -> Self {
        self.presented = presented;
        self
    }

    /// What the leaf may be used for.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The kind of keys.
    #[must_use]
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// Makes keys and certificates.
    ///
    /// # Errors
    /// A name is neither a host name nor an address, or a key cannot be made.
    pub fn build(self) -> Result<Chain, LabError> {
        let ca_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let server_and_client = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

        let own_root = self.root_name.as_deref().map(|name| [("O", "Posture Feed Lab"), ("CN", name)]);
        let mut root = params(own_root.as_ref().map_or(ROOT, |subject| subject), self.ca_valid);
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = ca_usages[1..].to_vec();
        let root_key = self.key()?;
        let root_key_pem = root_key.serialize_pem();
        let root_certificate = root.self_signed(&root_key).map_err(LabError::Certificate)?;
        let root_issuer = Issuer::new(root, root_key);

        let mut intermediate = params(INTERMEDIATE, self.ca_valid);
        intermediate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        intermediate.key_usages = ca_usages;
        intermediate.extended_key_usages.clone_from(&server_and_client);
        intermediate.use_authority_key_identifier_extension = true;
        let intermediate_key = self.key()?;
        let intermediate_certificate =
            intermediate.signed_by(&intermediate_key, &root_issuer).map_err(LabError::Certificate)?;
        let intermediate_issuer = Issuer::new(intermediate, intermediate_key);

        let mut leaf = params(LEAF, self.leaf_valid);
        leaf.subject_alt_names = self.names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        leaf.extended_key_usages = match self.usage {
            Usage::Server | Usage::Authority => server_and_client,
            Usage::ClientOnly => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        if self.usage == Usage::Authority {
            leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        leaf.use_authority_key_identifier_extension = true;
        let leaf_key = self.key()?;
        let leaf_certificate = leaf.signed_by(&leaf_key, &intermediate_issuer).map_err(LabError::Certificate)?;

        let extras = ["Unrelated CA 1", "Unrelated CA 2"].map(|name| {
            let mut extra = params(&[("CN", name)], self.ca_valid);
            extra.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(LabError::Key)?;
            extra.self_signed(&key).map_err(LabError::Certificate)
        });
        let [before, after] = extras;

        let made = |certificate: &rcgen::Certificate| Made { der: certificate.der().clone(), pem: certificate.pem() };
        Ok(Chain {
            root: made(&root_certificate),
            intermediate: made(&intermediate_certificate),
            leaf: made(&leaf_certificate),
            extras: [made(&before?), made(&after?)],
            presented: self.presented,
            leaf_key_pem: leaf_key.serialize_pem(),
            root_key_pem,
        })
    }

    fn key(&self) -> Result<KeyPair, LabError> {
        KeyPair::generate_for(match self.keys {
            Keys::Rsa => &PKCS_RSA_SHA256,
            Keys::Ecdsa => &PKCS_ECDSA_P256_SHA256,
        })
        .map_err(LabError::Key)
    }
}

/// A certificate in both of its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The bytes that are signed and sent.
    pub der: CertificateDer<'static>,
    /// The text that files hold.
    pub pem: String,
}

/// Root, intermediate and leaf, and the leaf's key.
#[derive(Clone)]
pub struct Chain {
    /// Self-signed; what a client is to trust.
    pub root: Made,
    /// Signed by the root.
    pub intermediate: Made,
    /// The server's own, signed by the intermediate.
    pub leaf: Made,
    extras: [Made; 2],
    presented: Presented,
    leaf_key_pem: String,
    root_key_pem: String,
}

/// Where [`Chain::write_pem`] put its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFiles {
    /// What a server presents, the leaf first: nginx's `ssl_certificate`.
    pub chain: PathBuf,
    /// The leaf alone: `openssl s_server -cert`.
    pub leaf: PathBuf,
    /// What a server presents beside its leaf: `openssl s_server -cert_chain`. Empty where it is the leaf only.
    pub rest: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
    /// The root, for clients.
    pub root: PathBuf,
    /// The root's private key, for proxies that forge.
    pub root_key: PathBuf,
}

impl fmt::Debug for Chain {
    /// Without the key, even a lab's: what ends up in logs by habit ends up there in earnest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("root", &self.root.pem).finish_non_exhaustive()
    }
}

impl Chain {
    /// A chain of the vendor's shape for `www.cisco.com`, until told otherwise.
    #[must_use]
    pub fn builder() -> ChainBuilder {
        let noon =
            |year, month, day| date(year, month, day).in_tz("UTC").map_or(Timestamp::UNIX_EPOCH, |at| at.timestamp());
        ChainBuilder {
            root_name: None,
            presented: Presented::default(),
            usage: Usage::default(),
            names: vec!["www.cisco.com".to_owned()],
            leaf_valid: (noon(2024, 1, 1), noon(2034, 1, 1)),
            ca_valid: (noon(2014, 1, 16), noon(2034, 1, 16)),
            keys: Keys::default(),
        }
    }

    /// The same certificates and key, presented otherwise.
    #[must_use]
    pub fn presenting(&self, presented: Presented) -> Self {
        Self { presented, ..self.clone() }
    }

    fn in_order(&self) -> Vec<&Made> {
        let Self { leaf, intermediate, root, extras: [before, after], .. } = self;
        match self.presented {
            Presented::Whole => vec![leaf, intermediate, root],
            Presented::WithoutRoot => vec![leaf, intermediate],
            Presented::WithoutIntermediate => vec![leaf, root],
            Presented::WrongOrder => vec![leaf, root, intermediate],
            Presented::WithExtras => vec![leaf, before, intermediate, after, root],
            Presented::LeafOnly => vec![leaf],
        }
    }

    /// The certificates in the handshake: three, the root among them, as the vendor sends them, until told otherwise.
    #[must_use]
    pub fn presented(&self) -> Vec<CertificateDer<'static>> {
        self.in_order().into_iter().map(|made| made.der.clone()).collect()
    }

    /// The same as a PEM file for servers that read one.
    #[must_use]
    pub fn presented_pem(&self) -> String {
        self.in_order().into_iter().map(|made| made.pem.as_str()).collect()
    }

    /// Writes what other programs read, such as nginx and `openssl s_server`, into a directory that is there.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write_pem(&self, directory: &Path) -> Result<PemFiles, LabError> {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).map_err(|source| LabError::Write { path: path.clone(), source })?;
            Ok(path)
        };
        let rest: String = self.in_order().into_iter().skip(1).map(|made| made.pem.as_str()).collect();
        Ok(PemFiles {
            chain: write("chain.pem", &self.presented_pem())?,
            leaf: write("leaf.pem", &self.leaf.pem)?,
            rest: write("rest.pem", &rest)?,
            key: write("key.pem", &self.leaf_key_pem)?,
            root: write("root.pem", &self.root.pem)?,
            root_key: write("root-key.pem", &self.root_key_pem)?,
        })
    }

    /// The root's private key as PEM (PKCS #8), for a proxy that forges certificates.
    #[must_use]
    pub fn root_key_pem(&self) -> &str {
        &self.root_key_pem
    }

    /// The leaf's private key as PEM (PKCS #8).
    #[must_use]
    pub fn leaf_key_pem(&self) -> &str {
        &self.leaf_key_pem
    }

    /// The root as the only anchor.
    ///
    /// # Errors
    /// The root is not a CA's certificate, which it is.
    pub fn anchors(&self) -> Result<Anchors, crate::AnchorError> {
        Anchors::from_pem(self.root.pem.as_bytes(), "the lab's root").map(Anchors::from)
    }

    /// A server's TLS settings with this chain.
    ///
    /// # Errors
    /// rustls refuses chain or key.
    pub fn server_config(&self, versions: Versions) -> Result<ServerConfig, LabError> {
        let versions: &[&'static SupportedProtocolVersion] = match versions {
            Versions::Tls12Only => &[&rustls::version::TLS12],
            Versions::Tls12And13 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        };
        let key = PrivateKeyDer::from_pem_slice(self.leaf_key_pem.as_bytes()).map_err(LabError::KeyPem)?;
        ServerConfig::builder_with_provider(Arc::clone(&provider()))
            .with_protocol_versions(versions)
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(self.presented(), key))
            .map_err(LabError::Config)
    }
}

fn params(subject: &[(&str, &str)], (not_before, not_after): (Timestamp, Timestamp)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (attribute, value) in subject {
        let kind = match *attribute {
            "C" => DnType::CountryName,
            "ST" => DnType::StateOrProvinceName,
            "L" => DnType::LocalityName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            _ => DnType::CommonName,
        };
        params.distinguished_name.push(kind, *value);
    }
    // rcgen speaks `time`, this house speaks jiff; seconds since 1970 are common to both.
    let at = |timestamp: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1)
            + std::time::Duration::from_secs(u64::try_from(timestamp.as_second()).unwrap_or_default())
    };
    params.not_before = at(not_before);
    params.not_after = at(not_after);
    params
}

fn san(name: &str) -> Result<SanType, LabError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => {
            let name = name.try_into().map_err(|_| LabError::Name { name: name.to_owned() })?;
            Ok(SanType::DnsName(name))
        }
    }
}
