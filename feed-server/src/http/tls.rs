//! How the public listener speaks TLS.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;

use super::clients::Clients;
use crate::app::certificate::ServerCertificate;

/// TLS 1.3 and 1.2 with that certificate, HTTP/2 where the client speaks it.
///
/// What is offered is all that rustls has with aws-lc-rs: suites with ephemeral keys and AEAD alone, in the order of this server,
/// so that a client cannot choose a weaker one than both know. Tickets let clients come back without another handshake; their key
/// is in memory alone and is replaced every six hours, so that what was recorded cannot be opened with what is found here later.
///
/// # Errors
/// aws-lc-rs has no random numbers, or no suites.
pub fn config(certificate: Arc<ServerCertificate>, clients: &Clients) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(certs::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match &clients.0 {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier) as Arc<_>),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.ignore_client_order = true;
    config.ticketer = Ticketer::new()?;
    Ok(config)
}
