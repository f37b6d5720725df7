//! What the API says of the certificate that the server presents.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::certificate::ServerCertificate;

/// The certificate that the server presents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerCertificateView {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names and addresses it is for.
    pub names: Vec<String>,
    /// SHA-256 of the whole certificate, in hex.
    pub sha256: String,
    /// Valid from.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// Valid until.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// Since when this process presents it.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Why what is in the files by now is not presented; absent where it is.
    pub refused: Option<String>,
}

impl ServerCertificateView {
    /// Of the one that is presented now.
    #[must_use]
    pub fn of(certificate: &ServerCertificate) -> Self {
        let presented = certificate.presented();
        let leaf = presented.leaf.clone();
        Self {
            subject: leaf.subject,
            issuer: leaf.issuer,
            names: leaf.sans,
            sha256: leaf.sha256,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            since: presented.since,
            refused: certificate.refused().map(|refused| refused.message),
        }
    }
}
