//! What is typed in ISE so that it updates from here.

use bundles::{Component, Version};
use certs::CertificateFacts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::app::certificate::ServerCertificate;

/// Below the public URL.
const INDEX: &str = "web/secure/spa/posture-update.xml";

/// What the log of the Primary Admin node is looked at with.
const LOG_COMMAND: &str = "show logging application ise-psc.log tail";

/// What to type in ISE, and what to see there afterwards.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Guide {
    /// For *Update Feed URL*; absent while it is not known where the server is reached.
    pub update_feed_url: Option<String>,
    /// Whether `[serve] public_url` says so, rather than the listening address.
    pub public_url_is_set: bool,
    /// The authority to import; absent where the server does not answer by TLS.
    pub certificate: Option<GuideCertificate>,
    /// The host for the list of those that bypass ISE's proxy.
    pub proxy_bypass: Option<String>,
    /// On the Primary Admin node.
    pub log_command: String,
    /// The versions that *Update Information* shows afterwards.
    pub versions: Vec<VersionRow>,
}

/// The certificate to import into ISE's *Trusted Certificates*.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GuideCertificate {
    /// Whose it is.
    pub subject: String,
    /// SHA-256 of the whole certificate, in hex; absent where the certificate is not among those that the server has.
    pub sha256: Option<String>,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_after: Option<Timestamp>,
    /// The file on the server that has it, as its last certificate.
    pub file: String,
}

/// A row of *Update Information*.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionRow {
    /// As ISE calls it.
    pub label: String,
    /// Absent where the newest release has none.
    pub version: Option<String>,
}

impl App {
    /// What to type in ISE.
    #[must_use]
    pub fn ise_guide(&self) -> Guide {
        let newest = self.newest();
        let version = |component: &Component| newest.as_ref().and_then(|newest| newest.version_of(component));
        let rows = Component::KNOWN.into_iter().filter_map(|component| {
            Some(VersionRow { label: component.label()?.to_owned(), version: version(&component).map(Version::short) })
        });
        let url = self.publisher.public_url();
        Guide {
            update_feed_url: url.as_ref().and_then(|url| url.join(INDEX).ok()).map(|url| url.to_string()),
            public_url_is_set: self.config.serve.public_url.is_some(),
            certificate: self.guide_certificate(),
            proxy_bypass: url.as_ref().and_then(|url| url.host_str()).map(str::to_owned),
            log_command: LOG_COMMAND.to_owned(),
            versions: rows.collect(),
        }
    }

    fn guide_certificate(&self) -> Option<GuideCertificate> {
        let files = self.config.listen.tls.as_ref()?;
        let file = files.certificate.display().to_string();
        let chain = match self.certificate.get() {
            Some(certificate) => certificate.presented().chain(),
            // A command without a server, which is to say what the server will.
            None => ServerCertificate::open(files, self.now()).ok()?.presented().chain(),
        };
        let top = CertificateFacts::from_der(chain.last()?).ok()?;
        if top.is_ca && top.subject == top.issuer {
            let CertificateFacts { subject, sha256, not_after, .. } = top;
            return Some(GuideCertificate { subject, sha256: Some(sha256), not_after: Some(not_after), file });
        }
        // A server need not send its root, and most do not.
        Some(GuideCertificate { subject: top.issuer, sha256: None, not_after: None, file })
    }
}
