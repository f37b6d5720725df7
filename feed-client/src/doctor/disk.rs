//! The data and apply directories: whose they are, whether they can be written, how much room there is. Nothing is made.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bundles::Reason;
use bundles::report::Failure;
use indicatif::HumanBytes;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::Serialize;

use super::line::Notes;
use super::{Check, Line, Mark};
use crate::data::Paths;

/// Below this a large feed may not fit: the largest one known has some 100 MB, and three releases of it, opened, are kept.
const SCARCE_BYTES: u64 = 512 << 20;

/// Below this, not even metadata and state can be relied on to be written.
const TOO_FEW_BYTES: u64 = 8 << 20;

/// A directory.
#[derive(Debug, Clone, Serialize)]
pub struct DirectoryFacts {
    /// Which one, absolute.
    pub directory: PathBuf,
    /// What it is for.
    pub holds: &'static str,
    /// Whether it is there; the first update makes it.
    pub exists: bool,
    /// The number of the user whose it is, or whose the nearest directory above it is.
    pub owner: Option<u32>,
    /// Its mode, as `chmod` takes it.
    pub mode: Option<String>,
    /// Whether this user may write in it.
    pub is_writable: bool,
    /// Bytes that can still be written.
    pub free_bytes: Option<u64>,
}

pub(super) fn examine(paths: &Paths, notes: &mut Notes) -> Vec<DirectoryFacts> {
    let directories = match paths.apply_lock() {
        Some(_) => vec![(paths.data(), "state and verified metadata"), (paths.apply(), "releases")],
        None => vec![(paths.data(), "state and releases")],
    };
    let look = |(directory, holds): (&Path, &'static str)| {
        let (facts, mut line) = look(directory, holds);
        if directory == paths.data() {
            line = with_token(line, &paths.token());
        }
        notes.note(line);
        facts
    };
    directories.into_iter().map(look).collect()
}

/// Whoever reads the token can report in this headend's name.
fn with_token(line: Line, token: &Path) -> Line {
    let mode = std::fs::metadata(token).map(|token| token.permissions().mode() & 0o7777);
    match mode {
        Ok(mode) if mode & 0o077 != 0 && line.result == Mark::Ok => {
            let warning = format!("the token can be read by others (mode {mode:04o}); chmod 600 {}", token.display());
            Line { result: Mark::Warning, ..line }.with([warning])
        }
        Ok(_) | Err(_) => line,
    }
}

fn look(directory: &Path, holds: &'static str) -> (DirectoryFacts, Line) {
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let mut facts = DirectoryFacts {
        directory: directory.clone(),
        holds,
        exists: false,
        owner: None,
        mode: None,
        is_writable: false,
        free_bytes: None,
    };
    let failed = |facts, message: String| {
        (facts, Line::failed(Check::Disk, Failure::new(Reason::Storage, message)).about(directory.display()))
    };
    // The directory, or the nearest one above it that is there.
    let found = directory.ancestors().find_map(|at| match std::fs::metadata(at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        looked => Some((at.to_owned(), looked)),
    });
    let (at, metadata) = match found {
        Some((at, Ok(metadata))) => (at, metadata),
        Some((at, Err(error))) => {
            let message = format!("{} cannot be looked at: {error}; check permissions on the way to it", at.display());
            return failed(facts, message);
        }
        None => return failed(facts, format!("nothing of {} is there; check --data", directory.display())),
    };
    facts.exists = at == directory;
    facts.owner = Some(metadata.uid());
    let mode = format!("{:04o}", metadata.permissions().mode() & 0o7777);
    facts.mode = Some(mode.clone());
    if !metadata.is_dir() {
        return failed(facts, format!("{} is not a directory; check --data and [apply] directory", at.display()));
    }
    let me = rustix::process::geteuid().as_raw();
    if let Err(error) = accessat(CWD, &at, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        let message = format!(
            "{} (of user {}, mode {mode}) cannot be written by user {me}: {}; run this as the user that the service runs \
             as, or check its mount and permissions",
            at.display(),
            metadata.uid(),
            io::Error::from(error)
        );
        return failed(facts, message);
    }
    facts.is_writable = true;
    let room = rustix::fs::statvfs(&at).ok().map(|system| system.f_bavail.saturating_mul(system.f_frsize));
    facts.free_bytes = room;
    let free = room.map(|room| format!(", {} free", HumanBytes(room))).unwrap_or_default();
    let seen = if facts.exists {
        format!("{holds}; of user {}, mode {mode}, user {me} can write{free}", metadata.uid())
    } else {
        format!("{holds}; does not exist yet, the first update makes it in {}{free}", at.display())
    };
    let line = match room {
        Some(room) if room < TOO_FEW_BYTES => {
            let message = format!(
                "{} has {} left, which is no room for any update; make room, or lower [apply] keep_releases",
                at.display(),
                HumanBytes(room)
            );
            return failed(facts, message);
        }
        Some(room) if room < SCARCE_BYTES => {
            let warning = format!("a large feed may not fit in less than {}", HumanBytes(SCARCE_BYTES));
            Line::new(Check::Disk, Mark::Warning, seen).with([warning])
        }
        Some(_) | None => Line::new(Check::Disk, Mark::Ok, seen),
    };
    (facts, line.about(directory.display()))
}
