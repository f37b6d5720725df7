//! Default policies: copied to `policy/` on a headend's first apply, and never again (design, section 11, promise 6).
//!
//! An administrator may edit or delete them at any time, and a crash may come at any time, so neither the files nor
//! their absence can say whether they were created. What says it is a marker in the data directory:
//!
//! 1. no marker: copies are made in `.policy-staging/`, synced, and then the marker says `moving`;
//! 2. `moving`: file by file, one rename takes it from `.policy-staging/` to `policy/`. A rename is all or nothing, so
//!    whatever still lies in the staging was not created yet, and what does not lie there was, wherever it is now;
//! 3. nothing is left to move: the marker says `done`, for good.
//!
//! A file that an administrator put in place beforehand is theirs and stays.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bundles::Serial;
use globset::GlobSet;
use serde::{Deserialize, Serialize};

use crate::crash;
use crate::data::Paths;
use crate::durable::{self, Readers, StorageError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    phase: Phase,
    /// The release that the defaults are from.
    serial: Serial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Moving,
    Done,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The copies are ready and it is decided.
    Committed,
    /// This file, by its path below `policy/`, was created.
    Created(PathBuf),
    /// This one was there already and stays as it is.
    LeftAlone(PathBuf),
    /// All are created, now or long ago.
    Done,
}

/// Creates the default policies unless that was done before; the number of files created by this call.
///
/// # Errors
/// The file system refuses. The next call goes on where this one stopped.
pub fn create_once(paths: &Paths, serial: Serial, patterns: &GlobSet) -> Result<usize, StorageError> {
    let mut created = 0;
    loop {
        match step(paths, serial, patterns)? {
            Step::Committed => crash::point("client.defaults.committed"),
            Step::Created(file) => {
                created += 1;
                tracing::info!(file = %file.display(), "default policy created");
                crash::point("client.defaults.moved");
            }
            Step::LeftAlone(file) => {
                tracing::warn!(file = %file.display(), "default policy not created: there is a file of that name already");
            }
            Step::Done => return Ok(created),
        }
    }
}

/// One durable step. Whatever happens between two steps, the next one knows where things are from the disk alone.
///
/// # Errors
/// The file system refuses; nothing changed then, or the step can be repeated.
pub fn step(paths: &Paths, serial: Serial, patterns: &GlobSet) -> Result<Step, StorageError> {
    let staging = paths.policy_staging();
    match read_marker(paths)? {
        None => {
            durable::remove_tree(&staging)?;
            fs::create_dir_all(&staging).map_err(StorageError::at("create", &staging))?;
            let release = paths.release(serial);
            for file in files_below(&release)?.iter().filter(|file| is_content(file) && patterns.is_match(file)) {
                copy(&release.join(file), &staging.join(file))?;
                crash::point("client.defaults.partial");
            }
            durable::sync_tree(&staging)?;
            durable::sync_directory(paths.apply())?;
            write_marker(paths, Marker { phase: Phase::Moving, serial })?;
            Ok(Step::Committed)
        }
        Some(Marker { phase: Phase::Moving, serial }) => {
            if let Some(file) = files_below(&staging)?.into_iter().next() {
                return move_in(&staging, &paths.policy(), file);
            }
            // The empty folders first: after `done` nobody looks for them any more.
            durable::remove_tree(&staging)?;
            write_marker(paths, Marker { phase: Phase::Done, serial })?;
            Ok(Step::Done)
        }
        Some(Marker { phase: Phase::Done, .. }) => Ok(Step::Done),
    }
}

fn move_in(staging: &Path, policy: &Path, file: PathBuf) -> Result<Step, StorageError> {
    let (from, to) = (staging.join(&file), policy.join(&file));
    let folder = to.parent().unwrap_or(policy);
    fs::create_dir_all(folder).map_err(StorageError::at("create", folder))?;
    match rename_without_replacing(&from, &to) {
        Ok(()) => {
            // Both folders, and those above the new one, which may be new as well: the file must not be lost between.
            durable::sync_directory(from.parent().unwrap_or(staging))?;
            let mut above = Some(folder);
            while let Some(folder) = above {
                durable::sync_directory(folder)?;
                above = if folder == policy { None } else { folder.parent() };
            }
            durable::sync_directory(policy.parent().unwrap_or(policy))?;
            Ok(Step::Created(file))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            durable::remove_file(&from)?;
            Ok(Step::LeftAlone(file))
        }
        Err(source) => Err(StorageError { act: "create", path: to, source }),
    }
}

fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Network file systems do not know the flag; looking first is as good as it gets there.
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        other => Ok(other?),
    }
}

/// Kept payloads and the manifest are the client's own; only opened files can be policies.
fn is_content(file: &Path) -> bool {
    !file.starts_with("payloads") && file != Path::new(super::MANIFEST)
}

/// Regular files below a folder, by their paths relative to it, in order.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let path = folder.join(&below);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(StorageError { act: "list", path, source }),
        };
        for entry in entries {
            let entry = entry.map_err(StorageError::at("list", &path))?;
            let kind = entry.file_type().map_err(StorageError::at("look at", &entry.path()))?;
            let name = below.join(entry.file_name());
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file() {
                files.push(name);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// A copy of its own, writable by its owner: an administrator's edit must not reach into the release.
fn copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).map_err(StorageError::at("create", folder))?;
    let mut source = File::open(from).map_err(StorageError::at("open", from))?;
    let mut target = File::create(to).map_err(StorageError::at("create", to))?;
    io::copy(&mut source, &mut target).map(drop).map_err(StorageError::at("write", to))
}

fn read_marker(paths: &Paths) -> Result<Option<Marker>, StorageError> {
    let path = paths.defaults_marker();
    let Some(bytes) = durable::read_if_there(&path)? else { return Ok(None) };
    // A damaged marker must not pass for none: policies would come back.
    serde_json::from_slice(&bytes).map(Some).map_err(|error| StorageError { act: "read", path, source: error.into() })
}

fn write_marker(paths: &Paths, marker: Marker) -> Result<(), StorageError> {
    // Two plain fields: serde_json has nothing to refuse here.
    let bytes = serde_json::to_vec(&marker).unwrap_or_default();
    durable::write(&paths.defaults_marker(), &bytes, Readers::Anyone)
}

#[cfg(test)]
mod tests;
