//! The rustls verifier that holds a connection to exactly the given anchors, and records what was presented.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::diagnose::diagnose;
use crate::{Anchors, CertificateFacts, FactsError, TlsFailure, failure_of};

/// How many hosts' chains are remembered. A configuration names a handful; redirects and a hostile index must not make
/// the record grow without end. The host seen longest ago goes first.
const MAX_HOSTS: usize = 64;

/// The chain that a host presented, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedChain {
    /// As presented: the leaf first, then whatever the server sent along.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Whether it was trusted.
    pub outcome: Result<(), TlsFailure>,
    /// When it was checked, by this machine's clock.
    pub at: Timestamp,
}

impl PresentedChain {
    /// What the certificates say, in the order presented.
    #[must_use]
    pub fn facts(&self) -> Vec<Result<CertificateFacts, FactsError>> {
        self.certificates.iter().map(|der| CertificateFacts::from_der(der)).collect()
    }
}

/// Anchors, and rustls's verifier for them.
struct Trust {
    anchors: Anchors,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Trust {
    fn new(anchors: Anchors) -> Result<Self, VerifierError> {
        if anchors.is_empty() {
            return Err(VerifierError::NoAnchors);
        }
        let roots: RootCertStore = anchors.iter().map(|anchor| anchor.trust().clone()).collect();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(VerifierError::Verifier)?;
        Ok(Self { anchors, verifier })
    }

    /// rustls's verdict, and after a refusal the most useful reason for it.
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsFailure> {
        self.verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now).map_err(|error| {
            let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).collect();
            diagnose(&self.anchors, &chain, &name.to_str(), timestamp_of(now)).unwrap_or_else(|| failure_of(&error))
        })
    }
}

/// Times after the year 9999 are no clock's.
fn timestamp_of(now: UnixTime) -> Timestamp {
    let at = i64::try_from(now.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
    at.unwrap_or(Timestamp::MAX)
}

/// By what a host is known here. URLs write an IPv6 address in brackets, and rustls without; two forms of one host must
/// never be trusted differently.
fn key(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().map_or_else(|_| bare.to_ascii_lowercase(), |address| address.to_string())
}

/// Trusts a server if its chain leads to one of the anchors and is for its name. The anchors may differ from host to
/// host. Each full handshake is recorded by
/// server name, so that whoever made the connection can say later what was presented; a resumed session shows no
/// chain and leaves the record as it was.
pub struct PinnedVerifier {
    default: Trust,
    hosts: BTreeMap<String, Trust>,
    presented: Mutex<BTreeMap<String, PresentedChain>>,
}

impl PinnedVerifier {
    /// Trusts the anchors, and nothing else, for every host.
    ///
    /// # Errors
    /// There are no anchors.
    pub fn new(anchors: Anchors) -> Result<Arc<Self>, VerifierError> {
        Self::with_hosts(anchors, BTreeMap::new())
    }

    /// Trusts each host's own anchors where it has some, which then are all that is trusted for it, and the default
    /// for every other. Letter case does not matter, nor how an address is written.
    ///
    /// # Errors
    /// The default or a host has no anchors.
    pub fn with_hosts(default: Anchors, hosts: BTreeMap<String, Anchors>) -> Result<Arc<Self>, VerifierError> {
        let default = Trust::new(default)?;
        let own = |(host, anchors): (String, Anchors)| Ok((key(&host), Trust::new(anchors)?));
        let hosts = hosts.into_iter().map(own).collect::<Result<_, VerifierError>>()?;
        Ok(Arc::new(Self { default, hosts, presented: Mutex::default() }))
    }

    /// What is trusted where a host has no anchors of its own.
    #[must_use]
    pub fn anchors(&self) -> &Anchors {
        &self.default.anchors
    }

    /// What is trusted for the host.
    #[must_use]
    pub fn anchors_for(&self, host: &str) -> &Anchors {
        &self.trust_for(host).anchors
    }

    fn trust_for(&self, host: &str) -> &Trust {
        self.hosts.get(&key(host)).unwrap_or(&self.default)
    }

    /// The chain that the host presented last, if it presented any. Letter case does not matter, nor how an address is
    /// written.
    #[must_use]
    pub fn presented(&self, host: &str) -> Option<PresentedChain> {
        self.record().get(&key(host)).cloned()
    }

    /// Every host that presented a chain, with its last one.
    #[must_use]
    pub fn all_presented(&self) -> BTreeMap<String, PresentedChain> {
        self.record().clone()
    }

    /// A panic elsewhere while the lock was held leaves a map that is whole, if perhaps one entry short.
    fn record(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, PresentedChain>> {
        self.presented.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, host: String, chain: PresentedChain) {
        let mut record = self.record();
        if record.len() >= MAX_HOSTS && !record.contains_key(&host) {
            let oldest = record.iter().min_by_key(|(_, chain)| chain.at).map(|(host, _)| host.clone());
            if let Some(oldest) = oldest {
                record.remove(&oldest);
            }
        }
        record.insert(host, chain);
    }
}

impl fmt::Debug for PinnedVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.default.anchors.iter().map(crate::Anchor::name).collect();
        let hosts: Vec<&String> = self.hosts.keys().collect();
        f.debug_struct("PinnedVerifier").field("anchors", &names).field("hosts", &hosts).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let host = key(&server_name.to_str());
        let verified = self.trust_for(&host).verify(end_entity, intermediates, server_name, ocsp_response, now);
        let certificates =
            std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        let outcome = verified.as_ref().map(|_| ()).map_err(Clone::clone);
        self.remember(host, PresentedChain { certificates, outcome, at: timestamp_of(now) });
        // `failure_of` takes it out again on the other side of rustls.
        verified.map_err(|failure| CertificateError::Other(OtherError(Arc::new(failure))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.default.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.default.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.default.verifier.supported_verify_schemes()
    }
}

/// The crypto provider of the whole house: aws-lc-rs. Always given explicitly, never installed for the process.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A client's TLS settings with that verifier: TLS 1.2 and 1.3, no client certificate.
#[must_use]
pub fn client_config(verifier: Arc<PinnedVerifier>) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("aws-lc-rs has cipher suites for TLS 1.2 and for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// Whether a chain (the leaf first) is to be believed for a host at a given time, as a handshake would decide it. For
/// chains that came some other way: from a file, a capture, a record.
///
/// # Errors
/// Why it is not.
pub fn verify_chain(
    anchors: &Anchors,
    chain: &[CertificateDer<'_>],
    host: &str,
    now: Timestamp,
) -> Result<(), TlsFailure> {
    let other = |message: String| TlsFailure::Other { message };
    let (end_entity, intermediates) = chain.split_first().ok_or_else(|| other("the chain is empty".to_owned()))?;
    let name = ServerName::try_from(host).map_err(|error| other(format!("{host:?} is not a host name: {error}")))?;
    let seconds = u64::try_from(now.as_second()).map_err(|_| other(format!("{now} is before 1970")))?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let trust = Trust::new(anchors.clone()).map_err(|error| other(error.to_string()))?;
    trust.verify(end_entity, intermediates, &name, &[], at).map(|_| ())
}

/// Why there is no verifier or no configuration.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    /// Nothing to trust.
    #[error("there are no trust anchors, so that no server could be trusted; name at least one root")]
    NoAnchors,
    /// rustls refuses the verifier.
    #[error("the certificate verifier cannot be made")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
}
