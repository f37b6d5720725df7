//! The signed repository as a headend sees it: refreshes TUF metadata and vouches for targets. Verification itself is
//! sigstore-tuf's; this module gives it a transport, a store that loses nothing silently, and names for its refusals.

mod error;
mod store;
mod transport;

use std::fmt;
use std::path::Path;

use bundles::{Digest, Manifest, TargetName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigstore_tuf::Updater;
use url::Url;

pub use error::RepositoryError;
pub use store::Store;

use crate::crash;
use crate::fetch::Http;
use transport::Transport;

/// The server's two repositories over the same targets, each with root keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// `/repo`: for headends on the network.
    Online,
    /// `/offline`: what bundles are made of; its metadata lives longer.
    Offline,
}

impl Side {
    /// Both, the usual one first.
    pub const BOTH: [Self; 2] = [Self::Online, Self::Offline];

    /// The path below the server's URL.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Online => "repo",
            Self::Offline => "offline",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.path())
    }
}

/// Facts of the trusted root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFacts {
    /// Its version.
    pub version: u64,
    /// When it expires.
    pub expires: Timestamp,
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    base: Url,
}

impl Location {
    /// The repository of this side below a server's URL.
    #[must_use]
    pub fn new(server: &Url, side: Side) -> Self {
        Self { base: below(server, side.path()) }
    }

    fn metadata(&self, name: &str) -> Url {
        below(&self.base, &format!("metadata/{name}"))
    }

    /// The URL of a target.
    #[must_use]
    pub fn target(&self, target: &SignedTarget) -> Url {
        below(&self.base, &format!("targets/{}", target.name.served_as(&target.sha256)))
    }
}

/// Appends to a URL's path, whether or not it ends in a slash (`Url::join` would replace the last part).
#[must_use]
pub fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// A target that a threshold of trusted keys vouches for. Only [`Repository`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTarget {
    name: TargetName,
    sha256: Digest,
    length: u64,
}

impl SignedTarget {
    /// Its path in the metadata.
    #[must_use]
    pub fn name(&self) -> &TargetName {
        &self.name
    }

    /// The digest that its bytes must have.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// How many bytes it must have.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A manifest as it was signed. Only [`Repository`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    manifest: Manifest,
    bytes: Vec<u8>,
}

impl SignedManifest {
    /// What it says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    #[cfg(test)]
    pub(crate) fn for_tests(manifest: Manifest) -> Self {
        let bytes = manifest.to_json();
        Self { manifest, bytes }
    }

    /// The signed bytes: newer fields that this program does not know are kept with the release.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A repository whose metadata was verified just now.
#[derive(Debug)]
pub struct Repository {
    updater: Updater,
    http: Http,
    location: Location,
    now: Timestamp,
}

impl Repository {
    /// Runs TUF's refresh: the chain of roots from `pinned_root` on, then timestamp, snapshot, targets; each must be
    /// signed by a threshold of trusted keys, unexpired at `now`, and not older than what `store` has seen.
    ///
    /// # Errors
    /// Whatever is not so, or a store that could not keep what was verified: then nothing may be built on it.
    pub async fn refresh(
        http: &Http,
        location: &Location,
        pinned_root: &[u8],
        store: &Store,
        now: Timestamp,
    ) -> Result<Self, RepositoryError> {
        let transport = Transport::new(http.clone(), location.clone());
        let held = store.timestamp_version();
        let answered = transport.timestamp_seen();
        let updater = Updater::new(transport, pinned_root).map_err(RepositoryError::Root)?;
        let mut updater = updater.with_store(store.clone());
        // A floor that cannot be read or written is worth more than any answer of the server.
        store.failure()?;
        let refreshed = updater.refresh(now).await;
        store.failure()?;
        refreshed.map_err(|error| RepositoryError::of(error, held, answered.get()))?;
        crash::point("client.refresh.stored");
        Ok(Self { updater, http: http.clone(), location: location.clone(), now })
    }

    /// The trusted root's version and expiry.
    #[must_use]
    pub fn root(&self) -> RootFacts {
        let root = self.updater.trusted().root();
        RootFacts { version: root.version, expires: root.expires }
    }

    /// What the metadata says of a target.
    ///
    /// # Errors
    /// It is not signed, or signed without a SHA-256.
    pub async fn target(&mut self, name: &TargetName) -> Result<SignedTarget, RepositoryError> {
        let found = self.updater.get_target_info(name.as_str(), self.now).await;
        let file = found
            .map_err(|error| RepositoryError::of(error, None, None))?
            .ok_or_else(|| RepositoryError::NoTarget { name: name.clone() })?;
        let sha256 = file.hashes.get("sha256").and_then(|hex| hex.parse().ok());
        let sha256 = sha256.ok_or_else(|| RepositoryError::NoDigest { name: name.clone() })?;
        Ok(SignedTarget { name: name.clone(), sha256, length: file.length })
    }

    /// The manifest of the release that the stable channel points at.
    ///
    /// # Errors
    /// It is not signed, does not arrive as signed, or is not a manifest.
    pub async fn stable(&mut self) -> Result<SignedManifest, RepositoryError> {
        let target = self.target(&TargetName::of_channel_stable()).await?;
        if target.length > bundles::release::MAX_MANIFEST_BYTES {
            return Err(RepositoryError::TooLong { name: target.name, length: target.length });
        }
        let bytes = self.http.get_small(&self.location.target(&target), target.length).await?;
        if (bytes.len() as u64) < target.length {
            return Err(RepositoryError::Short { name: target.name, length: bytes.len() as u64 });
        }
        if Digest::of(&bytes) != target.sha256 {
            return Err(RepositoryError::OtherBytes { name: target.name });
        }
        let manifest = Manifest::from_json(&bytes)?;
        Ok(SignedManifest { manifest, bytes })
    }
}

/// Whether these bytes are a root that is signed by a threshold of its own keys.
///
/// # Errors
/// They are not.
pub fn check_root(bytes: &[u8]) -> Result<RootFacts, RepositoryError> {
    let trusted = sigstore_tuf::TrustedMetadataSet::from_root(bytes).map_err(RepositoryError::Root)?;
    Ok(RootFacts { version: trusted.root().version, expires: trusted.root().expires })
}

/// Whether `root` opens the repository at `location`, without keeping anything of it.
///
/// # Errors
/// It does not, and why.
pub async fn try_root(http: &Http, location: &Location, root: &[u8], now: Timestamp) -> Result<(), RepositoryError> {
    let directory = tempfile::tempdir()
        .map_err(crate::durable::StorageError::at("create a directory in", Path::new("the temporary directory")))?;
    let store = Store::open(directory.path());
    Repository::refresh(http, location, root, &store, now).await.map(|_| ())
}
