//! Another feed-server as a source: a repository's metadata and targets, as they come. Nothing is verified here.
//!
//! Every request goes through [`Vendor`]: its way out, its patience, its hosts and its name are those of any upstream.

use std::sync::atomic::{AtomicU64, Ordering};

use bundles::signed::{
    MAX_ROOT_BYTES, MAX_ROOTS, MAX_SNAPSHOT_BYTES, MAX_TARGETS_BYTES, MAX_TIMESTAMP_BYTES, Metadata, SignedError, peek,
};
use bundles::{Digest, Reason, Reasoned, TargetName};
use hyper::StatusCode;
use url::Url;

use super::{Answer, Condition, Content, UpstreamError, Vendor, shown};

/// Bytes of all the roots that are fetched at once, which are in memory before the first of them is verified. As many as
/// there may be, of the size of real ones, are two million.
const MAX_ROOTS_BYTES: u64 = 8 << 20;

/// A feed-server, and what came from it.
#[derive(Debug)]
pub struct Mirror {
    vendor: Vendor,
    base: Url,
    received: AtomicU64,
}

/// What a repository's timestamp is now.
#[derive(Debug)]
pub struct Polled {
    /// The one that is there; `None` where it is the one that is held.
    pub timestamp: Option<String>,
    /// The server's `Date` less the local clock, seconds.
    pub clock_offset: Option<i64>,
}

impl Mirror {
    /// The feed-server whose address is where `vendor` looks for an index.
    #[must_use]
    pub fn new(vendor: &Vendor) -> Self {
        let mut base = vendor.index_url().clone();
        // Else the last part of its path would be taken for a file.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Self { vendor: vendor.clone(), base, received: AtomicU64::new(0) }
    }

    /// How it is reached.
    #[must_use]
    pub fn vendor(&self) -> &Vendor {
        &self.vendor
    }

    /// Its address, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.base)
    }

    /// Bytes of metadata that came so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// A repository's timestamp, unless it is the one that is held. `folder` is `repo` or `offline`.
    ///
    /// # Errors
    /// There is none (`None` is for that), or what came is no text or too much of it.
    pub async fn timestamp(&self, folder: &str, held: Option<&str>) -> Result<Option<Polled>, MirrorError> {
        let url = self.metadata_url(folder, "timestamp.json")?;
        // A feed-server's ETag is the digest of what it serves. Any other server sends the few bytes once more.
        let etag = held.map(|held| format!("\"{}\"", Digest::of(held.as_bytes())));
        let condition = etag.as_deref().map(|etag| Condition { etag: Some(etag), last_modified: None });
        let Some(answer) = self.get(&url, condition, MAX_TIMESTAMP_BYTES).await? else { return Ok(None) };
        let (timestamp, clock_offset) = match answer {
            Answer::NotModified { clock_offset } => (None, clock_offset),
            Answer::Content(content) => {
                let clock_offset = content.clock_offset;
                let timestamp = self.text(&url, content, MAX_TIMESTAMP_BYTES).await?;
                (Some(timestamp).filter(|timestamp| held != Some(timestamp)), clock_offset)
            }
        };
        Ok(Some(Polled { timestamp, clock_offset }))
    }

    /// What a repository's timestamp leads to: roots that are newer than the newest known one (`known_root`; and where
    /// nothing is held, the older ones, for whoever is handed all of this on), snapshot and targets. What is held is not
    /// fetched again.
    ///
    /// # Errors
    /// Something does not come, is too large, or is not what it is named; [`MirrorError::Gone`] where the server has
    /// switched to another release meanwhile.
    pub async fn metadata(
        &self,
        folder: &str,
        timestamp: String,
        known_root: &str,
        held: Option<&Metadata>,
    ) -> Result<Metadata, MirrorError> {
        let metadata = self.metadata_url(folder, "timestamp.json")?;
        let wrong = |source| MirrorError::NotMetadata { url: shown(&metadata), source };
        let roots = self.roots(folder, known_root, held).await?;
        let version = peek::snapshot_version(&timestamp).map_err(wrong)?;
        let known = held.filter(|held| peek::snapshot_version(&held.timestamp).is_ok_and(|known| known == version));
        let snapshot = match known {
            Some(held) => held.snapshot.clone(),
            None => self.named(folder, &format!("{version}.snapshot.json"), MAX_SNAPSHOT_BYTES).await?,
        };
        let version = peek::targets_version(&snapshot).map_err(wrong)?;
        let known = held.filter(|held| peek::targets_version(&held.snapshot).is_ok_and(|known| known == version));
        let targets = match known {
            Some(held) => held.targets.clone(),
            None => self.named(folder, &format!("{version}.targets.json"), MAX_TARGETS_BYTES).await?,
        };
        Ok(Metadata { roots, timestamp, snapshot, targets })
    }

    /// Later roots until there is no more, which only "not found" says: anything else might keep from us that keys were
    /// revoked.
    async fn roots(&self, folder: &str, known: &str, held: Option<&Metadata>) -> Result<Vec<String>, MirrorError> {
        let known =
            peek::root_version(known).map_err(|source| MirrorError::NotMetadata { url: self.shown(), source })?;
        let mut roots = Vec::new();
        let mut bytes = 0;
        let mut walk = async |version: u64, roots: &mut Vec<String>| -> Result<bool, MirrorError> {
            let url = self.metadata_url(folder, &format!("{version}.root.json"))?;
            let Some(Answer::Content(content)) = self.get(&url, None, MAX_ROOT_BYTES).await? else { return Ok(false) };
            let root = self.text(&url, content, MAX_ROOT_BYTES).await?;
            bytes += root.len() as u64;
            let found = peek::root_version(&root);
            let found = found.map_err(|source| MirrorError::NotMetadata { url: shown(&url), source })?;
            if found != version {
                return Err(MirrorError::OtherRoot { url: shown(&url), found });
            }
            roots.push(root);
            if roots.len() > MAX_ROOTS || bytes > MAX_ROOTS_BYTES {
                return Err(MirrorError::TooManyRoots { url: shown(&url) });
            }
            Ok(true)
        };
        if held.is_none() {
            for version in (1..known).rev() {
                if !walk(version, &mut roots).await? {
                    break;
                }
            }
            roots.reverse();
        }
        let mut version = known.saturating_add(1);
        while walk(version, &mut roots).await? {
            version = version.saturating_add(1);
        }
        Ok(roots)
    }

    /// A target's bytes on their way. At most `length` of them come.
    ///
    /// # Errors
    /// There is no such target any more, or no answer.
    pub async fn target(
        &self,
        folder: &str,
        name: &TargetName,
        sha256: &Digest,
        length: u64,
    ) -> Result<Box<Content>, MirrorError> {
        let url = self.url(&format!("{folder}/targets/{}", name.served_as(sha256)))?;
        match self.get(&url, None, length).await? {
            Some(Answer::Content(content)) => Ok(content),
            // No condition was sent, so that there is nothing it could be "not modified" from.
            Some(Answer::NotModified { .. }) | None => Err(MirrorError::Gone { url: shown(&url) }),
        }
    }

    /// A small target as a whole.
    ///
    /// # Errors
    /// As [`Mirror::target`].
    pub async fn small_target(
        &self,
        folder: &str,
        name: &TargetName,
        sha256: &Digest,
        length: u64,
    ) -> Result<Vec<u8>, MirrorError> {
        let mut content = self.target(folder, name, sha256, length).await?;
        let url = shown(&content.url);
        let bytes = content.whole().await.map_err(|error| MirrorError::of(error, url, length))?;
        self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    async fn named(&self, folder: &str, name: &str, limit: u64) -> Result<String, MirrorError> {
        let url = self.metadata_url(folder, name)?;
        match self.get(&url, None, limit).await? {
            Some(Answer::Content(content)) => self.text(&url, content, limit).await,
            Some(Answer::NotModified { .. }) | None => Err(MirrorError::Gone { url: shown(&url) }),
        }
    }

    async fn get(
        &self,
        url: &Url,
        condition: Option<Condition<'_>>,
        limit: u64,
    ) -> Result<Option<Answer>, MirrorError> {
        match self.vendor.get(url, condition, limit, "").await {
            Ok(answer) => Ok(Some(answer)),
            Err(UpstreamError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(MirrorError::of(error, shown(url), limit)),
        }
    }

    async fn text(&self, url: &Url, mut content: Box<Content>, limit: u64) -> Result<String, MirrorError> {
        let bytes = content.whole().await.map_err(|error| MirrorError::of(error, shown(url), limit))?;
        self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        String::from_utf8(bytes).map_err(|_| MirrorError::NotText { url: shown(url) })
    }

    fn metadata_url(&self, folder: &str, name: &str) -> Result<Url, MirrorError> {
        self.url(&format!("{folder}/metadata/{name}"))
    }

    fn url(&self, path: &str) -> Result<Url, MirrorError> {
        // Folders and names are of characters that URLs take as they are.
        let joined = self.base.join(path);
        joined.map_err(|source| MirrorError::Url { base: self.shown(), source })
    }
}

/// Why a feed-server's repository could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// No usable answer.
    #[error(transparent)]
    Upstream(UpstreamError),
    /// No URL can be made below the configured one.
    #[error("no address can be made below {base}; check [upstream] url")]
    Url {
        /// The configured one.
        base: String,
        /// Why not.
        #[source]
        source: url::ParseError,
    },
    /// More than this can have.
    #[error(
        "{url} has more than the {limit} bytes that it can have; check whether [upstream] url is a feed-server's address"
    )]
    TooLarge {
        /// What was asked for.
        url: String,
        /// How much it can have.
        limit: u64,
    },
    /// Not UTF-8.
    #[error(
        "what came from {url} is no text, and so no metadata; check whether [upstream] url is a feed-server's address"
    )]
    NotText {
        /// What was asked for.
        url: String,
    },
    /// Text of another kind, such as a login page.
    #[error(
        "what came from {url} is no signed metadata, perhaps a login page or an error page; check whether [upstream] url \
         is a feed-server's address"
    )]
    NotMetadata {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        #[source]
        source: SignedError,
    },
    /// A root under another one's name.
    #[error("what came from {url} is version {found} of a root; ask whoever runs that server")]
    OtherRoot {
        /// What was asked for.
        url: String,
        /// The version that came.
        found: u64,
    },
    /// There is no end to them.
    #[error("there are more roots than any origin makes, the last of them {url}; ask whoever runs that server")]
    TooManyRoots {
        /// The one at which it was enough.
        url: String,
    },
    /// Something that the metadata names is not there.
    #[error(
        "{url} is named by the server's metadata and is not there; it may be in the midst of a change: the next run tries \
         again"
    )]
    Gone {
        /// What was asked for.
        url: String,
    },
}

impl MirrorError {
    /// The setting that an upstream error would name stands for nothing here: these limits are the formats' own.
    fn of(error: UpstreamError, url: String, limit: u64) -> Self {
        match error {
            UpstreamError::TooLarge { .. } => Self::TooLarge { url, limit },
            error => Self::Upstream(error),
        }
    }

    /// The answer of upstream, or of the way there, that it is.
    #[must_use]
    pub fn upstream(&self) -> Option<&UpstreamError> {
        match self {
            Self::Upstream(error) => Some(error),
            Self::Url { .. }
            | Self::TooLarge { .. }
            | Self::NotText { .. }
            | Self::NotMetadata { .. }
            | Self::OtherRoot { .. }
            | Self::TooManyRoots { .. }
            | Self::Gone { .. } => None,
        }
    }
}

impl Reasoned for MirrorError {
    fn reason(&self) -> Reason {
        match self {
            Self::Upstream(error) => error.reason(),
            Self::Url { .. } => Reason::BadRequest,
            Self::TooLarge { .. } | Self::TooManyRoots { .. } => Reason::TooLarge,
            Self::NotText { .. } | Self::NotMetadata { .. } => Reason::NotAFeed,
            Self::OtherRoot { .. } => Reason::Signature,
            Self::Gone { .. } => Reason::NotFound,
        }
    }
}
