//! One look at upstream: what was fetched becomes [`CheckedFeed`], or nothing does.
//!
//! [`look`] asks for the index, then for each archive that it names, and opens every one that is new; then for the
//! vendor's own zip, where it is to be carried. [`vendor_zip`] takes the same out of such a zip that somebody brought, and
//! [`follow`] from another feed-server what that one signed. Whatever fails, nothing is left behind: staged files delete
//! themselves unless they end up in a [`CheckedFeed`] or are handed on as [`CheckedFile`]s.

mod archive;
pub mod bundle;
pub mod checked;
mod error;
mod follow;
pub mod intake;
mod look;
mod offline_zip;
pub mod signed;
mod stage;
mod unchanged;
pub mod vendor_zip;
pub(crate) mod versions;

use std::fmt;
use std::sync::Arc;

use bundles::index::{Index, Reading};
use bundles::{Digest, FileName, Manifest};

use self::checked::Validator;
use crate::upstream::Content;

pub use checked::{CheckedFeed, CheckedFile};
pub use error::SyncError;
pub use follow::{FollowError, Signed, follow};
pub use look::{UNKNOWN_DIALECT, look};
pub use offline_zip::look_at_zip;

/// Who wants to see how far a run is.
pub trait Progress: Send + Sync {
    /// The index begins to arrive.
    fn index_came(&self, _content: &Content) {}
    /// The index came, and this is what it says.
    fn index_read(&self, index: &Index);
    /// A signed release came, of which this many files have to come.
    fn release_read(&self, _files: usize) {}
    /// A file begins to arrive; of `length` bytes where upstream says so. Files that are known are not fetched.
    fn file_started(&self, name: &FileName, length: Option<u64>);
    /// That many more bytes came, of whichever file.
    fn received(&self, bytes: u64);
    /// A file is here, whole and opened.
    fn file_done(&self, name: &FileName);
    /// The vendor's own zip is here, whole and safe.
    fn offline_zip_done(&self) {}
}

/// Nobody does.
#[derive(Debug, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn index_read(&self, _index: &Index) {}
    fn file_started(&self, _name: &FileName, _length: Option<u64>) {}
    fn received(&self, _bytes: u64) {}
    fn file_done(&self, _name: &FileName) {}
}

/// What earlier runs found out, so that nothing is fetched twice.
#[derive(Clone)]
pub struct Known {
    /// What upstream said of its URLs.
    pub validators: Vec<Validator>,
    /// Whether content is in the store.
    pub blobs: Arc<dyn Fn(&Digest) -> bool + Send + Sync>,
    /// The newest release.
    pub newest: Option<Manifest>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("validators", &self.validators)
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

impl Known {
    /// Nothing is known: everything is fetched.
    #[must_use]
    pub fn nothing() -> Self {
        Self { validators: Vec::new(), blobs: Arc::new(|_| false), newest: None }
    }

    /// What upstream said of a URL, where the store still holds what it stands for.
    fn validator(&self, url: &str) -> Option<&Validator> {
        self.validators
            .iter()
            .find(|validator| validator.url == url)
            .filter(|known| (self.blobs)(&known.archive.sha256) && (self.blobs)(&known.payload.sha256))
    }
}

/// What a look at upstream found.
#[derive(Debug)]
pub enum Looked {
    /// The newest release holds exactly what upstream has.
    Unchanged {
        /// Bytes received in this run.
        received_bytes: u64,
        /// Upstream's `Date` less the local clock, seconds.
        clock_offset: Option<i64>,
        /// How far the index was understood; `None` where it was not sent again, and so is what it was.
        reading: Option<Reading>,
        /// What to send as conditions next time, to be kept in place of what was known: the same content may have got
        /// another `ETag`.
        validators: Vec<Validator>,
    },
    /// Something is new, or the store lacks something.
    Feed(Box<CheckedFeed>),
}
