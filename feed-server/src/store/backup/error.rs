//! Why there is no backup, or none that can be restored.

use std::io;
use std::path::{Path, PathBuf};

use bundles::{Digest, Reason, Reasoned, Serial};

use super::{FORMAT, MemberName};
use crate::store::{Repository, SCHEMA, StoreError};

/// Why a backup could not be made or restored. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system said no.
    #[error("cannot {act} {path}; check free space and permissions")]
    Io {
        /// "read", "write", …
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A private key's file that cannot be in a tar under its name.
    #[error("the key {path} cannot be backed up under its name; give it one of up to 90 letters, digits and . _ -")]
    KeyName {
        /// The file.
        path: PathBuf,
    },
    /// Content has rotted: a backup of it could not be restored.
    #[error(
        "no backup can be made: the content {digest} is damaged on this server's disk (its SHA-256 is {found} now). Check the \
         disk; stop the server, remove tree/ and blobs/{}/{digest} from the data directory, start it again, and sync (a relay \
         that is fed by hand: import the bundle once more)",
        &digest.to_string()[..2]
    )]
    Rotten {
        /// What it was.
        digest: Digest,
        /// What it is.
        found: Digest,
    },
    /// The backup cannot be read.
    #[error("the backup cannot be read to its end; check the medium, or copy it anew")]
    Unreadable(#[source] io::Error),
    /// Too short.
    #[error("the backup ends before its end: it has {found} bytes and should have {expected}; copy it anew")]
    Truncated {
        /// Bytes that there are.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// Something else.
    #[error("this is no backup as `feed-server backup` writes them: {what}")]
    NotABackup {
        /// What is wrong with it.
        what: String,
    },
    /// From a newer program.
    #[error("this backup has form {found}, and this program knows {FORMAT}; restore it with the program that made it")]
    Format {
        /// Its form.
        found: u64,
    },
    /// Of a newer program's data directory.
    #[error(
        "this backup is of schema version {found}, and this program knows {SCHEMA}; restore it with the program that made it"
    )]
    Newer {
        /// Its schema.
        found: u64,
    },
    /// Other bytes than were backed up.
    #[error("{name} in the backup is damaged (its SHA-256 is not what it was); copy it anew, or take another backup")]
    Damaged {
        /// Which file.
        name: String,
    },
    /// More than is read.
    #[error("{name} in the backup is larger than {most} bytes, which nothing genuine is")]
    TooLarge {
        /// Which file.
        name: String,
        /// The bound.
        most: u64,
    },
    /// There is something already.
    #[error(
        "{path} is not empty, and a restore changes nothing that is there; give it an empty or absent data directory (--data), \
         or move this one away"
    )]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// From before a rotation.
    #[error(
        "this backup is older than the root that was given: its newest {repository} root has version {found}, and that one {given}. \
         Headends that follow the newer root take nothing that a server restored from it signs; take a newer backup"
    )]
    OlderRoot {
        /// Of which repository, by the backup.
        repository: Repository,
        /// The newest version in the backup.
        found: u64,
        /// The version that was given.
        given: u64,
    },
    /// Another origin's.
    #[error(
        "the root that was given is none of this backup's: it is no root, of another origin, or so much newer that nothing ties it \
         to this backup; compare what `feed-server keys list` showed on the server that was lost"
    )]
    OtherRoot,
    /// There are no more numbers.
    #[error("no release number is left above {highest}; check --serial-floor")]
    NumbersUsedUp {
        /// The highest one.
        highest: Serial,
    },
}

impl BackupError {
    pub(super) fn not_a_backup(what: impl Into<String>) -> Self {
        Self::NotABackup { what: what.into() }
    }

    pub(super) fn misses(name: &MemberName) -> Self {
        Self::not_a_backup(format!("{name} does not stand where it should"))
    }
}

impl Reasoned for BackupError {
    fn reason(&self) -> Reason {
        match self {
            Self::Store(source) => source.reason(),
            Self::Io { .. } | Self::Rotten { .. } | Self::Unreadable(_) | Self::Newer { .. } => Reason::Storage,
            Self::KeyName { .. } | Self::Format { .. } | Self::NotEmpty { .. } | Self::NumbersUsedUp { .. } => {
                Reason::BadRequest
            }
            Self::Truncated { .. } => Reason::Truncated,
            Self::NotABackup { .. } => Reason::BadArchive,
            Self::Damaged { .. } => Reason::DigestMismatch,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::OlderRoot { .. } => Reason::Rollback,
            Self::OtherRoot => Reason::Signature,
        }
    }
}

/// Makes the error of an act on a path.
pub(in crate::store) fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { act, path, source }
}
