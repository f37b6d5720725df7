//! When to poll. Pure: time and randomness are arguments, and a timer only wakes this.

use std::time::Duration;

use bundles::Reason;
use jiff::{SignedDuration, Timestamp};

/// The first poll after a start waits at most this long: a site whose power comes back must not have all its headends
/// ask in the same instant, and an operator who just started the service wants to see it work.
const FIRST_POLL_WITHIN: Duration = Duration::from_secs(10);

/// The wait after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// How often to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Between two polls, on average.
    pub every: Duration,
    /// The width of the window, centred on [`Rhythm::every`], over which polls are spread evenly.
    pub jitter: Duration,
}

/// When the first poll after a start is due: right away, spread over some seconds.
#[must_use]
pub fn first_poll(now: Timestamp, rhythm: Rhythm, random: f64) -> Timestamp {
    later(now, rhythm.jitter.min(rhythm.every).min(FIRST_POLL_WITHIN).mul_f64(part(random)))
}

/// A poll that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub reason: Reason,
    /// How many in a row have, this one included.
    pub in_a_row: u32,
    /// How long the server asked to be left alone.
    pub wait: Option<Duration>,
}

/// When the next poll is due after one that ended at `now`. Failures that may heal by themselves are retried with growing
/// waits, at least as long as the server asked for, never beyond the interval; the others wait for the interval, since
/// nobody but a person can change the outcome.
#[must_use]
pub fn next_poll(now: Timestamp, rhythm: Rhythm, failed: Option<Failed>, random: f64) -> Timestamp {
    let half_window = rhythm.jitter.min(rhythm.every) / 2;
    let regular = rhythm.every - half_window + half_window.mul_f64(2.0 * part(random));
    let wait = match failed {
        Some(Failed { reason, in_a_row, wait }) if reason.worth_a_retry() => {
            // 2^16 minutes is beyond any interval; the exponent is capped so that the product cannot overflow.
            let growing = FIRST_RETRY * (1 << in_a_row.saturating_sub(1).min(16));
            // Between half and all of it: clients that failed together must not come back together.
            growing.mul_f64(0.5 + part(random) / 2.0).max(wait.unwrap_or_default()).min(regular)
        }
        Some(_) | None => regular,
    };
    later(now, wait)
}

/// How long to wait at `now` for a poll due at `next`. A due time further ahead than any rhythm allows means that the
/// clock was set back meanwhile: then the poll is due at once, instead of in a year.
#[must_use]
pub fn wait(now: Timestamp, next: Timestamp, rhythm: Rhythm) -> Duration {
    let ahead = Duration::try_from(next.duration_since(now)).unwrap_or(Duration::ZERO);
    if ahead > rhythm.every + rhythm.jitter { Duration::ZERO } else { ahead }
}

/// Randomness from outside is taken as it comes, but never out of its range.
pub(crate) fn part(random: f64) -> f64 {
    if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOURLY: Rhythm = Rhythm { every: Duration::from_secs(3600), jitter: Duration::from_secs(600) };

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn failed(reason: Reason, in_a_row: u32) -> Option<Failed> {
        Some(Failed { reason, in_a_row, wait: None })
    }

    fn seconds_until(next: Timestamp) -> i64 {
        next.duration_since(start()).as_secs()
    }

    #[test]
    fn polls_spread_evenly_around_the_interval() {
        assert_eq!(seconds_until(next_poll(start(), HOURLY, None, 0.0)), 3300);
        assert_eq!(seconds_until(next_poll(start(), HOURLY, None, 0.5)), 3600);
        assert_eq!(seconds_until(next_poll(start(), HOURLY, None, 1.0)), 3900);
        assert_eq!(seconds_until(first_poll(start(), HOURLY, 0.5)), 5);
    }

    #[test]
    fn retries_grow_up_to_the_interval() {
        let waits: Vec<_> = (1..=8)
            .map(|failures| seconds_until(next_poll(start(), HOURLY, failed(Reason::Connect, failures), 1.0)))
            .collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3840, 3900]);
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_ever() {
        for (seconds, waits) in [(10, 60), (600, 600), (u64::MAX, 3900)] {
            let failed = Failed { reason: Reason::RateLimited, in_a_row: 1, wait: Some(Duration::from_secs(seconds)) };
            assert_eq!(seconds_until(next_poll(start(), HOURLY, Some(failed), 1.0)), waits);
        }
    }

    #[test]
    fn what_only_a_person_can_mend_waits_for_the_interval() {
        assert_eq!(seconds_until(next_poll(start(), HOURLY, failed(Reason::Signature, 1), 0.5)), 3600);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_polls() {
        let year_ahead = start().checked_add(SignedDuration::from_hours(24 * 365)).unwrap();
        assert_eq!(wait(start(), year_ahead, HOURLY), Duration::ZERO);
        assert_eq!(wait(year_ahead, start(), HOURLY), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn the_next_poll_is_ahead_and_within_reach(
            every in 1_u64..864_000,
            jitter in 0_u64..2_000_000,
            failures in 0_u32..,
            failed in any::<bool>(),
            asked in any::<Option<u64>>(),
            random in any::<f64>(),
        ) {
            let rhythm = Rhythm { every: Duration::from_secs(every), jitter: Duration::from_secs(jitter) };
            let asked = asked.map(Duration::from_secs);
            let failed = failed.then_some(Failed { reason: Reason::Timeout, in_a_row: failures, wait: asked });
            let next = next_poll(start(), rhythm, failed, random);
            prop_assert!(next >= start());
            // Its own answer must never look like a clock that was set back.
            let waiting = wait(start(), next, rhythm);
            prop_assert_eq!(SignedDuration::try_from(waiting).unwrap(), next.duration_since(start()));
            prop_assert!(wait(start(), first_poll(start(), rhythm, random), rhythm) <= FIRST_POLL_WITHIN);
        }
    }
}
