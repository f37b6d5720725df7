//! A release once more, under another number: the newest one on a server that was restored from a backup, since clients may
//! have seen later ones, of which nothing is known any more, and take nothing with a lower number than they have seen; or an
//! earlier one, since a later one is bad.

use bundles::{Manifest, Serial};
use jiff::Timestamp;

use crate::store::records::ReleaseRecord;

/// Numbers that are left out beyond those that time gives: a server whose clock was set back since the backup has used
/// some all the same.
const MARGIN: u64 = 1_000;

/// People read these numbers from labels, and see by its zeros that one was left by a restore.
const ROUND: u64 = 1_000;

/// A number that is at least as high as any that was given out: no server makes more than one release in a second.
/// `at_least` may raise it. `None` where the numbers end before that.
#[must_use]
pub fn floor(
    highest: Option<Serial>,
    backed_up: Timestamp,
    now: Timestamp,
    at_least: Option<Serial>,
) -> Option<Serial> {
    let elapsed = now.as_second().saturating_sub(backed_up.as_second());
    let elapsed = u64::try_from(elapsed).unwrap_or_default();
    let given_out = highest.map_or(0, Serial::get).checked_add(elapsed)?.checked_add(MARGIN)?;
    let floor = Serial::new(given_out.checked_next_multiple_of(ROUND)?)?;
    Some(at_least.map_or(floor, |at_least| floor.max(at_least)))
}

/// That release under another number.
#[must_use]
pub fn again(release: &ReleaseRecord, serial: Serial, now: Timestamp) -> ReleaseRecord {
    // Manifests hold whole seconds.
    let created = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let manifest = Manifest { serial, created, ..release.manifest.clone() };
    ReleaseRecord { manifest, signed: None, taken: None, content_of: Some(release.manifest.serial) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_above_what_may_have_been_given_out() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let of = |highest: u64, elapsed: i64, at_least: u64| {
            floor(Serial::new(highest), at(1_000_000), at(1_000_000 + elapsed), Serial::new(at_least)).map(Serial::get)
        };
        assert_eq!(of(0, 0, 0), Some(1_000));
        assert_eq!(of(5, 10, 0), Some(2_000));
        assert_eq!(of(1_000, 86_400, 0), Some(89_000));
        assert_eq!(of(5, -3_600, 0), Some(2_000), "a clock that was set back");
        assert_eq!(of(5, 10, 1_500), Some(2_000));
        assert_eq!(of(5, 10, 7_777), Some(7_777));
        assert_eq!(of(u64::MAX - 10, 0, 0), None);
    }
}
