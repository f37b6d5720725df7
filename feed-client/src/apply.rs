//! Releases on disk: made in `.staging/`, renamed whole into `releases/<serial>/`, and run by one rename of `current`.

pub mod activate;
pub mod defaults;
pub mod hook;
pub mod prune;
pub mod rollback;
pub mod stage;

use std::fs;
use std::io;
use std::path::Path;

use bundles::release::ManifestError;
use bundles::{Manifest, Reason, Reasoned, Serial};

use crate::data::Paths;
use crate::durable::{self, StorageError};
use crate::plan::{Kept, Layout, PlanError};

/// The manifest's name in a release's folder.
pub const MANIFEST: &str = "manifest.json";

/// The release that `current` points at; `None` where there is none, or the link leads nowhere.
///
/// # Errors
/// The link cannot be read.
pub fn current(paths: &Paths) -> Result<Option<Serial>, StorageError> {
    let link = paths.current();
    match fs::read_link(&link) {
        Ok(target) => {
            let serial = target.file_name().and_then(|name| name.to_str()?.parse().ok());
            Ok(serial.filter(|serial| paths.release(*serial).is_dir()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StorageError { act: "read the link", path: link, source }),
    }
}

/// The releases that are here, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn releases(paths: &Paths) -> Result<Vec<Serial>, StorageError> {
    let folder = paths.releases();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(StorageError { act: "list", path: folder, source }),
    };
    let mut serials = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StorageError::at("list", &folder))?;
        serials.extend(entry.file_name().to_str().and_then(|name| name.parse::<Serial>().ok()));
    }
    serials.sort_unstable();
    Ok(serials)
}

/// The manifest of a release that is here; `None` where the release is not.
///
/// # Errors
/// It cannot be read.
pub fn manifest(paths: &Paths, serial: Serial) -> Result<Option<Manifest>, ApplyError> {
    match manifest_bytes(paths, serial)? {
        None => Ok(None),
        Some(bytes) => Manifest::from_json(&bytes).map(Some).map_err(|source| ApplyError::Manifest { serial, source }),
    }
}

/// The same as it was signed.
///
/// # Errors
/// It cannot be read.
pub fn manifest_bytes(paths: &Paths, serial: Serial) -> Result<Option<Vec<u8>>, StorageError> {
    durable::read_if_there(&paths.release(serial).join(MANIFEST))
}

/// The manifest of the release that runs.
///
/// # Errors
/// It cannot be read.
pub fn running(paths: &Paths) -> Result<Option<Manifest>, ApplyError> {
    current(paths)?.map_or(Ok(None), |serial| manifest(paths, serial))
}

/// The payloads that releases left here. A release that cannot be read contributes nothing: its payloads are fetched.
///
/// # Errors
/// The folder of releases cannot be read.
pub fn kept_payloads(paths: &Paths) -> Result<Kept, StorageError> {
    let mut kept = Kept::new();
    for serial in releases(paths)? {
        let Some(layout) = manifest(paths, serial).ok().flatten().and_then(|found| Layout::of(&found).ok()) else {
            continue;
        };
        // Later ones win: the newest copy is the likeliest to be intact.
        kept.extend(layout.payloads().map(|(digest, path)| (digest, paths.release(serial).join(path))));
    }
    Ok(kept)
}

/// Whether a release is here as this manifest describes it, its payloads verified.
#[must_use]
pub fn is_intact(paths: &Paths, found: &Manifest) -> bool {
    let folder = paths.release(found.serial);
    if !matches!(manifest(paths, found.serial), Ok(Some(here)) if &here == found) {
        return false;
    }
    let Ok(layout) = Layout::of(found) else { return false };
    layout.payloads().all(|(digest, path)| has_digest(&folder.join(path), digest))
        && layout.opened.iter().all(|(_, path)| folder.join(path).is_dir())
}

fn has_digest(path: &Path, digest: bundles::Digest) -> bool {
    let found = fs::File::open(path).and_then(|mut file| bundles::Digest::of_reader(&mut file));
    found.is_ok_and(|(found, _)| found == digest)
}

/// Why a release is not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its layout cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The manifest of a release that is here cannot be read.
    #[error("the manifest of release {serial} on this disk cannot be read; remove that release's folder and update")]
    Manifest {
        /// Which release.
        serial: Serial,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A payload does not open.
    #[error("the payload {name} does not open, so the release is not applied; tell whoever runs the origin")]
    Archive {
        /// Which payload.
        name: bundles::FileName,
        /// What is wrong with it.
        #[source]
        source: bundles::archive::ArchiveError,
    },
}

impl Reasoned for ApplyError {
    fn reason(&self) -> Reason {
        match self {
            Self::Storage(error) => error.reason(),
            Self::Plan(error) => error.reason(),
            Self::Manifest { .. } => Reason::Storage,
            Self::Archive { source, .. } => source.reason(),
        }
    }
}
