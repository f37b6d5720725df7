//! Making a data directory of a backup, on which a server goes on: with numbers that nobody has seen, and all of it signed
//! anew at its start, since a backup holds nothing of the tree.

use std::fs::File;
use std::path::{Path, PathBuf};

use bundles::Serial;
use jiff::Timestamp;

use crate::config::Role;
use crate::publish::{newest_roots, refuse_older};
use crate::release;
use crate::store::backup::{BackupError, Contents, Place, Survey, read};

/// What is to be restored, and what is known besides.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The backup.
    pub file: PathBuf,
    /// Roots that are in use: the backup has to know them.
    pub roots: Vec<PathBuf>,
    /// A number below which no release may be made.
    pub serial_floor: Option<Serial>,
}

/// What a backup was found to be, or what became of it.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What was in it.
    pub contents: Contents,
    /// The number that its newest release has from now on; absent on a relay, whose origin gives numbers, and where there is
    /// no release.
    pub serial: Option<Serial>,
    /// The newest release in it.
    pub newest: Option<Serial>,
}

/// Checks all of a backup and writes nothing; what would become of it.
///
/// # Errors
/// It cannot be restored.
pub fn check(wanted: &Wanted, now: Timestamp) -> Result<Restored, BackupError> {
    plan(wanted, now).map(|plan| plan.restored)
}

/// Checks all of a backup, and then puts it in place.
///
/// # Errors
/// It cannot be restored, or not there; then nothing is there that anybody would take for a data directory.
pub fn restore(directory: &Path, wanted: &Wanted, now: Timestamp) -> Result<Restored, BackupError> {
    let Plan { restored, highest, survey } = plan(wanted, now)?;
    let mut place = Place::begin(directory)?;
    let placed = fill(&mut place, wanted, &restored).and_then(|()| {
        let again = restored.serial.zip(survey.newest()).map(|(serial, newest)| release::again(newest, serial, now));
        highest.map_or(Ok(()), |highest| place.raise(highest, again.as_ref(), now))
    });
    match placed {
        Ok(()) => place.end(&restored.contents)?,
        Err(error) => {
            place.give_up();
            return Err(error);
        }
    }
    Ok(restored)
}

fn fill(place: &mut Place, wanted: &Wanted, restored: &Restored) -> Result<(), BackupError> {
    // Once more with all its digests: it may have changed since it was checked.
    let (file, length) = open(&wanted.file)?;
    let contents = read(file, length, place)?;
    if contents == restored.contents {
        Ok(())
    } else {
        Err(BackupError::NotABackup { what: "it became another one while it was read".to_owned() })
    }
}

struct Plan {
    restored: Restored,
    /// The highest number from now on; absent where it stays as it is.
    highest: Option<Serial>,
    survey: Survey,
}

fn plan(wanted: &Wanted, now: Timestamp) -> Result<Plan, BackupError> {
    let (file, length) = open(&wanted.file)?;
    let mut survey = Survey::default();
    let contents = read(file, length, &mut survey)?;
    survey.check(&contents)?;
    let roots = newest_roots(&survey)?;
    for path in &wanted.roots {
        refuse_older(&roots, &std::fs::read(path).map_err(failed("read", path))?)?;
    }
    let newest = survey.newest().map(|newest| newest.manifest.serial);
    let (highest, serial) = match contents.role {
        // Its origin gives numbers: those that it has seen are the floor, and rise with the next release that it takes.
        Role::Relay => (None, None),
        Role::Origin => {
            let known = contents.highest_serial.max(newest);
            let used_up = || BackupError::NumbersUsedUp { highest: known.unwrap_or(Serial::FIRST) };
            let floor = release::floor(known, contents.created, now, wanted.serial_floor).ok_or_else(used_up)?;
            let serial = newest.map(|_| floor.next().ok_or_else(used_up)).transpose()?;
            (serial.or(Some(floor)), serial)
        }
    };
    Ok(Plan { restored: Restored { contents, serial, newest }, highest, survey })
}

fn open(path: &Path) -> Result<(File, u64), BackupError> {
    let file = File::open(path).map_err(failed("read", path))?;
    let length = file.metadata().map_err(failed("look at", path))?.len();
    Ok((file, length))
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { act, path, source }
}
