//! Update Information: the panel that operators know by heart from ISE, with the same labels and the same order.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::report::Failure;
use crate::{Component, Manifest, Version};

/// The panel's facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateInformation {
    /// When content last was brought up to date or found to be so.
    pub last_success: Option<Timestamp>,
    /// How the last attempt went.
    pub last_status: LastStatus,
    /// Version rows: the five of the panel, then any other component of the release.
    pub versions: Vec<Row>,
}

/// One version row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Which component.
    pub component: Component,
    /// Absent where no release with it is here.
    pub version: Option<Version>,
}

/// "Last update status since … was started".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum LastStatus {
    /// Nothing was attempted yet.
    None,
    /// A run is going on.
    Running,
    /// The last attempt succeeded, whether or not there was anything new.
    Successful {
        /// When it was made.
        at: Timestamp,
    },
    /// The last attempt failed.
    Failed {
        /// When it was made.
        at: Timestamp,
        /// Why.
        #[serde(flatten)]
        failure: Failure,
    },
}

impl UpdateInformation {
    /// The panel for a release (or none yet).
    #[must_use]
    pub fn new(last_success: Option<Timestamp>, last_status: LastStatus, release: Option<&Manifest>) -> Self {
        let known = Component::KNOWN.into_iter().map(|component| Row {
            version: release.and_then(|release| release.version_of(&component)).cloned(),
            component,
        });
        let others =
            release.into_iter().flat_map(|release| &release.components).filter(|c| c.component.label().is_none());
        let others = others.map(|c| Row { component: c.component.clone(), version: Some(c.version.clone()) });
        Self { last_success, last_status, versions: known.chain(others).collect() }
    }

    /// The panel as text, a label and a value per line, times in `zone` as ISE writes them (`2025/03/13 14:24:50`).
    #[must_use]
    pub fn to_text(&self, zone: &TimeZone) -> String {
        let time = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y/%m/%d %H:%M:%S").to_string();
        let mut rows = vec![
            (
                "Last successful update on".to_owned(),
                self.last_success.map_or_else(|| "No Update since Installation".to_owned(), time),
            ),
            (
                "Last update status".to_owned(),
                match &self.last_status {
                    LastStatus::None => "No update was attempted yet".to_owned(),
                    LastStatus::Running => "An update is running".to_owned(),
                    LastStatus::Successful { at } => format!("Last update attempt at {} was successful", time(*at)),
                    LastStatus::Failed { at, failure } => {
                        format!("Last update attempt at {} failed ({}): {}", time(*at), failure.reason, failure.message)
                    }
                },
            ),
        ];
        for row in &self.versions {
            let label = row.component.label().map_or_else(|| format!("{} version", row.component), str::to_owned);
            rows.push((label, row.version.as_ref().map_or_else(|| "–".to_owned(), Version::short)));
        }
        let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        rows.iter().map(|(label, value)| format!("{label:<width$}  {value}\n")).collect()
    }
}
