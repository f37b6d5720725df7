//! What pictures are drawn of: samples of the fleet, and releases that outlive what is retained of them. Both are bounded by
//! number, and neither by the clock, which may be wrong for a while: what was written under a wrong clock is passed over by
//! whoever looks, and nothing right is forgotten for its sake.

use std::collections::BTreeMap;

use bundles::{Component, Serial, Version};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::batch::serial_key;
use super::records::ReleaseRecord;
use super::{Batch, Store, StoreError, Table};

/// The newest ones are kept as they are: a week of one every quarter of an hour.
const EVERY: u64 = 7 * 96;

/// Of older ones each fourth, one an hour, up to a month.
const HOURLY: (u64, u64) = (4, 30 * 96);

/// Of those before each twenty-fourth, four a day, up to a quarter of a year.
const SIX_HOURLY: (u64, u64) = (24, 90 * 96);

/// Samples that there are at most.
pub const MOST_SAMPLES: u64 = EVERY + (HOURLY.1 - EVERY) / HOURLY.0 + (SIX_HOURLY.1 - HOURLY.1) / SIX_HOURLY.0 + 2;

/// Releases that are remembered after they are forgotten: years of many a week.
pub const MOST_PAST_RELEASES: usize = 1_000;

/// Releases of which a sample says how many headends run them; older ones are counted together.
pub const MOST_COUNTED: usize = 24;

/// The fleet at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// 1, 2, 3, …
    pub number: u64,
    /// When, by this server's clock.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Headends by their state: `current`, `behind`, `failing`, `silent`.
    pub states: BTreeMap<String, u64>,
    /// Headends by the release that they reported last; the newest releases that any runs.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub releases: BTreeMap<Serial, u64>,
    /// Headends with older releases than those.
    #[serde(default)]
    pub older: u64,
    /// Headends that run none, or never reported.
    #[serde(default)]
    pub without: u64,
}

/// A release, whether or not it is still here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastRelease {
    /// Its number.
    #[schema(value_type = u64)]
    pub serial: Serial,
    /// Since when there was such a release here.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// What it holds.
    #[schema(value_type = BTreeMap<String, String>)]
    pub versions: BTreeMap<Component, Version>,
}

impl From<&ReleaseRecord> for PastRelease {
    fn from(release: &ReleaseRecord) -> Self {
        let manifest = &release.manifest;
        let versions = manifest.components.iter().map(|held| (held.component.clone(), held.version.clone()));
        Self { serial: manifest.serial, since: release.since(), versions: versions.collect() }
    }
}

impl Store {
    /// The fleet's samples in the order in which they were taken.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn samples(&self) -> Result<Vec<Sample>, StoreError> {
        self.all(Table::Samples)
    }

    /// The newest sample.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn newest_sample(&self) -> Result<Option<Sample>, StoreError> {
        Ok(self.newest(Table::Samples, 1)?.pop())
    }

    /// Puts a sample under the next number, and thins those before.
    ///
    /// # Errors
    /// The catalog cannot be read or written.
    pub fn put_sample(&self, sample: Sample) -> Result<(), StoreError> {
        let number = self.newest_sample()?.map_or(1, |newest| newest.number + 1);
        let mut batch = Batch::new();
        batch.put(Table::Samples, number.to_be_bytes(), &Sample { number, ..sample })?;
        for (key, _) in self.catalog.scan(Table::Samples, false, usize::MAX)? {
            let is_kept = <[u8; 8]>::try_from(key.as_slice()).is_ok_and(|key| is_kept(u64::from_be_bytes(key), number));
            if !is_kept {
                batch.remove(Table::Samples, key);
            }
        }
        self.commit(batch)
    }

    /// Releases in the order of their numbers: those that are here, and those that were.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn past_releases(&self) -> Result<Vec<PastRelease>, StoreError> {
        let noted: Vec<PastRelease> = self.all(Table::PastReleases)?;
        let mut all: BTreeMap<Serial, PastRelease> =
            noted.into_iter().map(|release| (release.serial, release)).collect();
        for release in self.releases(usize::MAX)? {
            all.insert(release.manifest.serial, PastRelease::from(&release));
        }
        Ok(all.into_values().collect())
    }

    /// Notes those releases that are here and not noted yet, and forgets the oldest ones.
    ///
    /// # Errors
    /// The catalog cannot be read or written.
    pub fn note_releases(&self) -> Result<(), StoreError> {
        let noted = self.catalog.scan(Table::PastReleases, true, usize::MAX)?;
        let mut batch = Batch::new();
        for release in self.releases(usize::MAX)? {
            let key = serial_key(release.manifest.serial);
            if !noted.iter().any(|(known, _)| *known == key) {
                batch.put(Table::PastReleases, key, &PastRelease::from(&release))?;
            }
        }
        let room = MOST_PAST_RELEASES.saturating_sub(batch.changes.len());
        for (key, _) in noted.iter().skip(room) {
            batch.remove(Table::PastReleases, key);
        }
        if batch.changes.is_empty() { Ok(()) } else { self.commit(batch) }
    }
}

/// Whether a sample stays once there is one of number `newest`. Each that stays now would have stayed at any time before.
fn is_kept(number: u64, newest: u64) -> bool {
    let Some(age) = newest.checked_sub(number) else { return false };
    match age {
        age if age < EVERY => true,
        age if age < HOURLY.1 => number.is_multiple_of(HOURLY.0),
        age if age < SIX_HOURLY.1 => number.is_multiple_of(SIX_HOURLY.0),
        _ => false,
    }
}

/// Those of `items`, in the order in which they were noted, whose times go forward and are not after `now`: the longest such
/// series. What was noted while the clock was wrong does not fit into it.
#[must_use]
pub fn in_order<T>(items: Vec<T>, now: Timestamp, at: impl Fn(&T) -> Timestamp) -> Vec<T> {
    // Patience sorting: `ends[n]` is the item with the earliest time that a series of `n + 1` can end with.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; items.len()];
    for (index, item) in items.iter().enumerate() {
        if at(item) > now {
            continue;
        }
        let place = ends.partition_point(|end| at(&items[*end]) < at(item));
        before[index] = place.checked_sub(1).map(|shorter| ends[shorter]);
        match ends.get_mut(place) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut chosen = vec![false; items.len()];
    let mut next = ends.last().copied();
    while let Some(index) = next {
        chosen[index] = true;
        next = before[index];
    }
    items.into_iter().zip(chosen).filter_map(|(item, is_chosen)| is_chosen.then_some(item)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{World, hours, serial, start};

    fn sample(at: Timestamp) -> Sample {
        Sample { number: 0, at, states: BTreeMap::new(), releases: BTreeMap::new(), older: 0, without: 0 }
    }

    #[test]
    fn samples_are_thinned_as_they_grow_older_and_there_is_an_end_to_them() {
        let kept = |newest: u64| (1..=newest).filter(|number| is_kept(*number, newest)).count() as u64;
        assert_eq!(kept(EVERY), EVERY);
        for newest in [1, 700, 3_000, 9_000, 1_000_000] {
            assert!(kept(newest) <= MOST_SAMPLES, "{newest}: {}", kept(newest));
        }
        assert!(kept(1_000_000) > 1_400 && kept(20_000).abs_diff(kept(1_000_000)) <= 2);
        for number in 9_000..9_050 {
            let stays: Vec<bool> = (number..number + 10_000).map(|newest| is_kept(number, newest)).collect();
            assert!(stays.is_sorted_by(|earlier, later| earlier >= later), "{number} comes back");
        }
    }

    #[test]
    fn samples_outlive_a_restart_and_a_clock_that_goes_back() {
        let world = World::new();
        for hour in [0, 1, 2, -5_000, 3, 4] {
            world.store.put_sample(sample(start() + hours(hour))).unwrap();
        }
        let world = world.reopen();
        let samples = world.store.samples().unwrap();
        assert_eq!(samples.iter().map(|sample| sample.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        let shown = in_order(samples, start() + hours(4), |sample| sample.at);
        let at: Vec<_> = shown.iter().map(|sample| sample.at.duration_since(start()).as_hours()).collect();
        assert_eq!(at, [0, 1, 2, 3, 4]);
        assert_eq!(world.store.newest_sample().unwrap().unwrap().number, 6);
    }

    #[tokio::test]
    async fn releases_are_remembered_when_they_are_forgotten() {
        let mut world = World::new();
        assert!(world.store.past_releases().unwrap().is_empty());
        for _ in 0..3 {
            world.publish_next().await;
            world.store.note_releases().unwrap();
        }
        let mut batch = Batch::new();
        for number in [1, 2] {
            batch.remove_release(serial(number));
        }
        world.store.commit(batch).unwrap();
        let here = world.store.releases(usize::MAX).unwrap();
        assert_eq!(here.len(), 1);
        let past = world.store.past_releases().unwrap();
        assert_eq!(past.iter().map(|release| release.serial.get()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(past[2], PastRelease::from(&here[0]));
        assert!(past.iter().all(|release| release.versions.len() >= 5), "{past:?}");
    }

    proptest! {
        #[test]
        fn what_is_in_order_is_left_alone_and_what_is_not_gets_there(times in prop::collection::vec(0_i64..200, 0..60), now in 0_i64..200) {
            let at = |seconds: &i64| Timestamp::from_second(*seconds).unwrap();
            let shown = in_order(times.clone(), at(&now), at);
            prop_assert!(shown.is_sorted_by(|one, next| one < next));
            prop_assert!(shown.iter().all(|time| *time <= now));
            let mut sorted: Vec<i64> = times.iter().copied().filter(|time| *time <= now).collect();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(shown.is_empty(), sorted.is_empty());
            let again = in_order(sorted.clone(), at(&now), at);
            prop_assert_eq!(again, sorted);
        }
    }
}
