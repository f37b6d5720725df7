//! The two places where a release may come from. What an attempt does with it does not depend on which.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::TargetName;
use bundles::inspection::ZipFacts;
use bundles::release::{FileRef, ReleasedFile};
use bundles::signed::{Metadata, Verified};

use super::UpdateError;
use crate::carried::Carried;
use crate::download::DownloadError;
use crate::plan::PlanError;
use crate::repository::{Repository, RepositoryError, Store};
use crate::settings::Remote;
use crate::state::ReleaseSource;

/// Where a release's payloads come from.
#[derive(Debug)]
pub(super) enum Supplier<'a> {
    /// The server.
    Server { repository: Repository, remote: &'a Remote },
    /// A bundle, which was checked; with its metadata, and where that is to be kept.
    Bundle { carried: Arc<Mutex<Carried>>, zip: ZipFacts, verified: Verified, metadata: (Store, Metadata) },
}

impl Supplier<'_> {
    pub(super) fn source(&self) -> ReleaseSource {
        match self {
            Self::Server { remote, .. } => ReleaseSource::Server { url: remote.server.clone() },
            Self::Bundle { zip, .. } => ReleaseSource::Bundle(zip.clone()),
        }
    }

    /// Bytes that have to be read for a payload: a server has it opened, a bundle as upstream packed it.
    pub(super) fn length_of(&self, file: &ReleasedFile) -> u64 {
        match self {
            Self::Server { .. } => file.payload.length,
            Self::Bundle { .. } => file.archive.length,
        }
    }

    /// The manifest is signed too, but by what it is: a release. What its files are, the metadata says.
    pub(super) fn check(&self, payload: &FileRef) -> Result<(), UpdateError> {
        let name = target_name(payload)?;
        let verified = match self {
            Self::Server { repository, .. } => repository.verified(),
            Self::Bundle { verified, .. } => verified,
        };
        let target = verified.target(&name).map_err(RepositoryError::from)?;
        if target.sha256() != payload.sha256 || target.length() != payload.length {
            return Err(DownloadError::Disagree { name }.into());
        }
        Ok(())
    }
}

pub(super) fn target_name(file: &FileRef) -> Result<TargetName, PlanError> {
    file.target_name().map_err(|_| PlanError::Name { name: file.name.to_string() })
}

/// A panic while a payload was brought leaves a file that can be read from its beginning.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
