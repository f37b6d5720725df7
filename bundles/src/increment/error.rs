//! Why an increment was not made or not unpacked.

use std::io;

use crate::{Digest, Reason, Reasoned};

/// Why an increment was not made or not unpacked. Whoever asked for it asks for the whole instead.
#[derive(Debug, thiserror::Error)]
pub enum IncrementError {
    /// The 40 bytes at the beginning are others.
    #[error("what came does not begin as a dcz does")]
    Header,
    /// It tells of other old content.
    #[error("the increment is one for other content (SHA-256 {named}) than the one held")]
    OtherBase {
        /// What the header names.
        named: Digest,
    },
    /// The frame is broken, or asks for more memory than RFC 9842 lets it.
    #[error("the increment is damaged")]
    Damaged(#[source] io::Error),
    /// It ends early.
    #[error("the increment ends before its end")]
    Truncated,
    /// It opens to more.
    #[error("it opens to more than the {limit} bytes that it may")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// What it opens to cannot be written.
    #[error("its content cannot be written; check free space and permissions")]
    Write(#[source] io::Error),
    /// It cannot be made.
    #[error("no increment can be made")]
    Pack(#[source] io::Error),
}

impl Reasoned for IncrementError {
    fn reason(&self) -> Reason {
        match self {
            Self::Header | Self::Damaged(_) => Reason::BadArchive,
            Self::OtherBase { .. } => Reason::DigestMismatch,
            Self::Truncated => Reason::Truncated,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Write(_) => Reason::Storage,
            Self::Pack(_) => Reason::Internal,
        }
    }
}
