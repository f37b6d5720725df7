//! Publishing: keys, signed metadata, the static tree, zips. New files first, `timestamp.json` last.
//!
//! Everything public is in `<data>/tree`, which any web server can serve:
//!
//! ```text
//! repo/metadata/    timestamp.json  N.root.json  N.snapshot.json  N.targets.json    the online repository
//! repo/targets/     <sha256>.<target>
//! offline/metadata/ offline/targets/                                                the offline one, other keys
//! offline/          posture-offline.zip  posture-offline-<serial>.zip                zips for ISE
//! offline/          posture-bundle.zip  posture-bundle-<serial>.zip                  zips for relays and headends
//! offline/          .sha256 and .sheet.txt beside each zip
//! offline/bundles/  <sha256>.<bundle>                                                what the bundles' names are links to
//! web/secure/spa/   posture-update.xml  r/<serial>/<archive>                        the vendor's layout
//! ```
//!
//! A relay signs nothing: it puts metadata and manifests there byte for byte as it received them, and makes the rest as an
//! origin does. Where it received the offline repository alone, there is nothing in `repo/`.
//!
//! What is in the tree and cannot be made again from the catalog (the version numbers that metadata had, the roots) is
//! in the catalog too, so a tree that was lost or damaged is made anew by the next [`Publisher::publish`].

mod bundle_zips;
mod change;
mod error;
mod key;
mod key_file;
mod keys;
mod metadata;
mod pending;
mod published;
mod publisher;
mod request;
mod roots;
mod rotation;
mod set;
mod sidecars;
mod signer;
mod signing;
mod succession;
mod targets;
mod terms;
#[cfg(test)]
mod tests;
mod tree;
mod vendor;
mod zips;

use std::fmt;

pub use change::{Change, ChangeError};
pub use error::PublishError;
pub use key::{Key, KeyError};
pub use key_file::Passphrase;
pub use keys::{KeyFact, Keys, MOST_ROOT_KEYS, Quorum, Sources};
pub use pending::{Lacking, Waiting};
pub use published::{Body, Cache, Published, Served};
pub use publisher::Publisher;
pub use request::{Request, RequestError, RootRequest};
pub use rotation::Rotated;
pub use succession::{newest_roots, refuse_older};
pub use zips::ZipOrigin;

pub use crate::store::Repository;

/// TUF's four top-level roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Names the keys of all roles.
    Root,
    /// Names the files.
    Targets,
    /// Names the version of the targets metadata.
    Snapshot,
    /// Names the version of the snapshot, freshly.
    Timestamp,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];

    /// By TUF's word for it.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// TUF's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
