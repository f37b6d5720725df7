//! What a bundle is held to here.

use bundles::Reason;
use bundles::report::Failure;
use bundles::signed::Metadata;

use super::{App, Role};
use crate::store::{Floors, Repository};
use crate::upstream::trusted_root;

/// What a bundle is held to here.
#[derive(Debug, Clone)]
pub struct BundleTrust {
    /// A root of the origin's offline repository.
    pub root: Vec<u8>,
    /// What must not be undercut.
    pub floors: Floors,
}

impl App {
    /// What a bundle is held to here: on a relay what it took before and the configured root, on an origin its own.
    ///
    /// # Errors
    /// The root file cannot be read, or the store.
    pub fn bundle_trust(&self) -> Result<BundleTrust, Failure> {
        let floors = self.store.floors(Repository::Offline).map_err(|error| Failure::of(&error))?;
        let root = match self.role() {
            Role::Origin => self.publisher.root_json(Repository::Offline),
            // What was taken was verified from the configured root; that one may be the online repository's, where the
            // relay follows its origin over the network as well.
            Role::Relay => match floors.held.as_ref().and_then(first_root) {
                Some(root) => Some(root),
                None => trusted_root(&self.config.upstream).map_err(|error| Failure::of(&error))?,
            },
        };
        let none = || Failure::new(Reason::Internal, "there is no root to hold a bundle to; report it as a defect");
        Ok(BundleTrust { root: root.ok_or_else(none)?, floors })
    }
}

fn first_root(held: &Metadata) -> Option<Vec<u8>> {
    held.roots.first().map(|root| root.clone().into_bytes())
}
