//! What the client knows about itself, whatever became of the file that it stands in.
//!
//! The state is the one place of some notes, which are lost with it, and not of the floor: the releases that are here and the
//! signed metadata say which release was seen. So a state that is torn or gone is noticed, and put together anew from those.

use bundles::Serial;
use jiff::Timestamp;

use crate::apply;
use crate::data::Paths;
use crate::durable::{self, StorageError};
use crate::repository::{Side, Store};
use crate::state::{Activating, Found, Hold, HoldReason, Loss, Rebuilt, State, StateError};

/// The state; one that is damaged or gone is put together anew, and says so (`rebuilt`). Nothing is written.
///
/// # Errors
/// Something cannot be read, or a newer client wrote the state.
pub fn load(paths: &Paths) -> Result<State, StateError> {
    match State::read(paths)? {
        Found::Whole(state) => Ok(*state),
        Found::Lost(Loss::Missing) if !was_used(paths)? => Ok(State::default()),
        Found::Lost(why) => Ok(rebuild(paths, why)?),
    }
}

/// Before a state is written that was put together anew: says so, once, and moves what is left of the damaged one aside for
/// whoever wants to know what became of it.
///
/// # Errors
/// It cannot be moved.
pub fn take_note(state: &mut State, paths: &Paths, now: Timestamp) -> Result<(), StorageError> {
    let Some(rebuilt) = state.rebuilt.as_mut().filter(|rebuilt| rebuilt.at.is_none()) else { return Ok(()) };
    rebuilt.at = Some(now);
    let path = paths.state();
    tracing::error!(
        highest_serial = state.highest_serial.map(Serial::get),
        "{} is {}: it is put together anew from the releases and the signed metadata that are here",
        path.display(),
        rebuilt.why,
    );
    if path.is_file() { durable::rename(&path, &path.with_extension("json.damaged")) } else { Ok(()) }
}

/// Whether anything is here that came after a first state.
fn was_used(paths: &Paths) -> Result<bool, StorageError> {
    let verified = Side::BOTH.iter().any(|side| paths.metadata(*side).exists());
    Ok(verified || !apply::releases(paths)?.is_empty())
}

fn rebuild(paths: &Paths, why: Loss) -> Result<State, StorageError> {
    let mut state = State { rebuilt: Some(Rebuilt { why, at: None }), ..State::default() };
    let releases = apply::releases(paths)?;
    for serial in &releases {
        // Only whole releases are there; one whose manifest is damaged too was seen all the same.
        state.highest_serial = state.highest_serial.max(Some(*serial));
        if let Ok(Some(manifest)) = apply::manifest(paths, *serial) {
            state.saw(manifest.serial, manifest.created);
        }
    }
    for side in Side::BOTH {
        state.highest_serial = state.highest_serial.max(Store::open(&paths.metadata(side)).newest_release()?);
    }
    let newest = releases.last().copied();
    match (apply::current(paths)?, newest) {
        // An operator went back, the hook refused it, or a kill came first: that is for somebody to decide.
        (Some(current), Some(newest)) if newest > current => {
            state.hold = Some(Hold { serial: newest, why: HoldReason::StateLost });
        }
        // Whether the hook had its say is lost too; it may be asked twice.
        (Some(serial), _) => {
            let previous: Option<Serial> = releases.iter().copied().filter(|other| *other < serial).max();
            state.activating = Some(Activating { serial, previous, rollback: false, refused: false });
        }
        (None, _) => {}
    }
    Ok(state)
}
