//! Headends: who may report, how reports are kept, and what they say of headends.

mod inbox;

use bundles::Serial;
pub use bundles::report::is_headend_id as is_id;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use inbox::{Inbox, NotKept};

use crate::store::records::{HeadendRecord, ReportRecord};

#[cfg(test)]
mod tests;

/// A headend's state is the first of these that fits (design, section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadendState {
    /// No report for two and a half of its intervals.
    Silent,
    /// Its last attempt failed.
    Failing,
    /// It runs an older release than the one that was current two of its intervals ago.
    Behind,
    /// None of these.
    Current,
}

impl HeadendState {
    /// Every state, so that each metric label exists at 0 from the start.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Failing, Self::Behind, Self::Current];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Failing => "failing",
            Self::Behind => "behind",
            Self::Current => "current",
        }
    }
}

/// The state of a headend. `releases` are number and time of those that the server knows, in any order. One that never
/// reported is silent: nobody can say what it runs.
#[must_use]
pub fn state(now: Timestamp, report: Option<&ReportRecord>, releases: &[(Serial, Timestamp)]) -> HeadendState {
    let Some(ReportRecord { received, report }) = report else { return HeadendState::Silent };
    let interval = SignedDuration::from_secs(i64::try_from(report.interval_seconds).unwrap_or(i64::MAX));
    // In halves, for two and a half has no integer.
    if now.duration_since(*received) > interval.saturating_mul(5) / 2 {
        return HeadendState::Silent;
    }
    if report.last_failure.is_some() {
        return HeadendState::Failing;
    }
    let then = now.checked_sub(interval.saturating_mul(2)).unwrap_or(Timestamp::MIN);
    let current_then = releases.iter().filter(|(_, created)| *created <= then).map(|(serial, _)| *serial).max();
    // `None`, no release, is less than every release.
    if report.serial < current_then { HeadendState::Behind } else { HeadendState::Current }
}

/// Counts headends by state, every state present.
#[must_use]
pub fn count<'a>(
    now: Timestamp,
    headends: impl IntoIterator<Item = &'a (HeadendRecord, Option<ReportRecord>)>,
    releases: &[(Serial, Timestamp)],
) -> [(HeadendState, u64); 4] {
    let mut counts = HeadendState::ALL.map(|state| (state, 0));
    for (_, report) in headends {
        let found = state(now, report.as_ref(), releases);
        for (state, count) in &mut counts {
            if *state == found {
                *count += 1;
            }
        }
    }
    counts
}
