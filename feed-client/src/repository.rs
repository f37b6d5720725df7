//! The signed repository as a headend sees it: refreshes TUF metadata and vouches for targets. Verification itself is
//! sigstore-tuf's; this module gives it a transport, a store that loses nothing silently, and names for its refusals.

mod error;
mod guard;
mod held;
mod store;
mod transport;

use std::fmt;
use std::path::Path;

use bundles::signed::{self, RootFacts, SignedError, SignedManifest, SignedTarget, Verified};
use bundles::{Digest, TargetName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigstore_tuf::{TargetFile, Updater};
use url::Url;

pub use error::RepositoryError;
pub use store::Store;

use crate::crash;
use crate::fetch::{Ask, Coding, Codings, Dictionary, FetchError, Http, Small};
use guard::Guard;
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

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    metadata: Url,
    targets: Url,
}

impl Location {
    /// The repository of this side below a server's URL.
    #[must_use]
    pub fn new(server: &Url, side: Side) -> Self {
        let base = below(server, side.path());
        Self::at(below(&base, "metadata"), below(&base, "targets"))
    }

    /// A repository by the URLs of its two directories.
    #[must_use]
    pub const fn at(metadata: Url, targets: Url) -> Self {
        Self { metadata, targets }
    }

    /// The URL of what every poll asks for first.
    #[must_use]
    pub fn timestamp(&self) -> Url {
        self.metadata("timestamp.json")
    }

    fn metadata(&self, name: &str) -> Url {
        below(&self.metadata, name)
    }

    /// The URL of a target.
    #[must_use]
    pub fn target(&self, target: &SignedTarget) -> Url {
        self.target_path(&target.name().served_as(&target.sha256()))
    }

    /// The URL of the file that is served under this path.
    fn target_path(&self, path: &str) -> Url {
        // What stands for itself in a name must not come to mean something in a URL.
        below(&self.targets, &path.replace('%', "%25"))
    }
}

/// Appends to a URL's path, whether or not it ends in a slash (`Url::join` would replace the last part).
#[must_use]
pub fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// A timestamp as a server answered with it, not verified yet.
///
/// It comes compressed, where the server has it so, and never told by the one that is here: naming that would lengthen the
/// request of every poll by more than it shortens the few answers that are not 304.
#[derive(Debug, Clone)]
pub struct TimestampAnswer(Small);

impl TimestampAnswer {
    /// Asks for the server's timestamp: `None` where it is still the one with this tag.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn unless(http: &Http, location: &Location, etag: &str) -> Result<Option<Self>, FetchError> {
        let ask = Ask { unless: Some(etag), ..Ask::packed(signed::MAX_TIMESTAMP_BYTES, Codings::Zstd) };
        Ok(http.get_packed(&location.timestamp(), &ask).await?.map(Self))
    }
}

/// A repository whose metadata was verified just now.
#[derive(Debug)]
pub struct Repository {
    updater: Box<Updater>,
    verified: Verified,
    http: Http,
    location: Location,
    tagged: Option<(Digest, String)>,
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
        Self::refresh_from(None, http, location, pinned_root, store, now).await
    }

    /// The same with a timestamp that the server answered with just now.
    ///
    /// # Errors
    /// As [`Repository::refresh`].
    pub async fn refresh_from(
        first: Option<TimestampAnswer>,
        http: &Http,
        location: &Location,
        pinned_root: &[u8],
        store: &Store,
        now: Timestamp,
    ) -> Result<Self, RepositoryError> {
        let transport = Transport::new(http, location, Guard::new(store, pinned_root)?, first);
        let seen = transport.seen();
        match Self::refresh_over(transport, pinned_root, store, now).await {
            // What a damaged increment opens to is not what was signed; what the server has may be.
            Err(
                error @ (RepositoryError::Integrity(_)
                | RepositoryError::NotMetadata(_)
                | RepositoryError::Signature(_)),
            ) if seen.was_packed() => {
                http.fall_back("metadata", &error);
                let transport = Transport::new(http, location, Guard::new(store, pinned_root)?, None).without_packing();
                Self::refresh_over(transport, pinned_root, store, now).await
            }
            refreshed => refreshed,
        }
    }

    async fn refresh_over(
        transport: Transport,
        pinned_root: &[u8],
        store: &Store,
        now: Timestamp,
    ) -> Result<Self, RepositoryError> {
        let (http, location) = (transport.http.clone(), transport.location.clone());
        let held = store.timestamp_version();
        let (seen, guard) = (transport.seen(), transport.guard.clone());
        let updater =
            Updater::new(transport, pinned_root).map_err(|error| RepositoryError::Root(SignedError::Root(error)))?;
        let mut updater = updater.with_store(guard.clone());
        // A floor that cannot be read or written is worth more than any answer of the server.
        store.failure()?;
        let refreshed = updater.refresh(now).await;
        store.failure()?;
        guard.refusal().map_err(|error| RepositoryError::of(error, None, None))?;
        refreshed.map_err(|error| RepositoryError::of(error, held, seen.version()))?;
        crash::point("client.refresh.stored");
        let verified = Verified::of_trusted(updater.trusted())?;
        let tagged = seen.timestamp().and_then(|(digest, etag)| Some((digest, etag?)));
        Ok(Self { updater: Box::new(updater), verified, http, location, tagged })
    }

    /// The digest of the timestamp that the server answered with, and its tag, where it had one.
    #[must_use]
    pub fn tagged(&self) -> Option<&(Digest, String)> {
        self.tagged.as_ref()
    }

    /// What is vouched for.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The manifest of the release that the stable channel points at. `here` is the one of the release that runs: it is not
    /// fetched if it is the same, and another one is told by it.
    ///
    /// # Errors
    /// It is not signed, does not arrive as signed, or is not a manifest.
    pub async fn stable(&self, here: Option<Vec<u8>>) -> Result<SignedManifest, RepositoryError> {
        let name = TargetName::of_channel_stable();
        let target = self.verified.target(&name)?;
        if target.length() > bundles::release::MAX_MANIFEST_BYTES {
            return Err(RepositoryError::TooLong { name, length: target.length() });
        }
        let here = here.map(Dictionary::new);
        if let Some(here) = here.as_ref().filter(|here| here.sha256() == target.sha256()) {
            return Ok(self.verified.manifest(&name, here.bytes().to_vec())?);
        }
        let url = self.location.target(target);
        let ask = Ask::packed(target.length(), Codings::all(here.as_ref()));
        let Small { mut bytes, coding, .. } = self.http.get_whole(&url, &ask).await?;
        if coding != Coding::Identity && Digest::of(&bytes) != target.sha256() {
            self.http.fall_back(name.as_str(), &RepositoryError::OtherBytes { name: name.clone() });
            bytes = self.http.get_small(&url, target.length()).await?;
        }
        if (bytes.len() as u64) < target.length() {
            return Err(RepositoryError::Short { name, length: bytes.len() as u64 });
        }
        Ok(self.verified.manifest(&name, bytes)?)
    }
}

impl Repository {
    /// The offline repository's root as this one's signed metadata has it, where that is another one than `known`, which
    /// is here already. `None` where it is the same, or is not signed here: an offline repository names none.
    ///
    /// # Errors
    /// It does not arrive as signed, or is no root.
    pub async fn offline_root(&self, known: Option<&[u8]>) -> Result<Option<Vec<u8>>, RepositoryError> {
        let name = TargetName::of_offline_root();
        let Ok(target) = self.verified.target(&name) else { return Ok(None) };
        if known.is_some_and(|known| Digest::of(known) == target.sha256()) {
            return Ok(None);
        }
        if target.length() > signed::MAX_ROOT_BYTES {
            return Err(RepositoryError::TooLong { name, length: target.length() });
        }
        let bytes = self.http.get_small(&self.location.target(target), target.length()).await?;
        if Digest::of(&bytes) != target.sha256() {
            return Err(RepositoryError::OtherBytes { name });
        }
        check_root(&bytes)?;
        Ok(Some(bytes))
    }
}

/// A target of a repository that may be anybody's: under any path, through delegations, with digests of other kinds. The
/// server's own have none of these.
#[derive(Debug, Clone)]
pub struct AnyTarget {
    file: TargetFile,
    path: String,
    served_as: String,
}

impl AnyTarget {
    /// Its path in the metadata.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The digest and the length that are signed, where the digest is one that releases are fetched by.
    #[must_use]
    pub fn sha256(&self) -> Option<(Digest, u64)> {
        Some((self.file.hashes.get("sha256")?.parse().ok()?, self.file.length))
    }
}

impl Repository {
    /// What is signed under any path, wherever in the tree of delegations.
    ///
    /// # Errors
    /// A delegated role that has to be asked cannot be fetched, verified or kept.
    pub async fn find(
        &mut self,
        path: &str,
        store: &Store,
        now: Timestamp,
    ) -> Result<Option<AnyTarget>, RepositoryError> {
        let found = self.updater.get_target_info(path, now).await;
        store.failure()?;
        let Some(file) = found.map_err(|error| RepositoryError::of(error, None, None))? else { return Ok(None) };
        let digest = ["sha256", "sha512"].iter().find_map(|kind| file.hashes.get(*kind));
        let served_as = match (digest, path.rsplit_once('/')) {
            (Some(digest), Some((directory, name))) if self.is_consistent() => format!("{directory}/{digest}.{name}"),
            (Some(digest), None) if self.is_consistent() => format!("{digest}.{path}"),
            _ => path.to_owned(),
        };
        Ok(Some(AnyTarget { file, path: path.to_owned(), served_as }))
    }

    /// Where such a target is.
    #[must_use]
    pub fn url_of(&self, target: &AnyTarget) -> Url {
        self.location.target_path(&target.served_as)
    }

    /// The bytes of such a target, held in memory.
    ///
    /// # Errors
    /// They do not come, or are not the signed ones.
    pub async fn bytes_of(&self, target: &AnyTarget) -> Result<Vec<u8>, RepositoryError> {
        let fetched = self.updater.download_target(&target.file, &target.path).await;
        fetched.map_err(|error| RepositoryError::of(error, None, None))
    }

    fn is_consistent(&self) -> bool {
        self.updater.trusted().root().consistent_snapshot
    }
}

/// Whether these bytes are a root that is signed by a threshold of its own keys.
///
/// # Errors
/// They are not.
pub fn check_root(bytes: &[u8]) -> Result<RootFacts, RepositoryError> {
    RootFacts::of_root(bytes).map_err(RepositoryError::Root)
}

/// The newest root that a server has, from its first one on. Nothing vouches for it.
///
/// # Errors
/// It cannot be asked, has none, or has more than an origin comes to.
pub async fn newest_root(http: &Http, location: &Location) -> Result<Vec<u8>, RepositoryError> {
    let mut newest = http.get_small(&location.metadata("1.root.json"), signed::MAX_ROOT_BYTES).await?;
    for version in 2..=signed::MAX_ROOTS {
        match http.get_small(&location.metadata(&format!("{version}.root.json")), signed::MAX_ROOT_BYTES).await {
            Ok(root) => newest = root,
            Err(FetchError::NotFound { .. }) => return Ok(newest),
            Err(error) => return Err(error.into()),
        }
    }
    Err(RepositoryError::Root(SignedError::TooManyRoots { count: signed::MAX_ROOTS + 1 }))
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
