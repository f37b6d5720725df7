//! Imports, and what an import would be held to.

use std::collections::BTreeMap;

use bundles::signed::Metadata;
use bundles::{Component, Digest, Limits, Reason, Serial, Version};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReleaseSummary;
use crate::app::imports::{ImportProgress, ImportStep};
use crate::store::imports::{BroughtBy, ImportKind, ImportRecord};

/// The import that is going on, and the last ones.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ImportsView {
    /// The one that is going on.
    pub running: Option<ImportProgressView>,
    /// Those that there were, newest first.
    pub imports: Vec<ImportView>,
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportView {
    /// Its number.
    pub id: u64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// When it ended; absent while it is going on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
    /// Who brought the zip: `operator` (on this machine), `token` or `watched_folder`.
    pub by: String,
    /// The token's name, where it was one.
    pub token: Option<String>,
    /// The system's user, where it was one on this machine.
    #[serde(default)]
    pub user: Option<String>,
    /// `bundle` or `vendor-zip`.
    #[schema(value_type = String)]
    pub kind: ImportKind,
    /// The file's name, as it was given.
    pub name: Option<String>,
    /// Bytes that came.
    pub length: u64,
    /// SHA-256 of the whole file; absent where it did not come whole.
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Digest>,
    /// `imported`, `refreshed`, `up_to_date` or a reason; absent while it is going on.
    pub result: Option<String>,
    /// The release that it brought, or found here.
    #[schema(value_type = Option<u64>)]
    pub serial: Option<Serial>,
    /// SHA-256 of the root whose keys signed it; absent until that was verified.
    #[schema(value_type = Option<String>)]
    pub signer: Option<Digest>,
    /// When its signatures end; absent until they were verified.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_until: Option<Timestamp>,
    /// The versions in it; none until they were verified.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub versions: BTreeMap<Component, Version>,
    /// Why it failed.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Reason>,
    /// Why it failed, in a sentence.
    pub message: Option<String>,
}

impl From<&ImportRecord> for ImportView {
    fn from(import: &ImportRecord) -> Self {
        let (token, user) = match &import.by {
            BroughtBy::Operator { user } => (None, user.clone()),
            BroughtBy::Token { name } => (Some(name.clone()), None),
            BroughtBy::WatchedFolder => (None, None),
        };
        let verified = import.verified.as_ref();
        let outcome = import.outcome.as_ref();
        let serial = outcome.and_then(crate::store::imports::ImportOutcome::serial);
        Self {
            id: import.id,
            started: import.started,
            ended: import.ended,
            by: by(&import.by),
            token,
            user,
            kind: import.kind,
            name: import.name.clone(),
            length: import.length,
            sha256: import.sha256,
            result: outcome.map(|outcome| outcome.label().to_owned()),
            serial: serial.or(verified.map(|verified| verified.serial)),
            signer: verified.map(|verified| verified.signer),
            valid_until: verified.map(|verified| verified.valid_until),
            versions: verified.map(|verified| verified.versions.clone()).unwrap_or_default(),
            reason: import.failure().map(|failure| failure.reason),
            message: import.failure().map(|failure| failure.message.clone()),
        }
    }
}

fn by(by: &BroughtBy) -> String {
    match by {
        BroughtBy::Operator { .. } => "operator",
        BroughtBy::Token { .. } => "token",
        BroughtBy::WatchedFolder => "watched_folder",
    }
    .to_owned()
}

/// How far the import is that is going on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ImportProgressView {
    /// Its number.
    pub id: u64,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// Who brought the zip: `operator` (on this machine), `token` or `watched_folder`.
    pub by: String,
    /// The file's name, as it was given.
    pub name: Option<String>,
    /// What it is at.
    pub step: ImportStep,
    /// Bytes of that step that are done.
    pub done_bytes: u64,
    /// Bytes of that step; 0 where that is not known.
    pub total_bytes: u64,
}

impl From<&ImportProgress> for ImportProgressView {
    fn from(progress: &ImportProgress) -> Self {
        let (step, done_bytes, total_bytes) = progress.step();
        Self {
            id: progress.id,
            started: progress.started,
            by: by(&progress.brought.by),
            name: progress.brought.name.clone(),
            step,
            done_bytes,
            total_bytes,
        }
    }
}

/// What a bundle is held to here.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TrustView {
    /// `origin` (holds keys, and imports no bundle) or `relay`.
    pub role: String,
    /// A root of the offline repository that is trusted: its signed JSON, as text.
    pub root: String,
    /// The offline repository's metadata that was taken last; absent where none was.
    #[schema(value_type = Option<Object>)]
    pub held: Option<Metadata>,
    /// The highest release number that was ever seen here.
    #[schema(value_type = Option<u64>)]
    pub highest_serial: Option<Serial>,
    /// The newest signed time that was ever seen here: it is no earlier, whatever the clock says.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub signed_time: Option<Timestamp>,
    /// The newest release here.
    pub release: Option<ReleaseSummary>,
    /// What input may cost here.
    #[schema(value_type = Object)]
    pub limits: Limits,
    /// Bytes of a zip that is taken.
    pub max_upload: u64,
}
