//! Backups: a data directory at one moment, as one tar file. Whatever engine the catalog is in, its records are in there as
//! lines of text, and any `tar` shows the rest.
//!
//! ```text
//! backup.json          Contents: what follows, in this order, with length and SHA-256
//! backup.json.sha256   of backup.json
//! catalog              a line for each record: its table, its key in hex, its value (JSON)
//! keys/<file>          private keys, unless they were left out
//! blobs/<sha256>       the content of every release
//! ```
//!
//! Not in there is what can be made again: the tree, what is prepared, what is staged.

mod error;
mod lines;
mod name;
mod place;
mod read;
mod survey;
mod take;
#[cfg(test)]
mod tests;

use bundles::{Digest, Serial};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use error::BackupError;
pub(super) use error::failed;
pub use lines::Line;
pub use name::MemberName;
pub use place::Place;
pub use read::{Checked, peek, read};
pub use survey::Survey;
pub use take::Snapshot;

pub(super) use place::RESTORING;

use crate::config::Role;

/// The form that this program writes and reads.
const FORMAT: u64 = 1;

const CONTENTS: &str = "backup.json";
const CONTENTS_DIGEST: &str = "backup.json.sha256";

/// A tar's unit.
const BLOCK: u64 = 512;

/// Two empty blocks are a tar's end.
const END: u64 = 2 * BLOCK;

/// What is read whole before anything of it is known to be right. A hundred bytes and some stand there for each file.
const MOST_CONTENTS: u64 = 16 << 20;

/// More than a hundred releases of the largest feed that is taken (`[limits] index_entries`, twice).
const MOST_FILES: usize = 250_000;

/// A private key's file has some hundred bytes.
const MOST_KEY: u64 = 64 << 10;

/// One record of the catalog: a relay's metadata, which names each file of each release, is the largest.
const MOST_LINE: u64 = 64 << 20;

/// Where private keys are in a data directory.
pub const KEYS: &str = "keys";

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    format: u64,
    /// The version of the program that made it.
    pub program: String,
    /// When.
    pub created: Timestamp,
    /// The arrangement of the catalog's records.
    pub schema: u64,
    /// Of an origin or of a relay.
    pub role: Role,
    /// The highest number that a release had.
    pub highest_serial: Option<Serial>,
    /// Whether the private keys that were in the data directory are in here.
    pub with_keys: bool,
    /// What follows, in this order.
    pub files: Vec<Member>,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it is.
    pub name: MemberName,
    /// Of its bytes.
    pub sha256: Digest,
    /// Its bytes.
    pub length: u64,
}

impl Contents {
    /// How many private keys are in it.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.files.iter().filter(|file| matches!(file.name, MemberName::Key(_))).count()
    }

    /// Bytes of a backup whose [`CONTENTS`] have that many.
    fn total(&self, contents: u64) -> u64 {
        let lengths = self.files.iter().map(|file| file.length);
        let members = [contents, DIGEST_LINE].into_iter().chain(lengths);
        let padded = |length: u64| length.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX).saturating_add(BLOCK);
        members.fold(END, |total, length| total.saturating_add(padded(length)))
    }
}

/// 64 hex digits and the line's end.
const DIGEST_LINE: u64 = 65;
