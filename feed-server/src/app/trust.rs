//! What a bundle is held to here.

use bundles::Reason;
use bundles::report::Failure;
use bundles::signed::{self, Metadata};

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
            Role::Relay => {
                let configured = trusted_root(&self.config.upstream);
                match &floors.held {
                    None => configured.map_err(|error| Failure::of(&error))?,
                    // The configured one may be the online repository's, where the relay follows its origin over the
                    // network as well, or not be there any more: then what was taken speaks for itself.
                    Some(held) => {
                        let leads_there = |root: &Vec<u8>| signed::authenticate(root, held, None).is_ok();
                        configured.ok().flatten().filter(leads_there).or_else(|| newest_root(held))
                    }
                }
            }
        };
        let none = || Failure::new(Reason::Internal, "there is no root to hold a bundle to; report it as a defect");
        Ok(BundleTrust { root: root.ok_or_else(none)?, floors })
    }
}

/// Not the first one: for roots before the configured one, nobody vouches.
fn newest_root(held: &Metadata) -> Option<Vec<u8>> {
    held.roots.last().map(|root| root.clone().into_bytes())
}
