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
    for (random, seconds) in [(0.0, 1800), (1.0, 5400)] {
        assert_eq!(seconds_until(next_poll(start(), after_start(HOURLY), None, random)), seconds);
    }
}

#[test]
fn retries_grow_up_to_the_interval() {
    let waits: Vec<_> = (1..=8)
        .map(|failures| seconds_until(next_poll(start(), HOURLY, failed(Reason::Connect, failures), 1.0)))
        .collect();
    assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
}

#[test]
fn the_server_may_ask_for_more_but_not_for_ever() {
    for (seconds, at_least, at_most) in [(10, 30, 310), (600, 600, 900), (u64::MAX, 3600, 5400)] {
        let failed = Failed { reason: Reason::RateLimited, in_a_row: 1, wait: Some(Duration::from_secs(seconds)) };
        assert_eq!(seconds_until(next_poll(start(), HOURLY, Some(failed), 0.0)), at_least);
        assert_eq!(seconds_until(next_poll(start(), HOURLY, Some(failed), 1.0)), at_most);
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
        let second = next_poll(start(), after_start(rhythm), None, random);
        prop_assert_eq!(SignedDuration::try_from(wait(start(), second, rhythm)).unwrap(), second.duration_since(start()));
        prop_assert!(wait(start(), first_poll(start(), rhythm, random), rhythm) <= FIRST_POLL_WITHIN);
    }
}

/// A fleet on the rhythm that is the default: two hours, with twelve minutes of jitter.
const FLEET: Rhythm = Rhythm { every: Duration::from_secs(7200), jitter: Duration::from_secs(720) };
const CLIENTS: u32 = 10_000;

/// Polls in ten seconds, were they spread evenly.
const EVEN: f64 = CLIENTS as f64 * 10.0 / 7200.0;

/// Evenly spread numbers, the same ones in each run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Plays the fleet's polls, each client from its first one, `answer` saying why one at that second fails; how many fall
/// into the busiest ten seconds from `from` to `until`.
fn busiest(
    first: impl Fn(&mut Random) -> i64,
    answer: impl Fn(i64) -> Option<(Reason, Option<Duration>)>,
    from: i64,
    until: i64,
) -> usize {
    let mut random = Random(7);
    let mut counts = vec![0_usize; usize::try_from((until - from) / 10 + 1).unwrap()];
    for _ in 0..CLIENTS {
        let (mut at, mut in_a_row, mut settled) = (first(&mut random), 0, false);
        while at < until {
            if at >= from {
                counts[usize::try_from((at - from) / 10).unwrap()] += 1;
            }
            let failed = answer(at).map(|(reason, wait)| {
                in_a_row += 1;
                Failed { reason, in_a_row, wait }
            });
            if failed.is_none() {
                in_a_row = 0;
            }
            let rhythm = if settled { FLEET } else { after_start(FLEET) };
            settled |= failed.is_none();
            let now = Timestamp::from_second(at).unwrap();
            // At least a second, so that a poll takes time.
            at = next_poll(now, rhythm, failed, random.next()).as_second().max(at + 1);
        }
    }
    counts.into_iter().max().unwrap()
}

fn anywhere(random: &mut Random) -> i64 {
    (random.next() * 7200.0) as i64
}

const HOUR: i64 = 3600;

/// Chance alone has the busiest of some thousand windows at twice the even number.
#[test]
fn a_fleet_is_spread_evenly() {
    let most = busiest(anywhere, |_| None, 4 * HOUR, 24 * HOUR);
    assert!((most as f64) < 2.5 * EVEN, "{most} polls in ten seconds, {EVEN} were even");
}

#[test]
fn after_an_outage_of_three_hours_a_fleet_does_not_come_back_as_one_wave() {
    for reason in [Reason::Connect, Reason::Timeout, Reason::HttpStatus] {
        let out = |at| (10 * HOUR..13 * HOUR).contains(&at).then_some((reason, None));
        let most = busiest(anywhere, out, 13 * HOUR, 24 * HOUR);
        assert!((most as f64) < 3.0 * EVEN, "{most} polls in ten seconds, {EVEN} were even");
    }
}

/// Those who were refused for half an hour come every few minutes at first, and at no one time.
#[test]
fn a_server_that_asks_for_two_minutes_is_not_asked_by_all_after_two_minutes() {
    let refused = Some((Reason::HttpStatus, Some(Duration::from_secs(120))));
    let busy = |at| refused.filter(|_| (10 * HOUR..10 * HOUR + 1800).contains(&at));
    let most = busiest(anywhere, busy, 10 * HOUR + 1800, 24 * HOUR);
    assert!((most as f64) < 6.5 * EVEN, "{most} polls in ten seconds, {EVEN} were even");
    // Not even where they all came within ten seconds: over five minutes, then.
    let together = |random: &mut Random| (random.next() * 10.0) as i64;
    let most = busiest(together, |at| refused.filter(|_| at < 60), 60, 2 * HOUR);
    assert!(most < 500, "{most} of {CLIENTS} in ten seconds");
}

#[test]
fn a_fleet_that_was_started_at_once_is_spread_by_its_second_poll() {
    let together = |random: &mut Random| (random.next() * 10.0) as i64;
    let most = busiest(together, |_| None, 60, 24 * HOUR);
    assert!((most as f64) < 2.5 * EVEN, "{most} polls in ten seconds, {EVEN} were even");
    // Nor does a server that is there only half an hour later meet one wave.
    let late = |at| (at < 1800).then_some((Reason::Connect, None));
    let most = busiest(together, late, 1800, 24 * HOUR);
    assert!((most as f64) < 12.0 * EVEN, "{most} polls in ten seconds, {EVEN} were even");
}
