//! Why a relay took nothing from the feed-server that it follows.

use bundles::signed::SignedError;
use bundles::{Reason, Reasoned, Serial};
use jiff::Timestamp;

use crate::jobs::sources::Heeded;
use crate::store::Repository;
use crate::sync::FollowError;
use crate::upstream::UpstreamError;
use crate::upstream::mirror::MirrorError;

/// Why a relay took nothing. What it serves stays.
#[derive(Debug, thiserror::Error)]
pub(in crate::jobs) enum RelayError {
    /// The server did not give what it names.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// Files did not come, or are not what was signed.
    #[error(transparent)]
    Files(Box<FollowError>),
    /// There is no repository.
    #[error(
        "{server} serves no signed repository (there is no repo/metadata/timestamp.json below it, nor one below offline); \
         check whether [upstream] url is a feed-server's address, and ask whoever runs it"
    )]
    NoRepository {
        /// Its address.
        server: String,
    },
    /// The root does not lead to its keys.
    #[error(
        "what {server} serves is signed by other keys than those of [upstream] root; compare the root's fingerprint with its \
         origin's (`feed-server keys list`), and if it is another one, ask who answers there"
    )]
    OtherOrigin {
        /// The server's address.
        server: String,
        /// How that shows.
        #[source]
        source: SignedError,
    },
    /// The signed metadata vouches for nothing.
    #[error("the {repository} repository of {server} cannot be trusted")]
    Signed {
        /// The server's address.
        server: String,
        /// Of which repository.
        repository: Repository,
        /// Why not.
        #[source]
        source: SignedError,
    },
    /// It ended, and is another one than was seen before.
    #[error(
        "the {repository} repository's {role} metadata that {server} serves ended on {expires}; check this machine's clock \
         first, and then whether that server still gets what its origin signs"
    )]
    Expired {
        /// The server's address.
        server: String,
        /// Of which repository.
        repository: Repository,
        /// Which role's.
        role: &'static str,
        /// When it ended.
        expires: Timestamp,
    },
    /// It ended, and is the one that is held.
    #[error(
        "{server} stands still: the {repository} repository's {role} metadata is what it was, and ended on {expires}; what \
         is served here stays. Check whether its origin still signs, and who answers in its place; then this machine's clock"
    )]
    Freeze {
        /// The server's address.
        server: String,
        /// Of which repository.
        repository: Repository,
        /// Which role's.
        role: &'static str,
        /// When it ended.
        expires: Timestamp,
    },
    /// Nothing was released yet.
    #[error("{server} has no release yet; the next run asks again")]
    NoRelease {
        /// The server's address.
        server: String,
    },
    /// Older than what was taken.
    #[error(
        "{server} offers release {offered}, and release {highest} was taken here before; a server was restored from a backup, \
         or somebody replays old data: ask whoever runs it"
    )]
    Older {
        /// The server's address.
        server: String,
        /// What is offered.
        offered: Serial,
        /// What was taken.
        highest: Serial,
    },
    /// Made after now.
    #[error(
        "release {serial} was made at {created}, and this machine's clock says {now:.0}; set the clock (NTP, UDP 123)"
    )]
    Clock {
        /// Which release.
        serial: Serial,
        /// When it was made, by its origin's clock.
        created: Timestamp,
        /// By this machine's.
        now: Timestamp,
    },
    /// Its manifest cannot be one.
    #[error("the release manifest that {server} serves is signed with {length} bytes, more than any has")]
    ManifestTooLong {
        /// The server's address.
        server: String,
        /// As signed.
        length: u64,
    },
}

impl RelayError {
    pub(super) fn signed(server: &str, repository: Repository, source: SignedError) -> Self {
        let server = server.to_owned();
        match source {
            SignedError::Expired { role, expires } => Self::Expired { server, repository, role, expires },
            source => Self::Signed { server, repository, source },
        }
    }

    /// Whether another repository of the same server may be what the root is of.
    pub(super) fn is_of_other_keys(&self) -> bool {
        match self {
            Self::Signed { source, .. } => source.reason() == Reason::Signature,
            Self::Mirror(_)
            | Self::Files(_)
            | Self::NoRepository { .. }
            | Self::OtherOrigin { .. }
            | Self::Expired { .. }
            | Self::Freeze { .. }
            | Self::NoRelease { .. }
            | Self::Older { .. }
            | Self::Clock { .. }
            | Self::ManifestTooLong { .. } => false,
        }
    }

    /// Whether the signed metadata is good, and what it calls stable is not taken.
    pub(in crate::jobs) fn is_about_the_release(&self) -> bool {
        match self {
            Self::NoRelease { .. } | Self::Older { .. } | Self::Clock { .. } | Self::ManifestTooLong { .. } => true,
            Self::Mirror(_)
            | Self::Files(_)
            | Self::NoRepository { .. }
            | Self::OtherOrigin { .. }
            | Self::Signed { .. }
            | Self::Expired { .. }
            | Self::Freeze { .. } => false,
        }
    }

    /// Whether the server may have been between two releases as it was asked.
    pub(super) fn is_in_between(&self) -> bool {
        match self {
            Self::Mirror(MirrorError::Gone { .. }) => true,
            Self::Mirror(_)
            | Self::Files(_)
            | Self::NoRepository { .. }
            | Self::OtherOrigin { .. }
            | Self::Signed { .. }
            | Self::Expired { .. }
            | Self::Freeze { .. }
            | Self::NoRelease { .. }
            | Self::Older { .. }
            | Self::Clock { .. }
            | Self::ManifestTooLong { .. } => false,
        }
    }
}

impl From<FollowError> for RelayError {
    fn from(error: FollowError) -> Self {
        Self::Files(Box::new(error))
    }
}

impl Heeded for RelayError {
    fn upstream(&self) -> Option<&UpstreamError> {
        match self {
            Self::Mirror(error) => error.upstream(),
            Self::Files(error) => error.upstream(),
            Self::NoRepository { .. }
            | Self::OtherOrigin { .. }
            | Self::Signed { .. }
            | Self::Expired { .. }
            | Self::Freeze { .. }
            | Self::NoRelease { .. }
            | Self::Older { .. }
            | Self::Clock { .. }
            | Self::ManifestTooLong { .. } => None,
        }
    }
}

impl Reasoned for RelayError {
    fn reason(&self) -> Reason {
        match self {
            Self::Mirror(error) => error.reason(),
            Self::Files(error) => error.reason(),
            Self::NoRepository { .. } | Self::NoRelease { .. } => Reason::NotFound,
            Self::OtherOrigin { .. } => Reason::Signature,
            Self::Signed { source, .. } => source.reason(),
            Self::Expired { .. } => Reason::Expired,
            Self::Freeze { .. } => Reason::Freeze,
            Self::Older { .. } => Reason::Rollback,
            Self::Clock { .. } => Reason::Clock,
            Self::ManifestTooLong { .. } => Reason::TooLarge,
        }
    }
}
