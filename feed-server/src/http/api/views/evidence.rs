//! What is known of a release, to be filed.

use bundles::{Manifest, Serial};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ImportView, RunDetails};
use crate::store::audit::AuditRecord;

/// Where a release came from, and who runs it now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EvidenceView {
    /// When this was put together, by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The manifest: source, and every file with its digest.
    #[schema(value_type = Object)]
    pub manifest: Manifest,
    /// When it was taken from another server; absent where it was made here.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub taken: Option<Timestamp>,
    /// The releases whose content it has again, the nearest first; the last of them is the one that brought it.
    #[schema(value_type = Vec<u64>)]
    pub content_of: Vec<Serial>,
    /// The update run that brought the content, and the certificates that upstream presented in it; absent where it was
    /// imported, or is no longer remembered.
    pub run: Option<RunDetails>,
    /// The import that did.
    pub import: Option<ImportView>,
    /// Who asked for that, imported it, or released it again.
    pub acts: Vec<AuditRecord>,
    /// Headends that run it, by their last reports.
    pub headends: Vec<RunsIt>,
    /// ISE deployments that got its index last.
    pub ise: Vec<String>,
}

/// A headend that runs a release.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunsIt {
    /// Its id.
    pub headend: String,
    /// When it said so.
    #[schema(value_type = String, format = DateTime)]
    pub reported: Timestamp,
}
