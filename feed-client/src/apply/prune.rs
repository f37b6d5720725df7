//! Takes old releases away.

use std::collections::BTreeSet;
use std::fs;

use bundles::Serial;

use super::releases;
use crate::crash;
use crate::data::Paths;
use crate::durable::{self, StorageError};

/// Which releases go: the one that runs and the one before it stay whatever their numbers, then the newest ones.
#[must_use]
pub fn superfluous(here: &[Serial], current: Serial, previous: Option<Serial>, keep: usize) -> Vec<Serial> {
    let mut stay: BTreeSet<Serial> = [current].into_iter().chain(previous).collect();
    let mut newest = here.to_vec();
    newest.sort_unstable_by(|one, other| other.cmp(one));
    for serial in &newest {
        if stay.len() < keep {
            stay.insert(*serial);
        }
    }
    newest.retain(|serial| !stay.contains(serial));
    newest
}

/// Removes what is superfluous, each release by one rename first: nobody sees half of one.
///
/// # Errors
/// The file system refuses; whole releases more than needed stay then.
pub fn prune(paths: &Paths, current: Serial, previous: Option<Serial>, keep: usize) -> Result<(), StorageError> {
    for serial in superfluous(&releases(paths)?, current, previous, keep) {
        let staging = paths.staging();
        fs::create_dir_all(&staging).map_err(StorageError::at("create", &staging))?;
        durable::rename(&paths.release(serial), &staging.join(format!("old-{serial}")))?;
        crash::point("client.prune");
    }
    durable::remove_tree(&paths.staging())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_runs_and_what_ran_stay(
            numbers in proptest::collection::btree_set(1_u64..50, 1..20),
            current in any::<proptest::sample::Index>(),
            previous in any::<Option<proptest::sample::Index>>(),
            keep in 2_usize..6,
        ) {
            let here: Vec<_> = numbers.iter().filter_map(|number| Serial::new(*number)).collect();
            let current = here[current.index(here.len())];
            let previous = previous.map(|index| here[index.index(here.len())]);
            let gone = superfluous(&here, current, previous, keep);
            prop_assert!(!gone.contains(&current));
            prop_assert!(previous.is_none_or(|previous| !gone.contains(&previous)));
            prop_assert_eq!(here.len() - gone.len(), here.len().min(keep));
            let stays = |serial: &&Serial| !gone.contains(serial) && **serial != current && Some(**serial) != previous;
            if let (Some(oldest), Some(newest_gone)) = (here.iter().filter(stays).min(), gone.iter().max()) {
                prop_assert!(newest_gone < oldest);
            }
        }
    }
}
