//! Why a look at upstream brought nothing.

use std::io;

use bundles::archive::ArchiveError;
use bundles::index::IndexError;
use bundles::name::BadName;
use bundles::{Checksum, FileName, Reason, Reasoned};

use crate::upstream::UpstreamError;

/// Why a look at upstream brought nothing. Then nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Upstream gave no usable answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The index cannot be used.
    #[error("what came from {url} cannot be used as an index")]
    Index {
        /// Where it came from.
        url: String,
        /// Why not.
        #[source]
        source: IndexError,
    },
    /// A page for people in the place of an archive.
    #[error(
        "instead of the archive {name} came an HTML page, perhaps a login page or an error page; open its URL \
         in a browser from this network"
    )]
    Html {
        /// The archive.
        name: FileName,
    },
    /// Another number of bytes than the index promises.
    #[error(
        "the archive {name} has {found} bytes, and the index promises {promised}; upstream may be in \
         the midst of a change: try again"
    )]
    Size {
        /// The archive.
        name: FileName,
        /// By the index.
        promised: u64,
        /// As announced, or as came.
        found: u64,
    },
    /// Other bytes than the index promises.
    #[error(
        "the archive {name} has the checksum {found}, and the index promises {promised}; the file is \
         damaged, or upstream is in the midst of a change: try again"
    )]
    Checksum {
        /// The archive.
        name: FileName,
        /// By the index.
        promised: Box<Checksum>,
        /// Of what came.
        found: Box<Checksum>,
    },
    /// All archives together are too much.
    #[error(
        "the feed's archives have more than {limit} bytes together; if they are genuine, raise run_bytes in [limits]"
    )]
    RunTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The archive does not open.
    #[error("the archive {name} cannot be used")]
    Archive {
        /// The archive.
        name: FileName,
        /// Why not.
        #[source]
        source: ArchiveError,
    },
    /// A name that does not fit into signed metadata.
    #[error("the index names a file whose name is too long to be published")]
    Name(#[source] BadName),
    /// What comes cannot be kept.
    #[error("cannot write to the staging directory; check free space and permissions of the data directory")]
    Staging(#[source] io::Error),
    /// A thread of this program ended early.
    #[error("a task of this program failed; report it as a defect")]
    Task(#[source] tokio::task::JoinError),
    /// Another file of the same run failed, or nobody waits for the run any more.
    #[error("the run was stopped")]
    Stopped,
}

impl Reasoned for SyncError {
    fn reason(&self) -> Reason {
        match self {
            Self::Upstream(error) => error.reason(),
            Self::Index { source, .. } => source.reason(),
            Self::Html { .. } | Self::Name(_) => Reason::NotAFeed,
            Self::Size { promised, found, .. } if found < promised => Reason::Truncated,
            Self::Size { .. } | Self::Checksum { .. } => Reason::DigestMismatch,
            Self::RunTooLarge { .. } => Reason::TooLarge,
            Self::Archive { source, .. } => source.reason(),
            Self::Staging(_) => Reason::Storage,
            Self::Task(_) | Self::Stopped => Reason::Internal,
        }
    }
}
