//! Why something could not be published.

use std::io;
use std::path::{Path, PathBuf};

use bundles::bundle::BundleError;
use bundles::index::{IndexError, PatternError};
use bundles::name::BadName;
use bundles::offline_zip::ZipError;
use bundles::{Digest, MemberPath, Reason, Reasoned, Serial};

use super::{ChangeError, KeyError, Repository, Role};
use crate::store::StoreError;

/// Why something could not be published. What was published before is still served.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The file system said no.
    #[error("cannot {act} {path}; check free space and permissions of the data directory")]
    Io {
        /// "write", "rename", …
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root that headends hold is not of these keys.
    #[error(
        "the {repository} repository's root names other keys than {path} holds; restore the keys that belong to this data \
         directory: headends trust no others"
    )]
    OtherKeys {
        /// Whose root.
        repository: Repository,
        /// Where the keys are.
        path: PathBuf,
    },
    /// A key that the root names for this is not at hand.
    #[error(
        "the {repository} repository's {role} key is not in {path}, so nothing new can be signed; put it back, or replace it \
         with `feed-server keys rotate {role} --repository {repository}`, which takes root keys"
    )]
    KeysMissing {
        /// Of which repository.
        repository: Repository,
        /// Which role's.
        role: Role,
        /// Where keys are.
        path: PathBuf,
    },
    /// The keys themselves.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A change of the root that cannot be.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A root that was kept cannot be read.
    #[error("the {repository} repository's root in the catalog cannot be read; restore a backup")]
    Root {
        /// Whose root.
        repository: Repository,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Metadata that was received and kept cannot be read.
    #[error(
        "the {repository} repository's signed metadata in the catalog cannot be read; import the newest bundle again, or \
         restore a backup"
    )]
    Received {
        /// Whose metadata.
        repository: Repository,
    },
    /// Metadata could not be signed.
    #[error("the {role} metadata of the {repository} repository cannot be signed; report this as a defect")]
    Sign {
        /// Of which repository.
        repository: Repository,
        /// Which role.
        role: Role,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Now, or an expiry that follows from it, is not a time.
    #[error(
        "the clock or a lifetime in the configuration is out of range; check this machine's time and [bundles] valid_for"
    )]
    Time(#[source] jiff::Error),
    /// A file's name does not fit into metadata.
    #[error("a file of release {serial} cannot be published under its name")]
    Name {
        /// Of which release.
        serial: Serial,
        /// What is wrong with it.
        #[source]
        source: BadName,
    },
    /// The index of a release cannot be rewritten.
    #[error("the index of release {serial} cannot be rewritten for ISE; look at it with `feed-server inspect`")]
    Index {
        /// Of which release.
        serial: Serial,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// The index names an archive that its release does not have.
    #[error(
        "the index of release {serial} names {name}, which the release does not have; check [upstream.components], and \
         look at the index with `feed-server inspect`"
    )]
    NotInRelease {
        /// Of which release.
        serial: Serial,
        /// What the index names.
        name: bundles::FileName,
    },
    /// A pattern of the configuration.
    #[error("a pattern in [upstream.components] cannot be used")]
    Pattern(#[source] PatternError),
    /// A zip could not be written.
    #[error("the zip of release {serial} cannot be made")]
    Zip {
        /// Of which release.
        serial: Serial,
        /// Why.
        #[source]
        source: ZipError,
    },
    /// What a zip is made of has rotted.
    #[error(
        "the zip of release {serial} cannot be made: {name} is damaged on this server's disk (its SHA-256 is {found} now). \
         Check the disk, and restore the data directory from a backup; or stop the server, remove tree/ and blobs/{}/{digest} \
         from the data directory, start it again, and sync (a relay that is fed by hand: import the bundle once more)",
        &digest.to_string()[..2]
    )]
    Rotten {
        /// Of which release.
        serial: Serial,
        /// The member.
        name: MemberPath,
        /// What it was when it came; the blob's name.
        digest: Digest,
        /// What it is now.
        found: Digest,
    },
    /// A bundle does not come together.
    #[error("the bundle of release {serial} cannot be made")]
    Bundle {
        /// Of which release.
        serial: Serial,
        /// Why.
        #[source]
        source: BundleError,
    },
    /// The work was cut off inside this process.
    #[error("publishing was cut off; the next run completes it")]
    CutOff(#[source] tokio::task::JoinError),
}

impl Reasoned for PublishError {
    fn reason(&self) -> Reason {
        match self {
            Self::Io { .. } | Self::Root { .. } | Self::Received { .. } => Reason::Storage,
            Self::Store(source) => source.reason(),
            Self::OtherKeys { .. } => Reason::Signature,
            Self::KeysMissing { .. } => Reason::Storage,
            Self::Keys(source) => source.reason(),
            Self::Change(source) => source.reason(),
            Self::Sign { .. } | Self::CutOff(_) => Reason::Internal,
            Self::Time(_) => Reason::Clock,
            Self::Name { .. } | Self::NotInRelease { .. } => Reason::NotAFeed,
            Self::Index { source, .. } => source.reason(),
            Self::Pattern(_) => Reason::BadRequest,
            Self::Rotten { .. } => Reason::Storage,
            Self::Zip { source, .. } => source.reason(),
            Self::Bundle { source, .. } => source.reason(),
        }
    }
}

impl PublishError {
    /// Why a zip was not written.
    pub(super) fn of_zip(serial: Serial, source: ZipError) -> Self {
        match source {
            ZipError::Differs { name, expected: digest, found } => Self::Rotten { serial, name, digest, found },
            source => Self::Zip { serial, source },
        }
    }
}

/// Makes the error of an act on a path.
pub(super) fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io { act, path, source }
}
