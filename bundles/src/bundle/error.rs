//! Why a bundle was not taken, for somebody with a stick in the hand.

use std::io;

use jiff::Timestamp;

use super::{MAX_CLOCK_LAG, span};
use crate::signed::SignedError;
use crate::zip_file::ZipFileError;
use crate::{Digest, Reason, Reasoned, Serial};

/// Why a bundle was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The medium fails.
    #[error("the bundle cannot be read; put the medium in again, or copy the bundle anew, to another medium")]
    Medium(#[source] io::Error),
    /// No zip, damaged, or not as our writer writes.
    #[error(transparent)]
    Zip(#[from] ZipFileError),
    /// A zip of something else.
    #[error(
        "this zip is no bundle: it begins with {first:?} and not with bundle.json. If it is the vendor's posture-offline.zip, \
         an origin takes it with `bundle import --vendor`"
    )]
    NotABundle {
        /// The name of its first member.
        first: String,
    },
    /// `bundle.json` is not JSON of its shape.
    #[error("the bundle's bundle.json cannot be understood; the bundle is damaged, or was made by something else")]
    Facts(#[source] serde_json::Error),
    /// Made by a newer program.
    #[error(
        "the bundle has format {found}, and this program reads format {format}: a newer version of it is needed",
        format = super::FORMAT
    )]
    Format {
        /// The number found.
        found: u32,
    },
    /// A member that no bundle has.
    #[error("the bundle holds {name:?}, which no bundle has; it was made or changed by something else")]
    Stranger {
        /// Its name.
        name: String,
    },
    /// A member that this bundle should not have.
    #[error("the bundle holds {name}, which its release does not name; it was put together from parts")]
    Unasked {
        /// Its name.
        name: String,
    },
    /// A member that should be there.
    #[error("the bundle does not hold {name}; it is incomplete: get it from the origin again")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A member that is larger than it can be.
    #[error("the bundle's {name} has more than {limit} bytes; it is none of ours")]
    TooLarge {
        /// Its name.
        name: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// A member of another length than signed.
    #[error("the bundle's {name} has {found} bytes, and {signed} are signed; it is another file")]
    Length {
        /// Its name.
        name: String,
        /// Bytes found.
        found: u64,
        /// Bytes signed.
        signed: u64,
    },
    /// A member with other content than signed.
    #[error(
        "the bundle's {name} is not what is signed; it is damaged or was changed: get the bundle from the origin again"
    )]
    Differs {
        /// Its name.
        name: String,
    },
    /// Metadata that is no text.
    #[error("the bundle's {name} is no text; it was made or changed by something else")]
    NotText {
        /// Its name.
        name: String,
    },
    /// A root under another version than its own.
    #[error("the bundle's {name} says another version of itself than its name does; it was put together from parts")]
    Misnamed {
        /// Its name.
        name: String,
    },
    /// More roots than any origin makes.
    #[error("the bundle holds {count} roots, more than are looked at")]
    TooManyRoots {
        /// How many.
        count: usize,
    },
    /// A member's content cannot be taken further.
    #[error("the bundle's {name} cannot be read on")]
    Read {
        /// Its name.
        name: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Signed, but under a root that the trusted one knows nothing of.
    #[error(
        "the bundle is not signed by the origin that is trusted here. Trusted is root {trusted_version}, SHA-256 {trusted}; \
         the bundle has root {found_version}, SHA-256 {found}. It is another origin's, or the root here is not that of the \
         origin's offline repository: compare both with the origin's own"
    )]
    OtherOrigin {
        /// The version of the root to trust.
        trusted_version: u64,
        /// Its fingerprint.
        trusted: Digest,
        /// The version of the bundle's root that was compared.
        found_version: u64,
        /// Its fingerprint.
        found: Digest,
    },
    /// Signed by keys that the origin replaced since.
    #[error(
        "the bundle is signed under root {found}, which root {known} has replaced here; it was made before the origin changed \
         its keys: carry in a newer one"
    )]
    Superseded {
        /// The bundle's newest root.
        found: u64,
        /// The newest root known here.
        known: u64,
    },
    /// Signatures, their parts, or the manifest.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// `bundle.json` says something else than what is signed.
    #[error("the bundle's bundle.json says another {what} than what is signed; somebody changed it")]
    Untrue {
        /// What differs.
        what: &'static str,
    },
    /// The release was made in the future.
    #[error(
        "the bundle's release was made on {created}, which is {} after this machine's clock ({clock}); set the clock (NTP, \
         UDP 123; without a network by hand) and try again. {} are let pass",
        span(created.duration_since(*clock)), span(MAX_CLOCK_LAG)
    )]
    Clock {
        /// When the release was made.
        created: Timestamp,
        /// What this machine's clock says.
        clock: Timestamp,
    },
    /// Past its end.
    #[error("{}", expired(ended, now, clock))]
    Expired {
        /// When the first of its signatures ended.
        ended: Timestamp,
        /// The time that it was held to.
        now: Timestamp,
        /// What this machine's clock says; earlier than `now` where signed times are later than it.
        clock: Timestamp,
    },
    /// An older release than was seen.
    #[error(
        "the bundle holds release {found}, and release {highest} was seen here before; it is an older bundle, or somebody \
         replays one: carry in the newest, of release {highest} or a later one"
    )]
    Rollback {
        /// The bundle's release.
        found: Serial,
        /// The highest seen.
        highest: Serial,
    },
    /// Another release under a number that was seen.
    #[error(
        "the bundle's release {serial} is another one than the release {serial} that was seen here before; two origins sign \
         with the same keys, or one was restored from a backup: ask its operator"
    )]
    OtherOfSameSerial {
        /// The number.
        serial: Serial,
    },
}

fn expired(ended: &Timestamp, now: &Timestamp, clock: &Timestamp) -> String {
    let ago = span(now.duration_since(*ended));
    if now > clock {
        format!(
            "the bundle ended on {ended}, {ago} before the newest signed time that was seen here ({now}); carry in a newer \
             one. This machine's clock ({clock}) is late: set it"
        )
    } else {
        format!(
            "the bundle ended on {ended}, {ago} ago; carry in a newer one, or set this machine's clock if it is not {now}"
        )
    }
}

impl Reasoned for BundleError {
    fn reason(&self) -> Reason {
        match self {
            Self::Medium(_) | Self::Read { .. } => Reason::Storage,
            Self::Zip(source) => source.reason(),
            Self::NotABundle { .. } => Reason::BadRequest,
            Self::Facts(_)
            | Self::Format { .. }
            | Self::Stranger { .. }
            | Self::Unasked { .. }
            | Self::Missing { .. }
            | Self::NotText { .. }
            | Self::Misnamed { .. } => Reason::BadArchive,
            Self::TooLarge { .. } | Self::TooManyRoots { .. } => Reason::TooLarge,
            Self::Length { .. } | Self::Differs { .. } => Reason::DigestMismatch,
            Self::OtherOrigin { .. } | Self::Untrue { .. } | Self::OtherOfSameSerial { .. } => Reason::Signature,
            Self::Superseded { .. } | Self::Rollback { .. } => Reason::Rollback,
            Self::Signed(source) => source.reason(),
            Self::Clock { .. } => Reason::Clock,
            Self::Expired { .. } => Reason::Expired,
        }
    }
}
