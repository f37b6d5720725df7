//! What is kept: the catalog (releases, runs, headends, reports, tokens) and the blobs (content by digest), behind two
//! small traits so that another engine can take their place.
//!
//! [`Store::open`] puts the engines of today behind them: [`sled_catalog`] and [`file_blobs`].

pub mod audit;
pub mod backup;
mod batch;
pub mod chain_facts;
mod directory;
pub mod evidence;
pub mod file_blobs;
pub mod history;
pub mod holding;
pub mod imports;
pub mod ise;
mod late;
mod learned;
mod open;
mod owner;
pub mod records;
mod relay;
mod repository;
mod schema;
pub mod sled_catalog;
mod space;
#[cfg(test)]
mod tests;
mod typed;
mod variants;
pub mod versions;
mod who;

pub use learned::Learned;
pub use open::{Store, was_locked};
pub use owner::user_name;
pub use relay::{Floors, Held, held_state};
pub use repository::Repository;
pub use schema::SCHEMA;
pub use space::{Usage, free_bytes};
pub use typed::{KEPT_RUNS, RunFacts};
pub use variants::{Coding, Form, MetadataHistory, Packed, VariantRecord};
pub use who::Who;

use std::fs::File;
use std::path::Path;

use bundles::Digest;

use crate::sync::CheckedFile;

/// The catalog's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Serial (big endian) → [`records::ReleaseRecord`].
    Releases,
    /// Run id (big endian) → [`records::RunRecord`].
    Runs,
    /// Import id (big endian) → [`imports::ImportRecord`].
    Imports,
    /// Headend id → [`records::HeadendRecord`].
    Headends,
    /// Headend id → [`records::ReportRecord`].
    Reports,
    /// Token name → [`records::TokenRecord`].
    Tokens,
    /// URL → [`crate::sync::checked::Validator`].
    Validators,
    /// Digest, coding and base → [`VariantRecord`].
    Variants,
    /// Number in the trail (big endian) → [`audit::AuditRecord`] of an act.
    Audit,
    /// Number in the trail (big endian) → [`audit::AuditRecord`] of refused attempts.
    Refusals,
    /// Number (big endian) → [`history::Sample`] of the fleet.
    Samples,
    /// Serial (big endian) → [`history::PastRelease`], which outlives the release.
    PastReleases,
    /// Deployment name → [`ise::IseRecord`].
    Ise,
    /// Deployment name → [`ise::IseSeen`].
    IseSeen,
    /// Single values by name, such as the highest serial ever used and the versions of signed metadata.
    State,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 15] = [
        Self::Releases,
        Self::Runs,
        Self::Imports,
        Self::Headends,
        Self::Reports,
        Self::Tokens,
        Self::Validators,
        Self::Variants,
        Self::Audit,
        Self::Refusals,
        Self::Samples,
        Self::PastReleases,
        Self::Ise,
        Self::IseSeen,
        Self::State,
    ];

    /// For messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Releases => "releases",
            Self::Runs => "runs",
            Self::Imports => "imports",
            Self::Headends => "headends",
            Self::Reports => "reports",
            Self::Tokens => "tokens",
            Self::Validators => "validators",
            Self::Variants => "variants",
            Self::Audit => "audit",
            Self::Refusals => "refusals",
            Self::Samples => "samples",
            Self::PastReleases => "past_releases",
            Self::Ise => "ise",
            Self::IseSeen => "ise_seen",
            Self::State => "state",
        }
    }
}

/// A set of changes that happen together or not at all.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// In order; `None` removes.
    pub changes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A pair of a table.
pub type TablePair = (Table, Vec<u8>, Vec<u8>);

/// An ordered key-value store with atomic, durable batches.
pub trait Catalog: Send + Sync + std::fmt::Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError`] where the engine fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// All pairs of a table in key order; `newest_first` reverses it. At most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] where the engine fails.
    fn scan(&self, table: Table, newest_first: bool, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// The pairs of a table whose keys come after `key`, in key order. At most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] where the engine fails.
    fn scan_after(&self, table: Table, key: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Applies all changes or none; on disk when it returns.
    ///
    /// # Errors
    /// [`StoreError`] where the engine fails; then nothing was changed.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// Every pair of these tables, in their order, as they are at one moment: no batch is among them by half.
    ///
    /// # Errors
    /// [`StoreError`] where the engine fails.
    fn snapshot(&self, tables: &[Table]) -> Result<Vec<TablePair>, StoreError>;
}

/// Content by digest.
pub trait Blobs: Send + Sync + std::fmt::Debug {
    /// Whether the content is here.
    ///
    /// # Errors
    /// [`StoreError`] where that cannot be known.
    fn contains(&self, digest: &Digest) -> Result<bool, StoreError>;

    /// Takes a checked file; on disk when it returns. Content that is here already is left as it is.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was taken.
    fn adopt(&self, file: CheckedFile) -> Result<(), StoreError>;

    /// Opens content for reading.
    ///
    /// # Errors
    /// [`StoreError`] where it is not here or cannot be opened.
    fn open(&self, digest: &Digest) -> Result<File, StoreError>;

    /// Puts the content at `path` (which must not exist), sharing the bytes where the engine can.
    ///
    /// # Errors
    /// [`StoreError`] where it is not here or the path cannot be made.
    fn place(&self, digest: &Digest, path: &Path) -> Result<(), StoreError>;

    /// Every digest that is here.
    ///
    /// # Errors
    /// [`StoreError`] where they cannot be listed.
    fn list(&self) -> Result<Vec<Digest>, StoreError>;

    /// Forgets content; it is no error if it is not here.
    ///
    /// # Errors
    /// [`StoreError`] where it stays.
    fn remove(&self, digest: &Digest) -> Result<(), StoreError>;
}

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("cannot {act} {path}; check free space and permissions of the data directory")]
    Io {
        /// "read", "write", "rename", …
        act: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database said no.
    #[error("the catalog cannot {act}; check free space and the health of the disk")]
    Catalog {
        /// "read", "write", "open".
        act: &'static str,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record that this program cannot read.
    #[error("a record in the catalog's table {table} cannot be read; restore a backup, or report it as a defect")]
    Record {
        /// Which table.
        table: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a newer program.
    #[error(
        "the data directory {path} has schema version {found}, and this program knows {known}: run the newer program, or \
         restore a backup from before the upgrade"
    )]
    Newer {
        /// The data directory.
        path: std::path::PathBuf,
        /// Its schema.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Its records are in an older form, and there is no backup of them.
    #[error(
        "the data directory has schema version {found}, this program brings it to {known}, and the backup that it makes first \
         cannot be written; make room for it and start again, or run the older program"
    )]
    Unsaved {
        /// Its schema.
        found: u64,
        /// Ours.
        known: u64,
        /// Why there is no backup.
        #[source]
        source: Box<backup::BackupError>,
    },
    /// A restore did not come to its end.
    #[error("a restore into the data directory {path} was cut off; run `feed-server restore` again, which begins anew")]
    HalfRestored {
        /// The data directory.
        path: std::path::PathBuf,
    },
    /// Another process has it.
    #[error("the data directory {path} is in use by another process; stop it, or use its control socket")]
    InUse {
        /// The data directory.
        path: std::path::PathBuf,
    },
    /// Content that should be here is not.
    #[error("the content {digest} is missing from the store; restore a backup, or let the next sync fetch it again")]
    Missing {
        /// Its digest.
        digest: Digest,
    },
}

impl StoreError {
    /// Whether room on the disk is all that is missing.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let kind = match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::Catalog { source, .. } => source.downcast_ref::<std::io::Error>().map(std::io::Error::kind),
            Self::Record { .. }
            | Self::Newer { .. }
            | Self::Unsaved { .. }
            | Self::HalfRestored { .. }
            | Self::InUse { .. }
            | Self::Missing { .. } => None,
        };
        matches!(kind, Some(StorageFull | QuotaExceeded))
    }
}

impl bundles::Reasoned for StoreError {
    fn reason(&self) -> bundles::Reason {
        match self {
            Self::InUse { .. } => bundles::Reason::Busy,
            Self::Io { .. }
            | Self::Catalog { .. }
            | Self::Record { .. }
            | Self::Newer { .. }
            | Self::Unsaved { .. }
            | Self::HalfRestored { .. }
            | Self::Missing { .. } => bundles::Reason::Storage,
        }
    }
}
