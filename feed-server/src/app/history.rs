//! The fleet as it is now, for the history that pictures are drawn of.

use std::collections::BTreeMap;

use bundles::Serial;
use jiff::SignedDuration;

use super::App;
use crate::headends;
use crate::store::StoreError;
use crate::store::history::{MOST_COUNTED, PastRelease, Sample, in_order};

/// Between samples.
const EVERY: SignedDuration = SignedDuration::from_mins(15);

/// What there is to draw.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The fleet, oldest first.
    pub samples: Vec<Sample>,
    /// Releases, oldest first.
    pub releases: Vec<PastRelease>,
}

impl App {
    /// What is known of former times, in the order of the times. What a wrong clock wrote is not in it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn history(&self) -> Result<History, StoreError> {
        let now = self.now();
        Ok(History {
            samples: in_order(self.store.samples()?, now, |sample| sample.at),
            releases: in_order(self.store.past_releases()?, now, |release| release.since),
        })
    }

    /// Takes a sample where the last one is a quarter of an hour ago, or after now; and notes releases that are new.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn keep_history(&self) -> Result<(), StoreError> {
        self.store.note_releases()?;
        let now = self.now();
        let last = self.store.newest_sample()?.map(|sample| sample.at);
        if last.is_some_and(|last| last <= now && now.duration_since(last) < EVERY) {
            return Ok(());
        }
        self.store.put_sample(self.sample()?)
    }

    /// The fleet as it is now.
    fn sample(&self) -> Result<Sample, StoreError> {
        let (now, headends) = (self.now(), self.headends()?);
        let states = headends::count(now, &headends, &self.release_times()?);
        let mut releases: BTreeMap<Serial, u64> = BTreeMap::new();
        let mut without = 0;
        for (_, report) in &headends {
            match report.as_ref().and_then(|report| report.report.serial) {
                Some(serial) => *releases.entry(serial).or_default() += 1,
                None => without += 1,
            }
        }
        let mut older = 0;
        while releases.len() > MOST_COUNTED {
            older += releases.pop_first().map_or(0, |(_, count)| count);
        }
        let states = states.into_iter().map(|(state, count)| (state.as_str().to_owned(), count)).collect();
        Ok(Sample { number: 0, at: now, states, releases, older, without })
    }
}
