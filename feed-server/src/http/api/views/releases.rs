//! Releases: what they are, and what is asked for them.

use bundles::{Manifest, Serial};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A release's manifest, and what is known of it besides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseDetails {
    /// The manifest.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// The release whose content it has again; absent where it is one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_of: Option<Serial>,
}

/// Why releases are held or resumed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonGiven {
    /// 1 to 500 characters, on one line.
    pub reason: String,
}

/// How an earlier release is released again.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepublishRequest {
    /// Why: 1 to 500 characters, on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
