//! The certificates that upstream presented last.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Longer chains are nobody's; positions are metric labels, so their number is bounded.
const MAX_POSITIONS: usize = 10;

/// Whose chain a certificate was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// When each certificate of the chains that were presented last ends, by role of the host and position (0 is the leaf).
#[derive(Debug, Default)]
pub struct UpstreamChain(Mutex<BTreeMap<(HostRole, usize), Timestamp>>);

impl UpstreamChain {
    /// Learns what a run's connections presented. A run that resumed earlier sessions saw no chain; then what was known
    /// stays.
    pub fn learn(&self, index_host: Option<&str>, verifier: &certs::PinnedVerifier) {
        let mut seen = BTreeMap::new();
        for (host, chain) in verifier.all_presented() {
            let own = index_host.is_some_and(|index| index.eq_ignore_ascii_case(&host));
            let role = if own { HostRole::Index } else { HostRole::Archives };
            for (position, facts) in chain.facts().into_iter().enumerate().take(MAX_POSITIONS) {
                let Ok(facts) = facts else { continue };
                // Several hosts share a role: the one that ends first is the one to know of.
                let soonest = seen.entry((role, position)).or_insert(facts.not_after);
                *soonest = facts.not_after.min(*soonest);
            }
        }
        if !seen.is_empty() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        }
    }

    /// What is known.
    #[must_use]
    pub fn not_after(&self) -> BTreeMap<(HostRole, usize), Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
