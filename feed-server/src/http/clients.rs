//! Certificates that headends show instead of tokens (`[listen] client_ca`).

use std::path::Path;
use std::sync::Arc;

use actix_web::HttpRequest;
use bundles::Reason;
use certs::{Anchors, ClientVerifier};
use jiff::Timestamp;

use super::errors::Problem;
use super::server::ServerError;
use super::transport;

/// Who vouches for headends' certificates, for the handlers; nobody where the configuration names none.
#[derive(Debug, Clone, Default)]
pub struct Clients(pub Option<Arc<ClientVerifier>>);

impl Clients {
    /// Reads the authorities of a PEM file.
    ///
    /// # Errors
    /// It cannot be read, or holds none.
    pub fn of(file: Option<&Path>) -> Result<Self, ServerError> {
        let Some(file) = file else { return Ok(Self::default()) };
        // With a slash in it, so that it is a file's name and not that of a public root.
        let name = Path::new(".").join(file).display().to_string();
        let anchors = Anchors::load(&[name], Path::new("")).map_err(ServerError::ClientCa)?;
        Ok(Self(Some(ClientVerifier::new(&anchors).map_err(ServerError::Clients)?)))
    }

    /// Whether the request came over a connection that a certificate was shown in, and it is this headend's. `None` where none
    /// was shown, or nobody vouches for any.
    #[must_use]
    pub fn check(request: &HttpRequest, id: &str, now: Timestamp) -> Option<Result<(), Problem>> {
        let verifier = request.app_data::<Self>()?.0.as_ref()?;
        let shown = transport::shown(request)?;
        let refused = |detail: String| Problem::new(Reason::Unauthorized, detail);
        Some(match verifier.names(&shown, now) {
            Ok(names) if names.iter().any(|name| name == id) => Ok(()),
            Ok(_) => Err(refused(format!("the client certificate does not name {id:?} among its alternative names"))),
            Err(error) => Err(refused(error.to_string())),
        })
    }
}
