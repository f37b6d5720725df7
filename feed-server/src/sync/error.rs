//! Why a look at upstream brought nothing.

use std::io;

use bundles::archive::ArchiveError;
use bundles::index::IndexError;
use bundles::name::BadName;
use bundles::zip_file::ZipFileError;
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
    /// The vendor's own zip, which is to be fetched in each run, was not.
    #[error(
        "the vendor's own zip did not come from [upstream] offline_zip_url ({url}), and nothing is released unless all of \
         it is whole; mend the URL, or leave the key out to do without the zip"
    )]
    OfflineZip {
        /// Where it was to come from.
        url: String,
        /// Why it did not.
        #[source]
        source: Box<SyncError>,
    },
    /// The vendor's zip is no safe zip.
    #[error("the vendor's zip cannot be used")]
    Zip(#[source] ZipFileError),
    /// The vendor's zip is too large.
    #[error(
        "the vendor's zip has {length} bytes, more than {limit}; if it is genuine, raise offline_zip_bytes in [limits]"
    )]
    ZipTooLarge {
        /// Its bytes.
        length: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The zip's index names what the zip does not hold.
    #[error("the zip's index names {name}, and the zip does not hold it; get the zip again, and compare its SHA-256")]
    NotInZip {
        /// The file.
        name: FileName,
    },
    /// The zip holds something in two of its folders, and it cannot be told which one is meant.
    #[error("the zip holds {name} in more than one folder, and nothing says which is meant; get the zip again")]
    TwiceInZip {
        /// The file, or what is looked for.
        name: String,
    },
    /// The zip is no feed.
    #[error(
        "the zip holds no index, and no archive whose name is known; is it the vendor's posture-offline.zip? What its files \
         are can be said in [upstream.components]; `feed-server inspect ZIP` shows what it holds"
    )]
    NoFeedInZip,
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

impl SyncError {
    /// What reading a zip's member failed with: the zip's own fault, or this machine's.
    pub(super) fn member(error: io::Error) -> Self {
        ZipFileError::within(error).map_or_else(Self::Staging, Self::Zip)
    }

    /// The answer of upstream, or of the way there, that it is, whichever file it was about.
    #[must_use]
    pub fn upstream(&self) -> Option<&UpstreamError> {
        match self {
            Self::Upstream(error) => Some(error),
            Self::OfflineZip { source, .. } => source.upstream(),
            Self::Index { .. }
            | Self::Html { .. }
            | Self::Size { .. }
            | Self::Checksum { .. }
            | Self::RunTooLarge { .. }
            | Self::Archive { .. }
            | Self::Zip(_)
            | Self::ZipTooLarge { .. }
            | Self::NotInZip { .. }
            | Self::TwiceInZip { .. }
            | Self::NoFeedInZip
            | Self::Name(_)
            | Self::Staging(_)
            | Self::Task(_)
            | Self::Stopped => None,
        }
    }

    /// Whether it is about the vendor's own zip, which is the same one whichever URL the index has.
    #[must_use]
    pub fn is_of_offline_zip(&self) -> bool {
        matches!(self, Self::OfflineZip { .. })
    }
}

/// What was stopped because of another's failure says nothing.
pub(super) const WEIGHS_NOTHING: u8 = 0;

/// Which of several errors is told: the first of those that weigh most. What later runs have to heed must not be lost
/// behind what they need not.
pub(super) fn weight_of(upstream: Option<&UpstreamError>) -> u8 {
    match upstream {
        Some(UpstreamError::ProxyAuth { .. }) => 3,
        Some(error) if error.asks_for_pause().is_some() => 2,
        Some(_) | None => 1,
    }
}

impl Reasoned for SyncError {
    fn reason(&self) -> Reason {
        match self {
            Self::Upstream(error) => error.reason(),
            Self::Index { source, .. } => source.reason(),
            Self::Html { .. } | Self::NoFeedInZip | Self::Name(_) => Reason::NotAFeed,
            Self::Size { promised, found, .. } if found < promised => Reason::Truncated,
            Self::Size { .. } | Self::Checksum { .. } => Reason::DigestMismatch,
            Self::RunTooLarge { .. } | Self::ZipTooLarge { .. } => Reason::TooLarge,
            Self::Archive { source, .. } => source.reason(),
            // Another kind of file in the zip's place is upstream's doing, and no operator's.
            Self::OfflineZip { source, .. } if source.reason() == Reason::BadRequest => Reason::NotAFeed,
            Self::OfflineZip { source, .. } => source.reason(),
            Self::Zip(source) => source.reason(),
            Self::NotInZip { .. } | Self::TwiceInZip { .. } => Reason::BadArchive,
            Self::Staging(_) => Reason::Storage,
            Self::Task(_) | Self::Stopped => Reason::Internal,
        }
    }
}
