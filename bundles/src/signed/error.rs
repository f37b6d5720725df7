//! Why signed metadata vouches for nothing.

use jiff::Timestamp;
use sigstore_tuf::Error as TufError;

use crate::release::ManifestError;
use crate::{Reason, Reasoned, TargetName};

/// Why signed metadata vouches for nothing.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// The root that was to be trusted is none.
    #[error("the root to trust is not a root signed by its own keys; export it from the origin again")]
    Root(#[source] TufError),
    /// Not by a threshold of trusted keys.
    #[error(
        "the signed metadata is not by a threshold of trusted keys; it was changed, or is another origin's: compare root \
         fingerprints"
    )]
    Signature(#[source] TufError),
    /// Other bytes than the signed parent promises.
    #[error("the signed metadata is not what its signed parent promises; it was damaged or put together from parts")]
    Integrity(#[source] TufError),
    /// Not TUF metadata.
    #[error("what should be signed metadata is none")]
    NotMetadata(#[source] TufError),
    /// Something is past its expiry.
    #[error("the signed {role} metadata ended on {expires}")]
    Expired {
        /// Which role's.
        role: &'static str,
        /// When it ended.
        expires: Timestamp,
    },
    /// Older than what was held.
    #[error(
        "the signed {role} metadata has version {found}, and version {held} was seen here before; these are older signatures, \
         from a copy or a backup, or somebody replays old data: get the newest from the origin"
    )]
    Rollback {
        /// Which role's.
        role: &'static str,
        /// The version seen before.
        held: u64,
        /// The version found.
        found: u64,
    },
    /// Under the version that was held, and saying something else.
    #[error(
        "the signed {role} metadata has version {version} as what was seen before, and says something else; two origins \
         sign with the same keys, or one was copied"
    )]
    OtherOfSameVersion {
        /// Which role's.
        role: &'static str,
        /// Both versions.
        version: u64,
    },
    /// A version of the root is not there, though a later one is.
    #[error("version {version} of the root is missing, so nothing leads from the trusted root to the newest one")]
    RootMissing {
        /// Which version.
        version: u64,
    },
    /// More roots than any origin makes.
    #[error("there are {count} roots, more than are looked at")]
    TooManyRoots {
        /// How many.
        count: usize,
    },
    /// The other one of an origin's two repositories.
    #[error(
        "what is signed is the origin's {} repository, which never stands in for the other one; somebody put it where the \
         other one belongs",
        if *is_online { "online" } else { "offline" }
    )]
    OtherRepository {
        /// Which one it is.
        is_online: bool,
    },
    /// A target that is not signed.
    #[error("the signed metadata has no target {name}")]
    NoTarget {
        /// Which one.
        name: TargetName,
    },
    /// Other bytes than signed.
    #[error("the bytes of {name} are not the signed ones; they are damaged, or were changed on the way")]
    OtherBytes {
        /// Which one.
        name: TargetName,
    },
    /// Not a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A defect.
    #[error("the verification ended in a way that should not be")]
    Internal(#[source] TufError),
}

impl SignedError {
    pub(super) fn of(error: TufError) -> Self {
        match error {
            TufError::ThresholdNotMet { .. }
            | TufError::DuplicateSignature { .. }
            | TufError::UnknownRole(_)
            | TufError::UnusableKey { .. }
            | TufError::UnsupportedScheme { .. }
            | TufError::Crypto(_) => Self::Signature(error),
            TufError::IntegrityMismatch(_) => Self::Integrity(error),
            TufError::Json(_) | TufError::Malformed(_) | TufError::NonIntegerNumber => Self::NotMetadata(error),
            // Versions, expiry, targets and storage are this module's, which asks with none of them in the way.
            TufError::Expired { .. }
            | TufError::Rollback { .. }
            | TufError::BadRootVersion { .. }
            | TufError::EqualVersion { .. }
            | TufError::NotRefreshed
            | TufError::TargetNotFound(_)
            | TufError::Transport { .. }
            | TufError::Io { .. } => Self::Internal(error),
            // The enum may grow: an unknown refusal is still a refusal.
            error => Self::Internal(error),
        }
    }
}

impl Reasoned for SignedError {
    fn reason(&self) -> Reason {
        match self {
            Self::Root(_)
            | Self::Signature(_)
            | Self::Integrity(_)
            | Self::NotMetadata(_)
            | Self::OtherOfSameVersion { .. }
            | Self::RootMissing { .. }
            | Self::OtherRepository { .. }
            | Self::NoTarget { .. } => Reason::Signature,
            Self::Expired { .. } => Reason::Expired,
            Self::Rollback { .. } => Reason::Rollback,
            Self::TooManyRoots { .. } => Reason::TooLarge,
            Self::OtherBytes { .. } => Reason::DigestMismatch,
            Self::Manifest(source) => source.reason(),
            Self::Internal(_) => Reason::Internal,
        }
    }
}
