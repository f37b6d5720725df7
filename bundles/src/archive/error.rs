//! Why an archive was not opened.

use std::io;

use crate::member_name::NameError;
use crate::zip_file::ZipFileError;
use crate::{Reason, Reasoned};

/// Why an archive was not opened or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive cannot be read from where it lies.
    #[error("the archive cannot be read; check the disk")]
    Read(#[source] io::Error),
    /// What is inside cannot be written.
    #[error("the archive's content cannot be written; check free space and permissions")]
    Write(#[source] io::Error),
    /// A web page in an archive's place.
    #[error("what came is a web page and not an archive; perhaps a proxy or a login page answered in upstream's place")]
    WebPage,
    /// The name promises another kind.
    #[error("by its name it is {expected}, and its first bytes are not")]
    OtherKind {
        /// What the name promises.
        expected: &'static str,
    },
    /// The content ends early.
    #[error("the archive is cut short")]
    Truncated,
    /// Compression, tar or zip structure is broken.
    #[error("the archive is damaged")]
    Damaged(#[source] io::Error),
    /// The zip is refused.
    #[error(transparent)]
    Zip(ZipFileError),
    /// Past a limit.
    #[error("{what} exceeds {limit} bytes; if it is genuine, raise the limit in [limits]")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// Bytes allowed.
        limit: u64,
    },
    /// More members than allowed.
    #[error(
        "the archive holds more than {limit} members, folders included; if it is genuine, raise [limits] archive_members"
    )]
    TooManyMembers {
        /// How many are allowed.
        limit: usize,
    },
    /// A name that must not become a path.
    #[error("the archive holds a member named {name:?}, which {why}")]
    MemberName {
        /// The name, cut to what fits a message.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A link, a device or the like.
    #[error("the archive's member {name:?} is {kind}; only files and directories are taken")]
    MemberKind {
        /// The name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
}

impl From<NameError> for ArchiveError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::TooMany { limit } => Self::TooManyMembers { limit },
            NameError::Refused { name, why } => Self::MemberName { name, why },
        }
    }
}

impl Reasoned for ArchiveError {
    fn reason(&self) -> Reason {
        match self {
            Self::Read(_) | Self::Write(_) => Reason::Storage,
            Self::Zip(source) => source.reason(),
            Self::WebPage => Reason::NotAFeed,
            Self::Truncated => Reason::Truncated,
            Self::TooLarge { .. } | Self::TooManyMembers { .. } => Reason::TooLarge,
            Self::OtherKind { .. } | Self::Damaged(_) | Self::MemberName { .. } | Self::MemberKind { .. } => {
                Reason::BadArchive
            }
        }
    }
}
