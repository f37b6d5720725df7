//! Certificates that clients show: everybody is let in, and whoever shows one can be asked afterwards whom it names.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};

use crate::{Anchors, CertificateFacts, PinnedVerifier, provider};

/// Asks clients for a certificate of certain authorities. The handshake only proves that whoever shows one has its key; whether
/// it is to be believed is decided where that matters, by [`ClientVerifier::names`]: a certificate that ended yesterday must not keep
/// a client from what anyone may have.
pub struct ClientVerifier {
    inner: Arc<dyn ClientCertVerifier>,
}

/// Why a client's certificate is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefused {
    /// It is not valid at this time.
    #[error("the client certificate has ended, or is not valid yet; renew it, and check both clocks")]
    Expired,
    /// Another authority vouches for it, or none.
    #[error("no authority that this server trusts for clients vouches for the client certificate")]
    UnknownAuthority,
    /// Something else is wrong with it.
    #[error("the client certificate cannot be used ({detail})")]
    Unusable {
        /// As rustls says it.
        detail: String,
    },
}

/// Why clients cannot be asked for certificates.
#[derive(Debug, thiserror::Error)]
#[error("the verifier of client certificates cannot be made")]
pub struct ClientVerifierError(#[from] rustls::server::VerifierBuilderError);

impl ClientVerifier {
    /// That believes these authorities.
    ///
    /// # Errors
    /// There is none.
    pub fn new(anchors: &Anchors) -> Result<Arc<Self>, ClientVerifierError> {
        let roots: RootCertStore = anchors.iter().map(|anchor| anchor.trust().clone()).collect();
        let inner =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).allow_unauthenticated().build()?;
        Ok(Arc::new(Self { inner }))
    }

    /// Whom a chain that was shown in a handshake (the leaf first) names: the alternative names of its leaf. A subject's common name
    /// is none (RFC 6125).
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn names(&self, shown: &[CertificateDer<'_>], now: Timestamp) -> Result<Vec<String>, ClientRefused> {
        let unusable = |detail: String| ClientRefused::Unusable { detail };
        let (leaf, intermediates) = shown.split_first().ok_or_else(|| unusable("there is none".to_owned()))?;
        let seconds = u64::try_from(now.as_second()).map_err(|_| ClientRefused::Expired)?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.inner.verify_client_cert(leaf, intermediates, at).map_err(|error| match error {
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => ClientRefused::Expired,
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                ClientRefused::UnknownAuthority
            }
            error => unusable(error.to_string()),
        })?;
        let facts = CertificateFacts::from_der(leaf).map_err(|error| unusable(error.to_string()))?;
        Ok(facts.sans)
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A client's TLS settings with that verifier, that show this chain (the leaf first) to servers that ask for one.
///
/// # Errors
/// Chain and key do not belong together, or the key is of no kind that is known.
pub fn client_config_showing(
    verifier: Arc<PinnedVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)
}
