//! The certificates that upstream presented last.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// In the catalog: a restart does not make the certificates unknown.
pub(super) const STATE: &str = "upstream_chain";

/// Longer chains are nobody's; positions are metric labels, so their number is bounded.
const MAX_POSITIONS: usize = 10;

/// Whose chain a certificate was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// One certificate, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    role: HostRole,
    position: usize,
    not_after: Timestamp,
}

/// When each certificate of the chains that were presented last ends, by role of the host and position (0 is the leaf).
#[derive(Debug, Default)]
pub struct UpstreamChain(Mutex<BTreeMap<(HostRole, usize), Timestamp>>);

impl UpstreamChain {
    /// Learns what a run's connections presented. A run that resumed earlier sessions saw no chain; then what was known
    /// stays. Whether anything is other than it was.
    pub fn learn(&self, index_host: Option<&str>, verifier: &certs::PinnedVerifier) -> bool {
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
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = !seen.is_empty() && *known != seen;
        if is_news {
            *known = seen;
        }
        is_news
    }

    pub(super) fn from_kept(kept: Vec<Kept>) -> Self {
        let kept = kept.into_iter().filter(|kept| kept.position < MAX_POSITIONS);
        Self(Mutex::new(kept.map(|kept| ((kept.role, kept.position), kept.not_after)).collect()))
    }

    pub(super) fn to_keep(&self) -> Vec<Kept> {
        let keep = |((role, position), not_after)| Kept { role, position, not_after };
        self.not_after().into_iter().map(keep).collect()
    }

    /// What is known.
    #[must_use]
    pub fn not_after(&self) -> BTreeMap<(HostRole, usize), Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::testing::{World, start};

    #[tokio::test]
    async fn certificates_are_known_after_a_restart() {
        let World { directory, config, store, publisher, .. } = World::new();
        drop((store, publisher));
        let app = App::open(config.clone(), None, start).await.unwrap().app;
        let chain = BTreeMap::from([((HostRole::Index, 0), start()), ((HostRole::Archives, 1), Timestamp::UNIX_EPOCH)]);
        let app = App { upstream_chain: UpstreamChain(Mutex::new(chain.clone())), ..app };
        app.keep_upstream_chain().unwrap();
        drop(app);
        let app = App::open(config, None, start).await.unwrap().app;
        assert_eq!(app.upstream_chain.not_after(), chain);
        let text = app.metrics.render(&app.facts()).unwrap();
        let name = "posture_feed_upstream_certificate_not_after_timestamp_seconds";
        let line = format!("{name}{{host_role=\"index\",position=\"0\"}} {}\n", start().as_second());
        assert!(text.contains(&line), "{text}");
        drop(directory);
    }
}
