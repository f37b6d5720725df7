//! One instance at a time: an advisory lock that the kernel drops with the process, so a crash leaves none behind.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundles::{Reason, Reasoned};

use crate::durable::StorageError;

/// `status` asks for the lock for the blink of an eye; an update that meets it waits rather than fails.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often to ask within [`PATIENCE`].
const STEP: Duration = Duration::from_millis(50);

/// Held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock that this file stands for, creating the file where needed.
    ///
    /// # Errors
    /// [`LockError::Busy`] where somebody else holds it.
    pub async fn take(path: &Path) -> Result<Self, LockError> {
        let mut waited = Duration::ZERO;
        loop {
            match Self::try_take(path) {
                Err(LockError::Busy { .. }) if waited < PATIENCE => {
                    tokio::time::sleep(STEP).await;
                    waited += STEP;
                }
                other => return other,
            }
        }
    }

    /// Whether somebody holds the lock right now.
    #[must_use]
    pub fn is_held(path: &Path) -> bool {
        // Shared, so that two who look do not take each other for somebody at work.
        File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn try_take(path: &Path) -> Result<Self, LockError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            // On a disk that has become read-only a lock can still be held, and the failure to write has a better sentence.
            .or_else(|error| File::open(path).map_err(|_| error))
            .map_err(StorageError::at("open the lock file", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(StorageError { act: "lock", path: path.to_owned(), source }.into()),
        }
    }
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("another feed-client is at work here (it holds {}); wait for it to end", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file itself.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Reasoned for LockError {
    fn reason(&self) -> Reason {
        match self {
            Self::Busy { .. } => Reason::Busy,
            Self::Storage(error) => error.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_is_told_busy_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert!(!Lock::is_held(&path));
        let first = Lock::take(&path).await.unwrap();
        assert!(Lock::is_held(&path));
        assert_eq!(Lock::take(&path).await.unwrap_err().reason(), Reason::Busy);
        drop(first);
        let somebody_looks = File::open(&path).unwrap();
        somebody_looks.lock_shared().unwrap();
        assert!(!Lock::is_held(&path));
        drop(somebody_looks);
        Lock::take(&path).await.unwrap();
    }
}
