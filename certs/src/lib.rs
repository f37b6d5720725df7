//! Who is trusted to speak for a host: trust anchors, the rustls verifier that holds a connection to them and records
//! what was presented, and facts about certificates. Knows nothing of what a connection is for.
//!
//! What this crate checks: that a presented chain leads to one of exactly the given anchors (subject and public key),
//! is valid at the given time, is meant for TLS servers, and is for the host asked for. What it does *not* check:
//! revocation (the vendor's own headends do not either), certificate transparency, and the validity dates of the
//! anchors themselves, since an anchor is a subject and a key, not a certificate (RFC 5280, section 6.1.1).
//!
//! ```
//! let anchors = certs::Anchors::from(vec![certs::Anchors::named(certs::DEFAULT_ANCHOR)?]);
//! let verifier = certs::PinnedVerifier::new(anchors)?;
//! let config = certs::client_config(verifier.clone());
//! # let _ = config;
//! assert!(verifier.presented("www.cisco.com").is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod anchors;
mod client_certificate;
mod diagnose;
mod facts;
mod failure;
#[cfg(feature = "lab")]
pub mod lab;
mod seen;
mod verifier;

pub use anchors::{Anchor, AnchorError, Anchors, DEFAULT_ANCHOR, MAX_PEM_BYTES};
pub use client_certificate::{ClientRefused, ClientVerifier, ClientVerifierError, client_config_showing};
pub use facts::{CertificateFacts, FactsError};
pub use failure::{Misuse, RootSeen, TlsFailure, failure_in, failure_of};
pub use seen::CertificateSeen;
pub use verifier::{PinnedVerifier, PresentedChain, VerifierError, client_config, provider, verify_chain};
