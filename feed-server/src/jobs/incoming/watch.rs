//! Which files of a watched folder are ready: pure, time is an argument.

use std::collections::BTreeMap;
use std::ffi::OsString;

use jiff::{SignedDuration, Timestamp};

/// How often the wait before another try is doubled at most: from a minute to about an hour. Whoever made room does not
/// want to wait longer for it to be noticed.
const MAX_DOUBLINGS: u32 = 6;

/// What tells a file from what it was, or from another one of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) length: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    /// Seconds and nanoseconds: renaming and changing modes count as well.
    pub(super) changed: (i64, i64),
}

/// A file that a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: OsString,
    pub(super) identity: Identity,
}

/// What earlier looks found.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: BTreeMap<OsString, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    identity: Identity,
    /// Since when it has been as it is.
    since: Timestamp,
    again: Option<Again>,
    /// It stays where it is, and nothing more is done about it.
    is_done: bool,
}

#[derive(Debug, Clone, Copy)]
struct Again {
    at: Timestamp,
    wait: SignedDuration,
    doublings: u32,
}

impl Watch {
    /// Takes what a look found; gives those files that have been as they are for `quiet`, and for how long.
    pub(super) fn look(
        &mut self,
        found: &[Found],
        quiet: SignedDuration,
        now: Timestamp,
    ) -> Vec<(Found, SignedDuration)> {
        self.seen.retain(|name, _| found.iter().any(|file| file.name == *name));
        let mut ready = Vec::new();
        for file in found {
            let new = Seen { identity: file.identity, since: now, again: None, is_done: false };
            let seen = self.seen.entry(file.name.clone()).or_insert(new);
            if seen.identity != file.identity {
                *seen = new;
            }
            // A clock that was set back must not hold a file up for as long as that.
            seen.since = seen.since.min(now);
            let waits = seen.again.is_some_and(|again| now < again.at && again.at.duration_since(now) <= again.wait);
            let still = now.duration_since(seen.since);
            if !seen.is_done && !waits && still >= quiet && seen.since < now {
                ready.push((file.clone(), still));
            }
        }
        ready
    }

    /// The file stays where it is, and nothing more is to be done about it until it changes.
    pub(super) fn done(&mut self, name: &OsString) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.is_done = true;
        }
    }

    /// The file is to be tried again: after `first` the first time, and later each time.
    pub(super) fn again(&mut self, name: &OsString, first: SignedDuration, now: Timestamp) {
        if let Some(seen) = self.seen.get_mut(name) {
            let doublings = seen.again.map_or(0, |again| (again.doublings + 1).min(MAX_DOUBLINGS));
            let wait = first * (1 << doublings);
            seen.again = Some(Again { at: now.saturating_add(wait).unwrap_or(Timestamp::MAX), wait, doublings });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    fn file(name: &str, length: u64) -> Found {
        let identity = Identity { length, device: 1, inode: 1, modified: (0, 0), changed: (0, 0) };
        Found { name: name.into(), identity }
    }

    fn ready(watch: &mut Watch, found: &[Found], second: i64) -> Vec<String> {
        let ready = watch.look(found, SignedDuration::from_secs(5), at(second));
        ready.into_iter().map(|(file, _)| file.name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_ready_once_it_stops_changing() {
        let mut watch = Watch::default();
        for second in 0..20_i64 {
            assert!(ready(&mut watch, &[file("a", second.unsigned_abs())], second).is_empty());
        }
        let whole = [file("a", 19), file("b", 1)];
        assert!(ready(&mut watch, &whole, 22).is_empty());
        assert_eq!(ready(&mut watch, &whole, 24), ["a"]);
        assert_eq!(ready(&mut watch, &whole, 27), ["a", "b"]);
        // Gone and back is another file.
        assert!(ready(&mut watch, &[], 28).is_empty());
        assert!(ready(&mut watch, &whole, 29).is_empty());
    }

    #[test]
    fn one_look_is_never_enough() {
        let mut watch = Watch::default();
        let file = [file("a", 1)];
        assert!(watch.look(&file, SignedDuration::ZERO, at(0)).is_empty());
        assert_eq!(watch.look(&file, SignedDuration::ZERO, at(1)).len(), 1);
    }

    #[test]
    fn what_is_done_is_left_alone_until_it_changes() {
        let mut watch = Watch::default();
        ready(&mut watch, &[file("a", 1)], 0);
        watch.done(&"a".into());
        assert!(ready(&mut watch, &[file("a", 1)], 100).is_empty());
        assert!(ready(&mut watch, &[file("a", 2)], 101).is_empty());
        assert_eq!(ready(&mut watch, &[file("a", 2)], 106), ["a"]);
    }

    #[test]
    fn what_is_tried_again_waits_longer_each_time_and_not_for_ever() {
        let mut watch = Watch::default();
        let file = [file("a", 1)];
        ready(&mut watch, &file, 0);
        let mut second = 5;
        for wait in [60, 120, 240, 480, 960, 1_920, 3_840, 3_840] {
            assert_eq!(ready(&mut watch, &file, second), ["a"]);
            watch.again(&"a".into(), SignedDuration::from_mins(1), at(second));
            assert!(ready(&mut watch, &file, second + wait - 1).is_empty(), "{wait}");
            second += wait;
        }
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let mut watch = Watch::default();
        let file = [file("a", 1)];
        ready(&mut watch, &file, 1_000_000);
        assert!(ready(&mut watch, &file, 0).is_empty());
        assert_eq!(ready(&mut watch, &file, 5), ["a"]);
        watch.again(&"a".into(), SignedDuration::from_mins(1), at(1_000_000));
        assert_eq!(ready(&mut watch, &file, 6), ["a"], "the wait was for another time");
    }
}
