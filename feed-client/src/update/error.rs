//! Why an attempt failed.

use bundles::{Reason, Reasoned, Serial};
use jiff::Timestamp;

use crate::apply::ApplyError;
use crate::apply::hook::HookError;
use crate::apply::rollback::RollbackError;
use crate::carried::CarriedError;
use crate::download::DownloadError;
use crate::durable::StorageError;
use crate::lock::LockError;
use crate::plan::PlanError;
use crate::poll::Failed;
use crate::repository::RepositoryError;
use crate::settings::SettingsError;
use crate::state::StateError;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Somebody else is at it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The client's own state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The server does not vouch for anything.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The release is beyond what is sensible.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A payload did not come.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The release could not be put in place.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// There is nothing to go back to.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
    /// A bundle that nothing is taken from.
    #[error(transparent)]
    Carried(#[from] CarriedError),
    /// Nothing to work with.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A release older than one seen before.
    #[error(
        "the server offers release {serial}, and release {seen} was seen before; the server was restored from a backup, or \
         somebody replays old data. If the origin was rebuilt and counts anew, run `feed-client enroll` with \
         --forget-release-numbers"
    )]
    OldRelease {
        /// What the manifest says.
        serial: Serial,
        /// The floor.
        seen: Serial,
    },
    /// Releases are immutable; this one is not.
    #[error(
        "what is offered is another release {serial} than the one that runs here under that number; the origin was perhaps \
         restored from a backup: it has to publish a release with a higher number"
    )]
    SameNumber {
        /// Which one.
        serial: Serial,
    },
    /// One of two clocks is wrong.
    #[error(
        "release {serial} was made at {created}, and this machine's clock says {now}; set the clock (NTP, UDP 123), or ask \
         whoever runs the origin about its clock"
    )]
    Clock {
        /// Which release.
        serial: Serial,
        /// Its signed time.
        created: Timestamp,
        /// This machine's time.
        now: Timestamp,
    },
    /// The hook said no.
    #[error(
        "release {serial} was refused, and {back_to} runs again; `feed-client update`, or the same import, tries once more"
    )]
    Hook {
        /// The refused release.
        serial: Serial,
        /// The one that runs now.
        back_to: BackTo,
        /// What the hook said.
        #[source]
        source: HookError,
    },
    /// A worker thread panicked.
    #[error("a worker of the client failed")]
    Worker(#[source] tokio::task::JoinError),
}

impl UpdateError {
    /// What the timer needs to know of it.
    #[must_use]
    pub fn failed(&self, in_a_row: u32) -> Failed {
        let wait = if let Self::Repository(RepositoryError::Fetch(error))
        | Self::Download(DownloadError::Fetch(error)) = self
        {
            error.wait()
        } else {
            None
        };
        Failed { reason: self.reason(), in_a_row, wait }
    }
}

/// What runs after going back, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackTo(Option<Serial>);

impl From<Option<Serial>> for BackTo {
    fn from(previous: Option<Serial>) -> Self {
        Self(previous)
    }
}

impl std::fmt::Display for BackTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(serial) => write!(f, "release {serial}"),
            None => f.write_str("none, as before,"),
        }
    }
}

impl Reasoned for UpdateError {
    fn reason(&self) -> Reason {
        match self {
            Self::Lock(error) => error.reason(),
            Self::State(error) => error.reason(),
            Self::Storage(error) => error.reason(),
            Self::Repository(error) => error.reason(),
            Self::Plan(error) => error.reason(),
            Self::Download(error) => error.reason(),
            Self::Apply(error) => error.reason(),
            Self::Rollback(error) => error.reason(),
            Self::Carried(error) => error.reason(),
            Self::Settings(error) => error.reason(),
            Self::OldRelease { .. } | Self::SameNumber { .. } => Reason::Rollback,
            Self::Clock { .. } => Reason::Clock,
            Self::Hook { source, .. } => source.reason(),
            Self::Worker(_) => Reason::Internal,
        }
    }
}
