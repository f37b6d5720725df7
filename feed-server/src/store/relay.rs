//! What a relay keeps of its origin: signed metadata as it came, and the floors below which nothing is taken.

use bundles::Serial;
use bundles::signed::Metadata;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Batch, Repository, Store, StoreError};

const SIGNED_TIME: &str = "relay.signed_time";

/// One repository's metadata as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The release that it calls stable.
    pub serial: Serial,
    /// Its bytes, with every root that is known.
    #[serde(flatten)]
    pub metadata: Metadata,
}

/// What a release that is offered must not go below. All of it is from verified metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors {
    /// The newest metadata of the repository.
    pub held: Option<Metadata>,
    /// The highest number that a release ever had, of either repository.
    pub highest_serial: Option<Serial>,
    /// When the newest release ever seen was made: what time it is at least.
    pub signed_time: Option<Timestamp>,
}

/// The name under which it is kept.
pub fn held_state(repository: Repository) -> String {
    format!("relay.{repository}")
}

impl Store {
    /// A repository's metadata as it was received last; `None` on an origin, and before the first.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn held(&self, repository: Repository) -> Result<Option<Held>, StoreError> {
        self.state(&held_state(repository))
    }

    /// When the newest release that was ever taken was made.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn signed_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.state(SIGNED_TIME)
    }

    /// What the next release of a repository must not go below.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn floors(&self, repository: Repository) -> Result<Floors, StoreError> {
        Ok(Floors {
            held: self.held(repository)?.map(|held| held.metadata),
            highest_serial: self.highest_serial()?,
            signed_time: self.signed_time()?,
        })
    }
}

impl Batch {
    /// Puts a repository's metadata in place of what was held.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_held(&mut self, repository: Repository, held: &Held) -> Result<(), StoreError> {
        self.put_state(&held_state(repository), held)
    }

    /// Puts when the newest release was made.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_signed_time(&mut self, time: Timestamp) -> Result<(), StoreError> {
        self.put_state(SIGNED_TIME, &time)
    }
}
