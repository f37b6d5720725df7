//! How sigstore-tuf reaches the server.

use std::sync::Arc;
use std::sync::OnceLock;

use sigstore_tuf::{Metadata, Timestamp};

use super::Location;
use crate::fetch::{FetchError, Http};

/// Fetches metadata over HTTP.
pub(super) struct Transport {
    http: Http,
    location: Location,
    timestamp: Arc<OnceLock<u64>>,
}

/// The version of the timestamp that the server answered with, verified or not: to tell a server that stands still from
/// one whose newest metadata is old.
pub(super) struct TimestampSeen(Arc<OnceLock<u64>>);

impl TimestampSeen {
    pub(super) fn get(&self) -> Option<u64> {
        self.0.get().copied()
    }
}

impl Transport {
    pub(super) fn new(http: Http, location: Location) -> Self {
        Self { http, location, timestamp: Arc::default() }
    }

    pub(super) fn timestamp_seen(&self) -> TimestampSeen {
        TimestampSeen(Arc::clone(&self.timestamp))
    }

    async fn fetch(&self, name: &str, max_length: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        match self.http.get_small(&self.location.metadata(name), max_length).await {
            Ok(bytes) => {
                if name == "timestamp.json"
                    && let Ok(timestamp) = Metadata::<Timestamp>::from_slice(&bytes)
                {
                    let _ = self.timestamp.set(timestamp.signed().version);
                }
                Ok(Some(bytes))
            }
            // Only a root that is not there is an answer: there is no newer one. Any other failure to fetch it must
            // not pass for that, or whoever can break a connection could hold back a root that revokes keys.
            Err(FetchError::NotFound { .. }) if name.ends_with(".root.json") => Ok(None),
            Err(error) => Err(sigstore_tuf::Error::transport_with_source(format!("fetching {name}"), error)),
        }
    }
}

impl sigstore_tuf::Repository for Transport {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(self.fetch(name, max_length))
    }

    /// Never asked for: sigstore-tuf holds whole targets in memory, so the client streams them itself.
    fn fetch_target<'a>(&'a self, path: &'a str, _max_length: u64) -> sigstore_tuf::transport::FetchFuture<'a> {
        Box::pin(async move { Err(sigstore_tuf::Error::transport(format!("{path} is not fetched this way"))) })
    }
}
