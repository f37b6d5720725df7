//! What can be wrong with a repository, in the house's words.

use bundles::release::ManifestError;
use bundles::signed::SignedError;
use bundles::{Reason, Reasoned, TargetName};
use sigstore_tuf::Error as TufError;

use crate::durable::StorageError;
use crate::fetch::FetchError;

/// Why the repository does not vouch for anything.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The server or the way to it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The local store.
    #[error("verified metadata could not be kept")]
    Store(#[from] StorageError),
    /// The pinned root is none.
    #[error(transparent)]
    Root(SignedError),
    /// Metadata past its expiry, and newer than what was held.
    #[error("the server's metadata has expired; check this machine's clock, and whether the origin still signs")]
    Expired(#[source] TufError),
    /// The very metadata that was held, past its expiry.
    #[error(
        "the server still answers with metadata that has expired; check that the origin still signs, that a relay still \
         follows it, and who answers in the server's place"
    )]
    Freeze(#[source] TufError),
    /// Metadata older than what was held.
    #[error(
        "the server's metadata is older than what was seen before; the server was restored from a backup, or somebody \
         replays old data"
    )]
    Rollback(#[source] TufError),
    /// Not by a threshold of trusted keys.
    #[error(
        "the server's metadata is not signed by a threshold of trusted keys; it was changed on the way, or the server is \
         another origin's: compare root fingerprints and enroll again if so"
    )]
    Signature(#[source] TufError),
    /// Other bytes than the signed length and digests.
    #[error("the server's metadata is not what its signed parent promises; try again, and check the server's store")]
    Integrity(#[source] TufError),
    /// Not TUF metadata.
    #[error("the answer is not signed metadata, perhaps a login page or an error page; check [server] url")]
    NotMetadata(#[source] TufError),
    /// Too many roots.
    #[error(
        "the server has more new roots than are taken in one attempt; what was verified of them is kept, so run \
         `feed-client update` again"
    )]
    Chain(#[source] TufError),
    /// A defect.
    #[error("the verification ended in a way that should not be")]
    Internal(#[source] TufError),
    /// A target that is not signed.
    #[error(
        "the signed metadata has no target {name}; the server has no release yet, or its manifest names what it does not sign"
    )]
    NoTarget {
        /// Which one.
        name: TargetName,
    },
    /// Longer than any such file can be.
    #[error("{name} is signed with {length} bytes, more than it can have")]
    TooLong {
        /// Which one.
        name: TargetName,
        /// The signed length.
        length: u64,
    },
    /// Fewer bytes than signed.
    #[error("{name} ended after {length} bytes, before its signed length; try again")]
    Short {
        /// Which one.
        name: TargetName,
        /// Bytes that came.
        length: u64,
    },
    /// Other bytes than signed.
    #[error(
        "the bytes of {name} are not the signed ones; the server's store is damaged, or they were changed on the way"
    )]
    OtherBytes {
        /// Which one.
        name: TargetName,
    },
    /// Not a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What was verified vouches for nothing all the same.
    #[error(transparent)]
    Signed(SignedError),
}

impl From<SignedError> for RepositoryError {
    /// Where the server is at fault, the sentence says so.
    fn from(error: SignedError) -> Self {
        match error {
            SignedError::NoTarget { name } => Self::NoTarget { name },
            SignedError::OtherBytes { name } => Self::OtherBytes { name },
            SignedError::Manifest(error) => Self::Manifest(error),
            SignedError::Root(_)
            | SignedError::Signature(_)
            | SignedError::Integrity(_)
            | SignedError::NotMetadata(_)
            | SignedError::Expired { .. }
            | SignedError::Rollback { .. }
            | SignedError::OtherOfSameVersion { .. }
            | SignedError::RootMissing { .. }
            | SignedError::OtherRepository { .. }
            | SignedError::TooManyRoots { .. }
            | SignedError::Internal(_) => Self::Signed(error),
        }
    }
}

impl RepositoryError {
    /// `held` is the version of the timestamp in the store before the refresh, `answered` the one that the server
    /// answered with: the same one means that the server stands still.
    pub(super) fn of(error: TufError, held: Option<u64>, answered: Option<u64>) -> Self {
        match error {
            TufError::Transport { message, source } => {
                match source.map(<dyn std::error::Error + Send + Sync>::downcast::<FetchError>) {
                    Some(Ok(fetch)) => Self::Fetch(*fetch),
                    Some(Err(other)) => Self::Chain(TufError::Transport { message, source: Some(other) }),
                    None => Self::Chain(TufError::Transport { message, source: None }),
                }
            }
            TufError::Expired { ref role, .. } if role == "timestamp" && held.is_some() && held == answered => {
                Self::Freeze(error)
            }
            TufError::Expired { .. } => Self::Expired(error),
            TufError::Rollback { .. } => Self::Rollback(error),
            TufError::BadRootVersion { trusted, new } if new <= trusted => Self::Rollback(error),
            TufError::BadRootVersion { .. }
            | TufError::ThresholdNotMet { .. }
            | TufError::DuplicateSignature { .. }
            | TufError::UnknownRole(_)
            | TufError::UnusableKey { .. }
            | TufError::UnsupportedScheme { .. }
            | TufError::Crypto(_) => Self::Signature(error),
            TufError::IntegrityMismatch(_) => Self::Integrity(error),
            TufError::Json(_) | TufError::Malformed(_) | TufError::NonIntegerNumber => Self::NotMetadata(error),
            TufError::EqualVersion { .. }
            | TufError::NotRefreshed
            | TufError::TargetNotFound(_)
            | TufError::Io { .. } => Self::Internal(error),
            // The enum may grow: an unknown refusal is still a refusal.
            error => Self::Internal(error),
        }
    }
}

impl Reasoned for RepositoryError {
    fn reason(&self) -> Reason {
        match self {
            Self::Fetch(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Root(_) => Reason::BadRequest,
            Self::Expired(_) => Reason::Expired,
            Self::Freeze(_) => Reason::Freeze,
            Self::Rollback(_) => Reason::Rollback,
            Self::Signature(_) => Reason::Signature,
            Self::Integrity(_) | Self::OtherBytes { .. } => Reason::DigestMismatch,
            Self::NotMetadata(_) => Reason::NotAFeed,
            Self::Chain(_) => Reason::HttpStatus,
            Self::Internal(_) => Reason::Internal,
            Self::NoTarget { .. } => Reason::NotFound,
            Self::TooLong { .. } => Reason::TooLarge,
            Self::Short { .. } => Reason::Truncated,
            Self::Manifest(error) => error.reason(),
            Self::Signed(error) => error.reason(),
        }
    }
}
