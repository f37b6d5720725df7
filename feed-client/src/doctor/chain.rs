//! The chain that the server presented, also where it was refused.

use certs::{CertificateSeen, PresentedChain};
use serde::Serialize;

/// A chain as presented.
#[derive(Debug, Clone, Serialize)]
pub struct ChainFacts {
    /// The host that presented it.
    pub host: String,
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
            is_trusted: chain.outcome.is_ok(),
            refused: chain.outcome.as_ref().err().map(ToString::to_string),
            certificates: chain.seen(),
        }
    }

    /// How many, and which ends first.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = match self.certificates.len() {
            1 => "1 certificate".to_owned(),
            count => format!("{count} certificates"),
        };
        let ends = self.certificates.iter().filter_map(|seen| Some((seen.facts.as_ref()?.not_after, seen.position)));
        let first = ends
            .min()
            .map(|(at, position)| format!("; the first to end is number {position}, {}", at.strftime("%Y-%m-%d")));
        format!("{count}{}", first.unwrap_or_default())
    }

    /// A few lines for each certificate.
    #[must_use]
    pub fn to_lines(&self) -> Vec<String> {
        self.certificates.iter().flat_map(CertificateSeen::to_lines).collect()
    }
}
