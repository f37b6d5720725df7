//! Earlier signed metadata: what it was is in nobody's tree any more, and headends hold it.

use std::sync::Arc;

use bundles::Digest;

use crate::publish::{Published, Repository, Role, Served};
use crate::store::MetadataHistory;

/// Versions of each that are kept. An origin makes one with each release and every six hours: a headend that was away over
/// a weekend still holds one of them.
const KEPT: usize = 12;

/// Timestamp, snapshot and targets of each repository that is served, by the name under which they have a history.
pub(super) fn current(published: &Published) -> Vec<(String, Arc<Served>)> {
    let mut current = Vec::new();
    for repository in Repository::ALL {
        for role in [Role::Timestamp, Role::Snapshot, Role::Targets] {
            let served = published.metadata(repository, role);
            current.extend(served.map(|served| (format!("{}/{role}.json", repository.folder()), served.clone())));
        }
    }
    current
}

/// Puts what is served now before what was: `None` where it stands there already.
pub(super) fn with(history: &MetadataHistory, current: &[(String, Arc<Served>)]) -> Option<MetadataHistory> {
    let mut now = MetadataHistory::new();
    for (name, served) in current {
        let earlier = history.get(name).into_iter().flatten().filter(|earlier| **earlier != served.sha256);
        let versions: Vec<Digest> = [served.sha256].into_iter().chain(earlier.copied()).take(KEPT + 1).collect();
        now.insert(name.clone(), versions);
    }
    (now != *history).then_some(now)
}
