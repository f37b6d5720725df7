//! What runs taught of upstream, beyond how they went: its certificates, its clock, its index's dialect.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain_facts::ChainFacts;
use super::records::RunRecord;

/// How far upstream's clock and ours may be apart, seconds. Five minutes is what Kerberos allows, and a machine under NTP is
/// never off by more; a run's own delays stay far below.
pub(super) const CLOCK_TOLERANCE: u64 = 300;

/// What runs taught of upstream; kept beside them, so that it outlives those that are forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    /// The start of the newest run that taught anything.
    as_of: Option<Timestamp>,
    /// Its certificates.
    pub chains: ChainFacts,
    /// Its clock; absent while no answer told it.
    pub clock: Option<ClockFact>,
    /// When the run began since which every index that was read was of an unknown dialect; absent where the last one was not.
    pub unknown_dialect_since: Option<Timestamp>,
}

/// Upstream's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockFact {
    /// Upstream's clock less ours at the last run that could tell, seconds.
    pub offset: i64,
    /// When the run began since which every one found it beyond the tolerance.
    pub off_since: Option<Timestamp>,
}

impl Learned {
    /// Learns from a run; from the same run again, nothing more.
    pub fn learn(&mut self, run: &RunRecord) {
        let teaches = !run.chains.is_empty() || run.clock_offset.is_some() || run.reading.is_some();
        // Runs that were cut off are put again, after newer ones.
        if !teaches || self.as_of.is_some_and(|newest| newest > run.started) {
            return;
        }
        self.as_of = Some(run.started);
        self.chains.learn(run);
        if let Some(offset) = run.clock_offset {
            let earlier = self.clock.and_then(|clock| clock.off_since);
            let off_since = (offset.unsigned_abs() > CLOCK_TOLERANCE).then(|| earlier.unwrap_or(run.started));
            self.clock = Some(ClockFact { offset, off_since });
        }
        if let Some(reading) = run.reading {
            let earlier = self.unknown_dialect_since;
            self.unknown_dialect_since = reading.is_unknown_dialect().then(|| earlier.unwrap_or(run.started));
        }
    }
}
