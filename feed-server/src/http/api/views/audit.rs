//! The audit trail.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::audit::AuditRecord;

/// A part of the audit trail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// In the order of their numbers.
    pub records: Vec<AuditRecord>,
    /// Whether there are more after these.
    pub more: bool,
}
