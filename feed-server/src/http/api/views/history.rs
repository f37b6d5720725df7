//! The fleet and the releases over time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::history::{PastRelease, Sample};

/// The fleet and the releases over time, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// The fleet.
    pub samples: Vec<Sample>,
    /// Releases, those among them that are not retained any more.
    pub releases: Vec<PastRelease>,
}
