//! What the chains of all runs teach: what was presented last, what was accepted last, and what changed in between.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{CertificateRecord, ChainRecord, HostRole, MAX_CHAINS};
use super::records::RunRecord;

/// What runs taught of upstream's certificates. It outlives the runs that are forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChainFacts {
    /// The newest run that was presented any chain, and its chains.
    pub presented: Option<PresentedIn>,
    /// Each host's chain that was accepted last.
    pub accepted: Vec<AcceptedChain>,
    /// Each host's last change of issuer or root.
    pub changes: Vec<ChainChange>,
}

/// The chains of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentedIn {
    /// The run's number.
    pub run: u64,
    /// When it began.
    pub at: Timestamp,
    /// What it was presented.
    pub chains: Vec<ChainRecord>,
}

/// A chain that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedChain {
    /// Whose.
    pub host: String,
    /// When it was accepted last.
    pub at: Timestamp,
    /// Who vouches for it.
    pub vouched_by: Authorities,
    /// Its certificates.
    pub certificates: Vec<AcceptedCertificate>,
}

/// A certificate of a chain that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedCertificate {
    /// Where in the handshake; 0 is the leaf.
    pub position: usize,
    /// Whose it is.
    pub subject: String,
    /// SHA-256 of the whole certificate, in hex.
    pub sha256: String,
    /// Valid until.
    pub not_after: Timestamp,
    /// When it was accepted first.
    pub first_seen: Timestamp,
}

/// Who vouches for a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorities {
    /// Who signed it.
    pub issuer: Authority,
    /// Where the chain ends.
    pub root: Authority,
}

/// An issuer or a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its distinguished name.
    pub name: String,
    /// SHA-256 of its certificate, in hex; absent where that was not presented.
    pub sha256: Option<String>,
}

/// A host's chain led elsewhere than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainChange {
    /// Whose chain.
    pub host: String,
    /// Who vouched for the chain that was accepted last.
    pub before: Authorities,
    /// Who vouches for what is presented now.
    pub after: Authorities,
    /// When the run began that saw it first.
    pub since: Timestamp,
    /// Whether the chain was accepted.
    pub trusted: bool,
}

impl Authorities {
    /// As the chain's own certificates tell it, in whichever order they came.
    fn of(chain: &ChainRecord) -> Option<Self> {
        let signer =
            |of: &CertificateRecord| chain.certificates.iter().find(|other| other.is_ca && other.subject == of.issuer);
        let leaf = chain.certificates.iter().find(|certificate| certificate.position == 0)?;
        let mut top = leaf;
        // Each step is one of the chain's certificates; two that sign each other must not make it endless.
        for _ in &chain.certificates {
            match signer(top) {
                Some(next) if next.sha256 != top.sha256 => top = next,
                Some(_) | None => break,
            }
        }
        let authority = |of: &CertificateRecord| Authority {
            name: of.issuer.clone(),
            sha256: signer(of).map(|s| s.sha256.clone()),
        };
        Some(Self { issuer: authority(leaf), root: authority(top) })
    }

    fn differ(&self, other: &Self) -> bool {
        self.issuer.differs(&other.issuer) || self.root.differs(&other.root)
    }
}

impl Authority {
    /// Whether two are certainly not the same: a server need not send its root, and may begin or cease to.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        let other_certificate = matches!((&self.sha256, &other.sha256), (Some(one), Some(two)) if one != two);
        self.name != other.name || other_certificate
    }
}

impl ChainFacts {
    /// When each certificate of the chains that were presented last ends, by role of the host and position.
    #[must_use]
    pub fn not_after(&self) -> BTreeMap<(HostRole, usize), Timestamp> {
        let mut ends = BTreeMap::new();
        for chain in self.presented.iter().flat_map(|presented| &presented.chains) {
            for certificate in &chain.certificates {
                // Several hosts share a role: the one that ends first is the one to know of.
                let soonest = ends.entry((chain.role, certificate.position)).or_insert(certificate.not_after);
                *soonest = certificate.not_after.min(*soonest);
            }
        }
        ends
    }

    /// Learns from a run; from the same run again, nothing more.
    pub(super) fn learn(&mut self, run: &RunRecord) {
        if run.chains.is_empty() {
            return;
        }
        for chain in &run.chains {
            self.learn_chain(chain, run.started);
        }
        self.presented = Some(PresentedIn { run: run.id, at: run.started, chains: run.chains.clone() });
    }

    fn learn_chain(&mut self, chain: &ChainRecord, at: Timestamp) {
        let Some(vouched_by) = Authorities::of(chain) else { return };
        let known = self.accepted.iter().find(|known| known.host == chain.host);
        let last = self.changes.iter().find(|change| change.host == chain.host);
        let change = match known {
            Some(known) if known.vouched_by.differ(&vouched_by) => match last {
                // Refused again: it is news only once.
                Some(last) if !last.trusted && !chain.trusted && last.after == vouched_by => Some(last.clone()),
                Some(_) | None => Some(ChainChange {
                    host: chain.host.clone(),
                    before: known.vouched_by.clone(),
                    after: vouched_by.clone(),
                    since: at,
                    trusted: chain.trusted,
                }),
            },
            // What was refused is gone, and what was known is back.
            Some(_) | None => last.filter(|last| last.trusted).cloned(),
        };
        if chain.trusted {
            let first_seen = |sha256: &str| {
                let earlier = known.into_iter().flat_map(|known| &known.certificates);
                earlier.filter(|earlier| earlier.sha256 == sha256).map(|earlier| earlier.first_seen).min().unwrap_or(at)
            };
            let certificates = chain.certificates.iter().map(|certificate| AcceptedCertificate {
                position: certificate.position,
                subject: certificate.subject.clone(),
                sha256: certificate.sha256.clone(),
                not_after: certificate.not_after,
                first_seen: first_seen(&certificate.sha256),
            });
            let certificates = certificates.collect();
            let accepted = AcceptedChain { host: chain.host.clone(), at, vouched_by, certificates };
            self.accepted.retain(|known| known.host != chain.host);
            self.accepted.insert(0, accepted);
            // Hosts that the configuration no longer names go in time.
            self.accepted.truncate(MAX_CHAINS);
        }
        self.changes.retain(|change| change.host != chain.host);
        self.changes.extend(change);
        self.changes.retain(|change| self.accepted.iter().any(|known| known.host == change.host));
    }
}

#[cfg(test)]
mod tests;
