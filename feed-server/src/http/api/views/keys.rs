//! Signing keys, and the roots that name them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::publish::{Lacking, Rotated, Waiting};

/// A signing key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// `online` or `offline`.
    pub repository: String,
    /// What it signs.
    pub role: String,
    /// Its id in signed metadata.
    pub key_id: String,
    /// SHA-256 of the public key.
    pub fingerprint: String,
    /// Whether the server can sign with it; root keys may well be elsewhere.
    #[serde(default)]
    pub at_hand: bool,
}

/// The keys, and the roots that people compare when they enroll a headend.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeysView {
    /// Every signing key; a relay has none.
    pub keys: Vec<KeyView>,
    /// SHA-256 of each repository's root file; a relay has those that it received.
    pub roots: Vec<RootView>,
    /// SHA-256 of the root file that a relay trusts; absent on an origin, and where the file is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root: Option<String>,
    /// Roots that wait for signatures of keys that are elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<NextRootView>,
}

/// What is to be different in the next roots. Without anything, they are the same with a later end.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeysChange {
    /// `online`, `offline`; both where none is named.
    pub repositories: Vec<String>,
    /// Roles that get new keys: `root`, `targets`, `snapshot`, `timestamp`.
    pub roles: Vec<String>,
    /// Of the root keys, only these are replaced: ids, or at least their first 8 characters.
    pub remove: Vec<String>,
    /// New root keys whose private halves are elsewhere, as `feed-server keys generate` writes them.
    #[schema(value_type = Vec<Object>)]
    pub public: Vec<serde_json::Value>,
    /// How many new root keys the server makes; as many as were replaced, where this is absent.
    pub root_keys: Option<u64>,
    /// How many root keys have to sign from now on.
    pub threshold: Option<u64>,
}

/// A repository's next root.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NextRootView {
    /// `online` or `offline`.
    pub repository: String,
    /// Its version.
    pub version: u64,
    /// What it changes; absent where it waits no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What is lacking before it takes the place of the one before; nothing where it has.
    pub lacking: Vec<LackingView>,
}

/// Signatures that are lacking.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LackingView {
    /// The version of the root whose keys they are.
    pub version: u64,
    /// How many.
    pub signatures: u64,
    /// The keys that have not signed yet.
    pub keys: Vec<SignerView>,
}

/// A key that may sign.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignerView {
    /// Its id in signed metadata.
    pub key_id: String,
    /// SHA-256 of the public key.
    pub fingerprint: String,
}

impl From<Lacking> for LackingView {
    fn from(Lacking { version, signatures, keys }: Lacking) -> Self {
        let signer = |(key_id, fingerprint): (String, bundles::Digest)| SignerView {
            key_id,
            fingerprint: fingerprint.to_string(),
        };
        Self { version, signatures, keys: keys.into_iter().map(signer).collect() }
    }
}

impl From<Waiting> for NextRootView {
    fn from(waiting: Waiting) -> Self {
        let lacking = waiting.lacking.into_iter().map(LackingView::from).collect();
        let (repository, what) = (waiting.repository.to_string(), Some(waiting.what));
        Self { repository, version: waiting.version, what, lacking }
    }
}

impl From<Rotated> for NextRootView {
    fn from(rotated: Rotated) -> Self {
        let lacking = rotated.lacking.into_iter().map(LackingView::from).collect();
        Self { repository: rotated.repository.to_string(), version: rotated.version, what: None, lacking }
    }
}

/// A repository's root file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RootView {
    /// `online` or `offline`.
    pub repository: String,
    /// SHA-256 of the root file.
    pub fingerprint: String,
}
