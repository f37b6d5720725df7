//! What a data directory is: an origin's or a relay's, for ever. An origin's keys are what its headends trust, so it can never
//! turn into a relay; a relay never gets keys, since nobody would trust what they sign.
//!
//! The role stands twice, as the schema does: in a file, which can be read without opening the store or where a full disk
//! keeps the catalog closed, and in the catalog, which is what is backed up.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bundles::{Reason, Reasoned};

use crate::config::Role;
pub(super) use crate::store::backup::KEYS;
use crate::store::{Store, StoreError};

const FILE: &str = "role";
const STATE: &str = "role";

/// Why a data directory cannot be used as what the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// It is the other thing.
    #[error("{}", other(directory, *found))]
    Other {
        /// The data directory.
        directory: PathBuf,
        /// What it is.
        found: Role,
    },
    /// It says what no program of this version wrote.
    #[error(
        "{path} does not say origin or relay; restore a backup, or write the one of both that this data directory is"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn other(directory: &Path, found: Role) -> String {
    let directory = directory.display();
    match found {
        Role::Origin => format!(
            "the data directory {directory} is an origin's: it signs releases, and its headends trust its keys, so it \
             cannot become a relay; give a relay ([upstream] kind = \"mirror\") another [data] directory"
        ),
        Role::Relay => format!(
            "the data directory {directory} is a relay's: it serves what another feed-server signed and never gets keys; \
             set [upstream] kind = \"mirror\", or give an origin another [data] directory"
        ),
    }
}

impl Reasoned for RoleError {
    fn reason(&self) -> Reason {
        match self {
            Self::Other { .. } => Reason::BadRequest,
            Self::Unknown { .. } => Reason::Storage,
            Self::Store(source) => source.reason(),
        }
    }
}

/// Whether a data directory is a mirror's: it has signing keys, or says what it is.
///
/// # Errors
/// It cannot be looked at.
pub fn is_mirror(data_dir: &Path) -> io::Result<bool> {
    Ok(data_dir.join(KEYS).try_exists()? || data_dir.join(FILE).try_exists()?)
}

/// Makes the open data directory one of this role, where it is none yet.
///
/// # Errors
/// It has the other role; or that cannot be known or kept. Room on the disk may be missing: then nothing new is kept.
pub(super) fn hold(store: &Store, role: Role) -> Result<(), RoleError> {
    let directory = store.directory();
    let path = directory.join(FILE);
    let in_file = in_file(&path)?;
    let keys = directory.join(KEYS);
    let has_keys = keys.try_exists().map_err(failed("look at", &keys))?;
    let in_catalog = match store.state::<Role>(STATE) {
        Err(error) if error.lacks_room() => None,
        read => Some(read?),
    };
    let found = [has_keys.then_some(Role::Origin), in_file, in_catalog.flatten()];
    if let Some(found) = found.into_iter().flatten().find(|found| *found != role) {
        return Err(RoleError::Other { directory: directory.to_owned(), found });
    }
    // Before any key is made, and before anything of an origin's is taken.
    if in_file.is_none() {
        match write(store, &path, role).map_err(failed("write", &path)) {
            // Keys say it as well, and what was published is to be served.
            Err(error) if has_keys && error.lacks_room() => {}
            written => written?,
        }
    }
    if in_catalog == Some(None) {
        match store.put_state(STATE, &role) {
            Err(error) if error.lacks_room() => {}
            put => put?,
        }
    }
    Ok(())
}

fn in_file(path: &Path) -> Result<Option<Role>, RoleError> {
    match fs::read_to_string(path) {
        Ok(text) => [Role::Origin, Role::Relay]
            .into_iter()
            .find(|role| role.as_str() == text.trim())
            .map(Some)
            .ok_or_else(|| RoleError::Unknown { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error).into()),
    }
}

fn write(store: &Store, path: &Path, role: Role) -> io::Result<()> {
    let mut file = store.staging.file()?;
    writeln!(file, "{role}")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(store.directory())?.sync_all()
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { act, path, source }
}

#[cfg(test)]
mod tests;
