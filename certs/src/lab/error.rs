//! Why there is no chain.

use std::path::PathBuf;

/// Why there is no chain.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Not a host name.
    #[error("{name:?} is neither a host name nor an address")]
    Name {
        /// As given.
        name: String,
    },
    /// No key.
    #[error("a key for the lab's chain cannot be made")]
    Key(#[source] rcgen::Error),
    /// No certificate.
    #[error("a certificate for the lab's chain cannot be made")]
    Certificate(#[source] rcgen::Error),
    /// The key's own PEM does not read back.
    #[error("the lab's own key does not read back")]
    KeyPem(#[source] rustls_pki_types::pem::Error),
    /// A file cannot be written.
    #[error("the lab cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// rustls refuses.
    #[error("rustls refuses the lab's chain")]
    Config(#[source] rustls::Error),
}
