//! How sigstore-tuf reaches the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::Digest;
use sigstore_tuf::{Metadata, MetadataStore as _, Timestamp};
use url::Url;

use super::guard::Guard;
use super::{Location, TimestampAnswer};
use crate::fetch::{Ask, Coding, Codings, Dictionary, FetchError, Http, Small};

/// Fetches metadata over HTTP.
pub(super) struct Transport {
    pub(super) http: Http,
    pub(super) location: Location,
    /// What is held is what a server can tell the new by.
    pub(super) guard: Guard,
    may_be_packed: bool,
    seen: Seen,
}

/// What went by, to be asked for when the verifier is done.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Facts>>);

#[derive(Default)]
struct Facts {
    /// Asked for before the refresh began.
    first: Option<TimestampAnswer>,
    timestamp: Option<(Digest, Option<String>)>,
    version: Option<u64>,
    was_packed: bool,
}

impl Seen {
    /// The version of the timestamp that the server answered with, verified or not: to tell a server that stands still from
    /// one whose newest metadata is old.
    pub(super) fn version(&self) -> Option<u64> {
        self.facts().version
    }

    /// The digest and the tag of that timestamp.
    pub(super) fn timestamp(&self) -> Option<(Digest, Option<String>)> {
        self.facts().timestamp.clone()
    }

    /// Whether anything came packed, which might not be what was packed.
    pub(super) fn was_packed(&self) -> bool {
        self.facts().was_packed
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport {
    pub(super) fn new(http: &Http, location: &Location, guard: Guard, first: Option<TimestampAnswer>) -> Self {
        let seen = Seen::default();
        seen.facts().first = first;
        Self { http: http.clone(), location: location.clone(), guard, may_be_packed: true, seen }
    }

    /// The same, for whoever got something of no use packed.
    pub(super) fn without_packing(self) -> Self {
        Self { may_be_packed: false, ..self }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.clone()
    }

    async fn fetch(&self, name: &str, max_length: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        let version = name.strip_suffix(".root.json").and_then(|version| version.parse().ok());
        if let Some(held) = version.and_then(|version| self.guard.held_root(version)) {
            self.seen.facts().first = None;
            return Ok(Some(held));
        }
        let fetched = if name == "timestamp.json" {
            self.timestamp(max_length).await
        } else if name.ends_with(".root.json") {
            self.http.get_small(&self.location.metadata(name), max_length).await
        } else {
            self.packed(name, max_length).await
        };
        match fetched {
            Ok(bytes) => {
                if name.ends_with(".root.json") {
                    // It may name other keys than those that signed a timestamp from before it was known.
                    self.seen.facts().first = None;
                }
                Ok(Some(bytes))
            }
            // Only a root that is not there is an answer: there is no newer one. Any other failure to fetch it must
            // not pass for that, or whoever can break a connection could hold back a root that revokes keys.
            Err(FetchError::NotFound { .. }) if name.ends_with(".root.json") => {
                self.guard.check_end_of_roots().map(|()| None)
            }
            Err(error) => Err(sigstore_tuf::Error::transport_with_source(format!("fetching {name}"), error)),
        }
    }

    async fn timestamp(&self, max_length: u64) -> Result<Vec<u8>, FetchError> {
        let first = self.seen.facts().first.take();
        let answer = match first.filter(|answer| answer.0.bytes.len() as u64 <= max_length) {
            Some(answer) => answer.0,
            None => self.whole(&self.location.timestamp(), max_length, Codings::Zstd).await?,
        };
        let mut seen = self.seen.facts();
        seen.version = Metadata::<Timestamp>::from_slice(&answer.bytes).ok().map(|it| it.signed().version);
        seen.timestamp = Some((Digest::of(&answer.bytes), answer.etag));
        seen.was_packed |= answer.coding != Coding::Identity;
        Ok(answer.bytes)
    }

    /// `7.snapshot.json` is told by the `snapshot.json` that is held.
    async fn packed(&self, name: &str, max_length: u64) -> Result<Vec<u8>, FetchError> {
        let held = name.split_once('.').and_then(|(_, role)| self.guard.load(role).ok()?).map(Dictionary::new);
        let answer = self.whole(&self.location.metadata(name), max_length, Codings::all(held.as_ref())).await?;
        self.seen.facts().was_packed |= answer.coding != Coding::Identity;
        Ok(answer.bytes)
    }

    async fn whole(&self, url: &Url, max_length: u64, codings: Codings<'_>) -> Result<Small, FetchError> {
        let codings = if self.may_be_packed { codings } else { Codings::Identity };
        self.http.get_whole(url, &Ask::packed(max_length, codings)).await
    }
}

impl sigstore_tuf::Repository for Transport {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(self.fetch(name, max_length))
    }

    /// For other repositories' targets alone: sigstore-tuf holds them in memory, so releases are streamed without it.
    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(async move {
            let fetched = self.http.get_small(&self.location.target_path(path), max_length).await;
            fetched
                .map(Some)
                .map_err(|error| sigstore_tuf::Error::transport_with_source(format!("fetching {path}"), error))
        })
    }
}
