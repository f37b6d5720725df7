//! Why a zip, or a member of one, was not read.

use std::io;
use std::sync::Arc;

use crate::member_name::NameError;
use crate::{Reason, Reasoned};

/// Why a zip, or a member of one, was not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ZipFileError {
    /// The medium fails: a bad sector, a stick pulled out, a share gone away.
    #[error("the medium that the zip lies on cannot be read; put it in again, or copy the zip anew, to another medium")]
    Medium(#[source] Arc<io::Error>),
    /// Another kind of file, as people pack them too.
    #[error("this is {kind} and not a zip; give the zip itself")]
    OtherKind {
        /// What it is.
        kind: &'static str,
    },
    /// It does not begin as a zip does.
    #[error("this does not begin like a zip; it is another file, or something was put in front of the zip")]
    NotAZip,
    /// It begins as a zip, and its end is not there.
    #[error("the zip is cut short; copy it again, and compare its length and SHA-256 with what was sent")]
    Truncated,
    /// Something follows the end record.
    #[error("there is something behind the zip's end; it was added to, or damaged: copy it again")]
    Behind,
    /// Two records could be the end.
    #[error("the zip has two ends, so that it is one zip to one reader and another to the next")]
    TwoEnds,
    /// An end record that lies.
    #[error("the zip's end record {why}")]
    End {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A central directory that is none.
    #[error("the zip's directory {why}")]
    Directory {
        /// What is wrong with it.
        why: &'static str,
    },
    /// More members than allowed.
    #[error(
        "the zip holds more than {limit} members, folders included; if it is genuine, raise [limits] archive_members"
    )]
    TooManyEntries {
        /// How many are allowed.
        limit: usize,
    },
    /// Past a limit.
    #[error("{what} would open to more than {limit} bytes; if it is genuine, raise the limit in [limits]")]
    TooLarge {
        /// What opens to too much.
        what: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// A name that must not become a path.
    #[error("the zip holds a member named {name:?}, which {why}")]
    Name {
        /// The name, cut to what fits a message.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A link, a device or the like.
    #[error("the zip's member {name:?} is {kind}; only files and directories are taken")]
    Kind {
        /// The name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// Encrypted content.
    #[error(
        "the zip's member {name:?} is encrypted; nothing here has a password for it, and no scanner can look into it"
    )]
    Encrypted {
        /// The name.
        name: String,
    },
    /// Packed in another way than stored or deflated.
    #[error("the zip's member {name:?} is packed with method {method}; only stored and deflated members are taken")]
    Method {
        /// The name.
        name: String,
        /// The method's number.
        method: u16,
    },
    /// A header that one of the two kinds of reader would take otherwise.
    #[error("the zip's member {name:?} {why}")]
    Header {
        /// The name.
        name: String,
        /// What is wrong with its header.
        why: &'static str,
    },
    /// The central directory and the header in front of the content say two things.
    #[error("the zip's member {name:?} has one {what} in the directory and another in front of its content")]
    Disagree {
        /// The name.
        name: String,
        /// What they disagree about.
        what: &'static str,
    },
    /// Members overlap, or there is something between them.
    #[error("the zip's member {name:?} {why}")]
    Layout {
        /// The name.
        name: String,
        /// Where it lies.
        why: &'static str,
    },
    /// Not as our own writer writes.
    #[error(
        "the zip's member {name:?} is not written as bundles are ({what}); it was made or changed by something else"
    )]
    NotOurs {
        /// The name.
        name: String,
        /// What is written otherwise.
        what: &'static str,
    },
    /// There is no such member.
    #[error("the zip has no member number {index}")]
    NoEntry {
        /// The index asked for.
        index: usize,
    },
    /// Another length than declared.
    #[error("the zip's member {name:?} does not have the {length} bytes that it declares")]
    Length {
        /// The name.
        name: String,
        /// Bytes declared.
        length: u64,
    },
    /// Another checksum than declared.
    #[error("the zip's member {name:?} is damaged: its checksum is another; copy the zip again")]
    Checksum {
        /// The name.
        name: String,
    },
    /// Content that does not inflate, or something behind it.
    #[error("the zip's member {name:?} is damaged: {why}; copy the zip again")]
    Content {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl ZipFileError {
    /// What went wrong in reading a member: takes out of an error what [`super::Content`] put into it.
    ///
    /// # Errors
    /// The error is not from there, and given back: that of what the content was written to, say.
    pub fn within(error: io::Error) -> Result<Self, io::Error> {
        error.downcast()
    }

    pub(super) fn medium(error: io::Error) -> Self {
        Self::Medium(Arc::new(error))
    }

    pub(super) fn of_name(error: NameError) -> Self {
        match error {
            NameError::TooMany { limit } => Self::TooManyEntries { limit },
            NameError::Refused { name, why } => Self::Name { name, why },
        }
    }
}

/// As [`super::Content`] gives it, since `Read` knows no other errors; [`ZipFileError::within`] takes it out again.
impl From<ZipFileError> for io::Error {
    fn from(error: ZipFileError) -> Self {
        let kind = if let ZipFileError::Medium(source) = &error { source.kind() } else { io::ErrorKind::InvalidData };
        Self::new(kind, error)
    }
}

impl Reasoned for ZipFileError {
    fn reason(&self) -> Reason {
        match self {
            Self::Medium(_) => Reason::Storage,
            Self::OtherKind { .. } => Reason::BadRequest,
            Self::Truncated => Reason::Truncated,
            Self::TooManyEntries { .. } | Self::TooLarge { .. } => Reason::TooLarge,
            Self::NoEntry { .. } => Reason::NotFound,
            Self::NotAZip
            | Self::Behind
            | Self::TwoEnds
            | Self::End { .. }
            | Self::Directory { .. }
            | Self::Name { .. }
            | Self::Kind { .. }
            | Self::Encrypted { .. }
            | Self::Method { .. }
            | Self::Header { .. }
            | Self::Disagree { .. }
            | Self::Layout { .. }
            | Self::NotOurs { .. }
            | Self::Length { .. }
            | Self::Checksum { .. }
            | Self::Content { .. } => Reason::BadArchive,
        }
    }
}
