//! What is known of other forms of content (increments, compressed): which there are, and which are not worth having. The
//! bytes are in [`Store::prepared`], apart from the blobs: they can all be made again, and nobody else counts on them.

use std::collections::BTreeMap;

use bundles::Digest;
use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Table};

/// A content coding of HTTP that content is prepared in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "coding", rename_all = "lowercase")]
pub enum Coding {
    /// An increment over other content (RFC 9842).
    Dcz {
        /// The digest of that other content.
        base: Digest,
    },
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// As `Content-Encoding` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dcz { .. } => "dcz",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// Which form of which content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Form {
    /// The digest of the content as it is signed.
    pub of: Digest,
    /// The form.
    #[serde(flatten)]
    pub coding: Coding,
}

/// The bytes of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Their digest.
    pub sha256: Digest,
    /// How many they are.
    pub length: u64,
}

/// What came of making a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantRecord {
    /// Which one.
    #[serde(flatten)]
    pub form: Form,
    /// Its bytes; absent where it saves too little, so that it is not tried at each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
}

/// The digests of earlier signed metadata, newest first, by name (`repo/timestamp.json`): what headends hold that refreshed
/// before it was signed anew.
pub type MetadataHistory = BTreeMap<String, Vec<Digest>>;

const HISTORY: &str = "increments.metadata";

impl Store {
    /// All of them.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn variants(&self) -> Result<Vec<VariantRecord>, StoreError> {
        self.all(Table::Variants)
    }

    /// Puts what came of one.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub fn put_variant(&self, record: &VariantRecord) -> Result<(), StoreError> {
        self.put(Table::Variants, key(&record.form), record)
    }

    /// Forgets these.
    ///
    /// # Errors
    /// The catalog cannot be written; then none is forgotten.
    pub fn forget_variants(&self, forms: &[Form]) -> Result<(), StoreError> {
        if forms.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for form in forms {
            batch.remove(Table::Variants, key(form));
        }
        self.commit(batch)
    }

    /// Earlier metadata.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn metadata_history(&self) -> Result<MetadataHistory, StoreError> {
        Ok(self.state(HISTORY)?.unwrap_or_default())
    }

    /// Puts it.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub fn put_metadata_history(&self, history: &MetadataHistory) -> Result<(), StoreError> {
        self.put_state(HISTORY, history)
    }
}

fn key(form: &Form) -> Vec<u8> {
    let mut key = form.of.as_bytes().to_vec();
    key.extend_from_slice(form.coding.as_str().as_bytes());
    if let Coding::Dcz { base } = form.coding {
        key.extend_from_slice(base.as_bytes());
    }
    key
}
