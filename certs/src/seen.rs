//! The certificates of a presented chain at their places, for people and for support tickets.

use serde::Serialize;

use crate::facts::printable;
use crate::{CertificateFacts, PresentedChain};

/// A certificate at its place. It was presented, and need not be trusted, nor even one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateSeen {
    /// From 0, which is the host's own.
    pub position: usize,
    /// What it says.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub facts: Option<CertificateFacts>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl PresentedChain {
    /// Every certificate, in the order presented.
    #[must_use]
    pub fn seen(&self) -> Vec<CertificateSeen> {
        let seen = |(position, facts)| match facts {
            Ok(facts) => CertificateSeen { position, facts: Some(facts), unreadable: None },
            Err(error) => {
                let unreadable = Some(printable(&format!("{error}")));
                CertificateSeen { position, facts: None, unreadable }
            }
        };
        self.facts().into_iter().enumerate().map(seen).collect()
    }
}

impl CertificateSeen {
    /// A few lines: position, subject, issuer, serial, validity, SHA-256.
    #[must_use]
    pub fn to_lines(&self) -> Vec<String> {
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
