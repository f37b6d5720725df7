//! The chains that hosts presented, for people and for support tickets, also where they were refused.

use certs::{CertificateSeen, PinnedVerifier, PresentedChain};
use jiff::Timestamp;
use serde::Serialize;

/// A chain as presented.
#[derive(Debug, Clone, Serialize)]
pub struct ChainFacts {
    /// The host that presented it.
    pub host: String,
    /// When, by this machine's clock.
    pub at: Timestamp,
    /// Whether it was trusted.
    pub is_trusted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// In the order presented: 0 is the host's own.
    pub certificates: Vec<CertificateSeen>,
}

impl ChainFacts {
    /// Of what a host presented.
    #[must_use]
    pub fn of(host: &str, chain: &PresentedChain) -> Self {
        Self {
            host: host.to_owned(),
            at: chain.at,
            is_trusted: chain.outcome.is_ok(),
            refused: chain.outcome.as_ref().err().map(ToString::to_string),
            certificates: chain.seen(),
        }
    }

    /// Of every host that presented one.
    #[must_use]
    pub fn all(verifier: &PinnedVerifier) -> Vec<Self> {
        verifier.all_presented().iter().map(|(host, chain)| Self::of(host, chain)).collect()
    }

    /// The certificate that ends first, and when.
    #[must_use]
    pub fn first_to_end(&self) -> Option<(usize, Timestamp)> {
        let ends = self.certificates.iter().filter_map(|seen| Some((seen.position, seen.facts.as_ref()?.not_after)));
        ends.min_by_key(|(_, not_after)| *not_after)
    }

    /// The time in which all of its certificates are valid, where there is such a time.
    #[must_use]
    pub fn valid(&self) -> Option<(Timestamp, Timestamp)> {
        let facts = || self.certificates.iter().filter_map(|seen| seen.facts.as_ref());
        let from = facts().map(|facts| facts.not_before).max()?;
        let until = facts().map(|facts| facts.not_after).min()?;
        (from <= until).then_some((from, until))
    }

    /// A few lines for each certificate.
    #[must_use]
    pub fn to_lines(&self) -> Vec<String> {
        self.certificates.iter().flat_map(CertificateSeen::to_lines).collect()
    }
}
