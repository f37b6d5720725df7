//! The rustls verifier that holds a connection to exactly the given anchors, and records what was presented.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

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

/// Trusts a server if its chain leads to one of the anchors and is for its name. Each full handshake is recorded by
/// server name, so that whoever made the connection can say later what was presented; a resumed session shows no
/// chain and leaves the record as it was.
pub struct PinnedVerifier {
    anchors: Anchors,
    inner: Arc<WebPkiServerVerifier>,
    presented: Mutex<BTreeMap<String, PresentedChain>>,
}

impl PinnedVerifier {
    /// Trusts the anchors, and nothing else.
    ///
    /// # Errors
    /// There are no anchors.
    pub fn new(anchors: Anchors) -> Result<Arc<Self>, VerifierError> {
        let inner = webpki_verifier(&anchors)?;
        Ok(Arc::new(Self { anchors, inner, presented: Mutex::default() }))
    }

    /// What is trusted.
    #[must_use]
    pub fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// The chain that the host presented last, if it presented any. Letter case does not matter.
    #[must_use]
    pub fn presented(&self, host: &str) -> Option<PresentedChain> {
        self.record().get(&host.to_ascii_lowercase()).cloned()
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
        let names: Vec<&str> = self.anchors.iter().map(crate::Anchor::name).collect();
        f.debug_struct("PinnedVerifier").field("anchors", &names).finish_non_exhaustive()
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
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let certificates =
            std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        let outcome = verified.as_ref().map(|_| ()).map_err(failure_of);
        let at = i64::try_from(now.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
        self.remember(
            server_name.to_str().to_ascii_lowercase(),
            PresentedChain { certificates, outcome, at: at.unwrap_or(Timestamp::MAX) },
        );
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
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
    let verifier = webpki_verifier(anchors).map_err(|error| other(error.to_string()))?;
    verifier
        .verify_server_cert(end_entity, intermediates, &name, &[], at)
        .map(|_| ())
        .map_err(|error| failure_of(&error))
}

fn webpki_verifier(anchors: &Anchors) -> Result<Arc<WebPkiServerVerifier>, VerifierError> {
    if anchors.is_empty() {
        return Err(VerifierError::NoAnchors);
    }
    let roots: RootCertStore = anchors.iter().map(|anchor| anchor.trust().clone()).collect();
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(VerifierError::Verifier)
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
