//! The chain that the server presented, also where it was refused.

use bundles::Reason;
use bundles::report::Failure;
use certs::{CertificateFacts, PresentedChain};
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

/// A certificate at its place.
#[derive(Debug, Clone, Serialize)]
pub struct CertificateSeen {
    /// From 0.
    pub position: usize,
    /// What it says.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub facts: Option<CertificateFacts>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl ChainFacts {
    /// Of what a host presented.
    #[must_use]
    pub fn of(host: &str, chain: &PresentedChain) -> Self {
        let seen = |(position, facts)| match facts {
            Ok(facts) => CertificateSeen { position, facts: Some(facts), unreadable: None },
            Err(error) => {
                // A failure's message gives no orders to terminals.
                let failure = Failure::new(Reason::TlsUntrusted, format!("{error}"));
                CertificateSeen { position, facts: None, unreadable: Some(failure.message) }
            }
        };
        Self {
            host: host.to_owned(),
            is_trusted: chain.outcome.is_ok(),
            refused: chain.outcome.as_ref().err().map(ToString::to_string),
            certificates: chain.facts().into_iter().enumerate().map(seen).collect(),
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

impl CertificateSeen {
    fn to_lines(&self) -> Vec<String> {
        let position = self.position;
        match (&self.facts, &self.unreadable) {
            (Some(facts), _) => vec![
                format!("{position}  subject  {}", facts.subject),
                format!("   issuer   {}", facts.issuer),
                format!("   serial   {}", facts.serial),
                format!("   valid    {} to {}", facts.not_before, facts.not_after),
                format!("   SHA-256  {}", facts.sha256),
            ],
            (None, unreadable) => {
                vec![format!("{position}  cannot be read: {}", unreadable.as_deref().unwrap_or_default())]
            }
        }
    }
}
