//! The version numbers of signed metadata, which come from a clock as much as from counting.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Repository, Store, StoreError};

/// Numbers that are left out after a restore beyond those that time gives: publications come in bursts, several within a second, and are
/// ahead of time then; and a clock may have been set back since.
const MARGIN: u64 = 1_000;

/// The last version number of each role but root, whose are counted. Those of the catalog outlive the tree, those of the tree a restored
/// catalog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Of targets.
    pub targets: u64,
    /// Of snapshot.
    pub snapshot: u64,
    /// Of timestamp.
    pub timestamp: u64,
}

impl Versions {
    /// What counts as used on a server that is restored at `now` from a backup with these: clients may have seen later ones, of which
    /// nothing is known any more.
    #[must_use]
    pub(super) fn after_restore(self, now: Timestamp) -> Self {
        let now = u64::try_from(now.as_second()).unwrap_or_default();
        let above = |kept: u64| kept.max(now).saturating_add(MARGIN);
        Self { targets: above(self.targets), snapshot: above(self.snapshot), timestamp: above(self.timestamp) }
    }
}

/// What they are called in the catalog.
pub(super) fn name(repository: Repository) -> String {
    format!("publish.{repository}.versions")
}

impl Store {
    /// The last ones; zeros before the first.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn versions(&self, repository: Repository) -> Result<Versions, StoreError> {
        Ok(self.state(&name(repository))?.unwrap_or_default())
    }

    /// Uses them, whatever becomes of what they are for.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub fn put_versions(&self, repository: Repository, versions: &Versions) -> Result<(), StoreError> {
        self.put_state(&name(repository), versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_server_is_ahead_of_bursts_and_of_a_clock_that_was_set_back() {
        let kept = Versions { targets: 50, snapshot: 5_000, timestamp: 5_003 };
        let raised = kept.after_restore(Timestamp::from_second(4_000).unwrap());
        assert_eq!(raised, Versions { targets: 5_000, snapshot: 6_000, timestamp: 6_003 });
    }
}
