//! The certificates that upstream presented, as a run's record keeps them.

use certs::{CertificateFacts, PinnedVerifier, PresentedChain};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Chains in one record. A configuration names a handful of hosts; what comes beyond is a run that went astray, and a
/// thousand records are kept.
pub const MAX_CHAINS: usize = 8;

/// Certificates of one chain. Longer chains are nobody's, and positions are metric labels, so their number is bounded.
pub const MAX_POSITIONS: usize = 10;

/// Names of one certificate: the leaf of a content network has hundreds, sixteen show whose it is, and the rest is counted.
pub const MAX_SANS: usize = 16;

/// Characters of one text in a certificate. RFC 5280 allows 64 for a common name and DNS 253 for a host; whoever sits in
/// between may send anything.
pub const MAX_TEXT: usize = 300;

/// Characters of the sentence why a chain was refused: it names two times, or a root and what to do about it.
pub const MAX_FAILURE: usize = 1_000;

/// Whose chain a certificate was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostRole {
    /// The index's own host.
    Index,
    /// Another host that archives may come from.
    Archives,
}

impl HostRole {
    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Archives => "archives",
        }
    }
}

/// What a host presented in a run, whether or not it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainRecord {
    /// The host that was asked for.
    pub host: String,
    /// What it was asked for.
    pub role: HostRole,
    /// Whether it was accepted.
    pub trusted: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// As presented, the leaf first; one that cannot be read is left out.
    pub certificates: Vec<CertificateRecord>,
    /// How many more were presented than are kept here, or could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_certificates: usize,
}

/// A certificate as it was presented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateRecord {
    /// Where in the handshake; 0 is the leaf.
    pub position: usize,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The issuer's number for it, in hex.
    pub serial: String,
    /// Valid from.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// Valid until.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// The host names and addresses it is for, the first of them.
    #[serde(default)]
    pub sans: Vec<String>,
    /// How many more it is for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_sans: usize,
    /// SHA-256 of the whole certificate, in hex.
    pub sha256: String,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// The kind and size of its key.
    pub key: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What the connections of a run presented, the index's hosts first.
#[must_use]
pub fn presented<'h>(verifier: &PinnedVerifier, index_hosts: impl Iterator<Item = &'h str>) -> Vec<ChainRecord> {
    let index_hosts: Vec<_> = index_hosts.map(|host| host.trim_matches(['[', ']'])).collect();
    let record = |(host, chain): (String, PresentedChain)| {
        // URLs write IPv6 addresses in brackets, certificates do not.
        let is_index = index_hosts.iter().any(|index| index.eq_ignore_ascii_case(&host));
        ChainRecord::new(&host, if is_index { HostRole::Index } else { HostRole::Archives }, &chain)
    };
    let mut records: Vec<_> = verifier.all_presented().into_iter().map(record).collect();
    records.sort_by_key(|record| record.role);
    records.truncate(MAX_CHAINS);
    records
}

impl ChainRecord {
    /// What is kept of a chain.
    #[must_use]
    pub fn new(host: &str, role: HostRole, chain: &PresentedChain) -> Self {
        let facts = chain.facts();
        let count = facts.len();
        let read = facts.into_iter().enumerate().take(MAX_POSITIONS);
        let certificates: Vec<_> =
            read.filter_map(|(position, facts)| Some(CertificateRecord::new(position, facts.ok()?))).collect();
        Self {
            host: plain(host, MAX_TEXT),
            role,
            trusted: chain.outcome.is_ok(),
            failure: chain.outcome.as_ref().err().map(|failure| plain(&failure.to_string(), MAX_FAILURE)),
            more_certificates: count - certificates.len(),
            certificates,
        }
    }
}

impl CertificateRecord {
    fn new(position: usize, facts: CertificateFacts) -> Self {
        let CertificateFacts { subject, issuer, serial, not_before, not_after, sans, sha256, is_ca, key } = facts;
        Self {
            position,
            subject: plain(&subject, MAX_TEXT),
            issuer: plain(&issuer, MAX_TEXT),
            serial: plain(&serial, MAX_TEXT),
            not_before,
            not_after,
            more_sans: sans.len().saturating_sub(MAX_SANS),
            sans: sans.iter().take(MAX_SANS).map(|name| plain(name, MAX_TEXT)).collect(),
            sha256,
            is_ca,
            key: plain(&key, MAX_TEXT),
        }
    }
}

/// Whoever sits in between writes these, and terminals obey control characters.
fn plain(text: &str, limit: usize) -> String {
    let shown = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    let mut plain: String = text.chars().take(limit).map(shown).collect();
    if text.chars().nth(limit).is_some() {
        plain.push('…');
    }
    plain
}

/// A distinguished name's common name; the whole name where it has none.
#[must_use]
pub fn common_name(subject: &str) -> String {
    let mut parts = subject.split(", ").skip_while(|part| !part.starts_with("CN="));
    let Some(name) = parts.next().and_then(|part| part.strip_prefix("CN=")) else { return subject.to_owned() };
    // A comma within the name: what follows it is no attribute of its own.
    parts.take_while(|part| !part.contains('=')).fold(name.to_owned(), |name, part| name + ", " + part)
}

#[cfg(test)]
mod tests;
