//! Earlier signed metadata: what it was is in nobody's tree any more, and headends hold it.

use std::sync::Arc;

use bundles::Digest;

use crate::publish::{Published, Repository, Role, Served};
use crate::store::MetadataHistory;

/// Versions that come with a release: an origin publishes one as soon as it can, and once more with its zip.
pub(super) const WITH_A_RELEASE: usize = 2;

/// Versions of each that are kept: for holders of the metadata of twelve earlier releases.
const KEPT: usize = 12 * WITH_A_RELEASE;

/// Snapshot and targets of each repository that is served, by the name under which they have a history. Not the timestamp, which
/// changes most often: nobody names the one that he holds.
pub(super) fn current(published: &Published) -> Vec<(String, Arc<Served>)> {
    let mut current = Vec::new();
    for repository in Repository::ALL {
        for role in [Role::Snapshot, Role::Targets] {
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
