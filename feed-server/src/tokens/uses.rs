//! When tokens were last used, to the hour: enough to see which are forgotten, and little enough to be written now and then.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bundles::Digest;
use jiff::Timestamp;

const HOUR: i64 = 3_600;

/// By the token's digest, not its name: a name may be given again.
pub type LastUses = BTreeMap<Digest, Timestamp>;

/// What was used since the server started. Only tokens that were good are in it, so it stays as small as they are few.
#[derive(Debug, Default)]
pub struct Uses(Mutex<LastUses>);

impl Uses {
    /// Notes that a token was used.
    pub fn note(&self, token: Digest, at: Timestamp) {
        let hour = at.as_second().div_euclid(HOUR) * HOUR;
        let hour = Timestamp::from_second(hour).unwrap_or(at);
        self.lock().entry(token).and_modify(|last| *last = hour.max(*last)).or_insert(hour);
    }

    /// The same, and what was known before.
    #[must_use]
    pub fn with(&self, mut known: LastUses) -> LastUses {
        for (token, at) in &*self.lock() {
            known.entry(*token).and_modify(|last| *last = (*at).max(*last)).or_insert(*at);
        }
        known
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> MutexGuard<'_, LastUses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_counts_whatever_the_clock_does() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let uses = Uses::default();
        for second in [7_300, 7_201, 10, 8_000] {
            uses.note(one, at(second));
        }
        let known = LastUses::from([(one, at(3_600)), (other, at(3_600))]);
        assert_eq!(uses.with(known), LastUses::from([(one, at(7_200)), (other, at(3_600))]));
    }
}
