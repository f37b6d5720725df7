//! What a file in a backup is. Nothing else can be named, so nothing else can be put anywhere.

use std::fmt;
use std::str::FromStr;

use bundles::{Digest, FileName};
use serde::{Deserialize, Serialize};

use super::KEYS;

/// A tar's header has room for a hundred bytes.
const MOST_BYTES: usize = 99;

const CATALOG: &str = "catalog";
const BLOBS: &str = "blobs";

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum MemberName {
    /// The catalog's records.
    Catalog,
    /// A private key's file.
    Key(FileName),
    /// Content.
    Blob(Digest),
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog => f.write_str(CATALOG),
            Self::Key(name) => write!(f, "{KEYS}/{name}"),
            Self::Blob(digest) => write!(f, "{BLOBS}/{digest}"),
        }
    }
}

impl From<MemberName> for String {
    fn from(name: MemberName) -> Self {
        name.to_string()
    }
}

/// A name that no file in a backup has.
#[derive(Debug, thiserror::Error)]
#[error("no file in a backup is called {0:?}")]
pub struct BadMemberName(String);

impl TryFrom<String> for MemberName {
    type Error = BadMemberName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for MemberName {
    type Err = BadMemberName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = match text.split_once('/') {
            None => (text == CATALOG).then_some(Self::Catalog),
            Some((KEYS, name)) => FileName::parse(name).ok().map(Self::Key),
            Some((BLOBS, digest)) => digest.parse().ok().map(Self::Blob),
            Some(_) => None,
        };
        // Digests can be written in more than one way; here they are in one.
        let is_it = |name: &Self| text.len() <= MOST_BYTES && name.to_string() == text;
        name.filter(is_it).ok_or_else(|| BadMemberName(text.chars().take(MOST_BYTES).collect()))
    }
}
