//! TLS to the host, held to its anchors.

use std::sync::Arc;
use std::time::Instant;

use certs::{Anchor, Anchors, CertificateFacts, PinnedVerifier, TlsFailure};
use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Dialer, Io, Step, Target};
use crate::upstream::UpstreamError;

/// What is spoken inside. HTTP/2 would gain nothing for a handful of files, one after the other.
const ALPN: &[u8] = b"http/1.1";

pub(super) fn connector(verifier: &Arc<PinnedVerifier>) -> TlsConnector {
    let mut config = certs::client_config(Arc::clone(verifier));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config).into()
}

impl Dialer {
    /// TLS to the host over whatever leads there.
    pub(super) async fn secure(
        &self,
        target: &Target,
        proxy: Option<&str>,
        io: Box<dyn Io>,
    ) -> Result<(TlsStream<Box<dyn Io>>, String), UpstreamError> {
        let started = Instant::now();
        let name = ServerName::try_from(target.bare().to_owned())
            .map_err(|source| UpstreamError::Dns { host: target.host.clone(), source: source.into() })?;
        let handshake = tokio::time::timeout(self.timeouts.tls, self.tls.connect(name, io)).await;
        let stream = handshake
            .map_err(|_| UpstreamError::Timeout {
                host: by(target, proxy),
                act: "complete a TLS handshake",
                limit: self.timeouts.tls,
                step: Step::Tls,
            })?
            .map_err(|error| match certs::failure_in(&error) {
                Some(failure) => self
                    .intercepted(target, proxy, &failure)
                    .unwrap_or_else(|| UpstreamError::Tls { host: target.shown(), failure }),
                None => UpstreamError::Broken { host: by(target, proxy), step: Step::Tls, source: error.into() },
            })?;
        let seen = negotiated(stream.get_ref().1);
        self.saw(Step::Tls, target.authority(), seen.clone(), started.elapsed());
        Ok((stream, seen))
    }

    /// Whether it is the proxy that answers in the host's place: the chain leads neither to an anchor nor to any root
    /// that the public trusts, and does not look like one that merely lacks a link.
    fn intercepted(&self, target: &Target, proxy: Option<&str>, failure: &TlsFailure) -> Option<UpstreamError> {
        let proxy = proxy?.to_owned();
        let (root, sha256) = match failure {
            TlsFailure::UnknownIssuer { root: Some(root) } if root.is_public => return None,
            TlsFailure::UnknownIssuer { root: Some(root) } => (Some(root.name.clone()), root.sha256.clone()),
            TlsFailure::MissingIntermediate { issuer, .. } if self.is_known_organisation(target, issuer) => {
                return None;
            }
            TlsFailure::UnknownIssuer { root: None } | TlsFailure::MissingIntermediate { .. } => (None, None),
            TlsFailure::Namesake { name, .. } => (Some(name.clone()), None),
            TlsFailure::Expired { .. }
            | TlsFailure::NotYetValid { .. }
            | TlsFailure::Name { .. }
            | TlsFailure::WrongUse { .. }
            | TlsFailure::Other { .. } => return None,
        };
        let chain = self.verifier.presented(target.bare())?;
        let facts: Vec<CertificateFacts> = chain.facts().into_iter().filter_map(Result::ok).collect();
        let issuer = facts.first()?.issuer.clone();
        let sha256 = sha256.or_else(|| facts.get(1..)?.last().map(|last| last.sha256.clone()));
        Some(UpstreamError::Intercepted { host: target.shown(), proxy, issuer, root, sha256 })
    }

    /// Whether a certificate's issuer is of a company that has a root, here or among the public ones: then its
    /// certificate is missing. A proxy forges with the name of whoever runs it.
    fn is_known_organisation(&self, target: &Target, issuer: &str) -> bool {
        let public = Anchors::all_public();
        let anchors = self.verifier.anchors_for(target.bare()).iter().chain(public.iter());
        anchors.filter_map(Anchor::organization).any(|name| {
            let part = format!("O={name}");
            issuer == part || issuer.ends_with(&format!(", {part}")) || issuer.contains(&format!("{part}, "))
        })
    }
}

/// The host, and the proxy that may be what failed.
fn by(target: &Target, proxy: Option<&str>) -> String {
    proxy.map_or_else(|| target.shown(), |proxy| format!("{} (through the proxy {proxy})", target.shown()))
}

/// `TLSv1.3, TLS13_AES_256_GCM_SHA384, X25519`
pub(super) fn negotiated(connection: &ClientConnection) -> String {
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let group = connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str());
    let parts: Vec<&str> = [version, suite, group].into_iter().flatten().collect();
    parts.join(", ")
}
