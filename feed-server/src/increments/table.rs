//! What is prepared, at one moment.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bundles::Digest;
use bytes::Bytes;

use crate::config::Increments;
use crate::store::{Blobs, Coding, StoreError};

/// Forms up to this size are held in memory: increments are what headends fetch, most of them have some hundreds of bytes.
pub(super) const IN_MEMORY: u64 = 64 << 10;

/// What is prepared, at one moment: immutable, so that an answer is of one moment.
#[derive(Debug, Clone)]
pub struct Prepared {
    settings: Increments,
    blobs: Arc<dyn Blobs>,
    variants: HashMap<Digest, Vec<Variant>>,
}

/// One form of some content.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The form.
    pub coding: Coding,
    /// Of its bytes.
    pub sha256: Digest,
    /// In bytes.
    pub length: u64,
    /// Its bytes, or where they are.
    pub body: Body,
}

/// Where the bytes are.
#[derive(Debug, Clone)]
pub enum Body {
    /// Here.
    Memory(Bytes),
    /// For [`Prepared::opener`].
    Stored,
}

impl Prepared {
    /// Nothing.
    #[must_use]
    pub fn empty(settings: Increments, blobs: Arc<dyn Blobs>) -> Self {
        Self { settings, blobs, variants: HashMap::new() }
    }

    /// The forms of some content.
    #[must_use]
    pub fn of(&self, content: &Digest) -> &[Variant] {
        self.variants.get(content).map_or(&[], Vec::as_slice)
    }

    /// Whether content of that many bytes is what later content will be told by.
    #[must_use]
    pub fn is_base(&self, length: u64) -> bool {
        self.settings.from_last > 0 && length <= self.settings.max_payload
    }

    /// What opens the bytes of a form that is not in memory, on a thread that may block.
    pub fn opener(&self, variant: &Variant) -> impl FnOnce() -> io::Result<File> + Send + 'static {
        let (blobs, sha256) = (Arc::clone(&self.blobs), variant.sha256);
        move || {
            blobs.open(&sha256).map_err(|error| match error {
                StoreError::Io { source, .. } => source,
                error => io::Error::other(error),
            })
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.variants.values().map(Vec::len).sum()
    }

    pub(super) fn add(&mut self, content: Digest, variant: Variant) {
        let variants = self.variants.entry(content).or_default();
        variants.retain(|kept| kept.coding != variant.coding);
        variants.push(variant);
    }
}
