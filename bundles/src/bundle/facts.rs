//! `bundle.json`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::BundleError;
use crate::release::Source;
use crate::{Component, Manifest, Serial, Version};

/// The format of bundles that this code writes and reads.
pub const FORMAT: u32 = 1;

/// The member that says what a bundle is; always the first one.
pub const FACTS: &str = "bundle.json";

/// Bytes of [`FACTS`] at most, since it is read whole before anything is trusted: a thousand components are a tenth of it.
pub(super) const MAX_FACTS_BYTES: u64 = 1 << 20;

/// What a bundle says of itself to whoever opens it with any unzip. Readable, not trusted: [`super::Bundle::check`] holds
/// it to what is signed. Unknown fields are ignored, an unknown `format` is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Always [`FORMAT`].
    pub format: u32,
    /// The release's number.
    pub serial: Serial,
    /// When the release was made.
    pub created: Timestamp,
    /// When the first of its signatures ends: from then on it is not imported any more.
    pub valid_until: Timestamp,
    /// The versions of the release.
    pub versions: BTreeMap<Component, Version>,
    /// Where the release's content came from.
    pub source: Source,
}

impl Facts {
    pub(super) fn of(manifest: &Manifest, valid_until: Timestamp) -> Self {
        let versions = manifest.components.iter().map(|it| (it.component.clone(), it.version.clone()));
        Self {
            format: FORMAT,
            serial: manifest.serial,
            created: manifest.created,
            valid_until,
            versions: versions.collect(),
            source: manifest.source.clone(),
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Maps with string keys, numbers and strings only: serde_json has nothing to refuse here.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    pub(super) fn from_json(text: &str) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // The format first: a future one may have other fields, and its number is the clearer message.
        let Format { format } = serde_json::from_str(text).map_err(BundleError::Facts)?;
        if format != FORMAT {
            return Err(BundleError::Format { found: format });
        }
        serde_json::from_str(text).map_err(BundleError::Facts)
    }
}

/// How long, as people say it: in the largest unit of which there are two.
pub(crate) fn span(duration: SignedDuration) -> String {
    let minutes = duration.as_secs().unsigned_abs() / 60;
    match (minutes / (24 * 60), minutes / 60) {
        (days, _) if days >= 2 => format!("{days} days"),
        (_, hours) if hours >= 2 => format!("{hours} hours"),
        (_, _) if minutes >= 2 => format!("{minutes} minutes"),
        (_, _) => "a moment".to_owned(),
    }
}
