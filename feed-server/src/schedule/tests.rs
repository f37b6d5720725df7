use bundles::report::Failure;
use bundles::{Reason, Serial};
use proptest::prelude::*;

use super::*;

const EVERY: Duration = Duration::from_hours(2);

fn schedule() -> Schedule {
    Schedule { initial_delay: Duration::from_secs(90), every: EVERY }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + seconds).unwrap()
}

fn fresh() -> ScheduleState {
    ScheduleState {
        first_start: at(0),
        last_attempt: None,
        last_scheduled: None,
        consecutive_failures: 0,
        start_owes_a_run: false,
        cooling_until: None,
    }
}

fn ran(started: i64, ended: i64, trigger: Trigger, reason: Option<Reason>) -> RunRecord {
    let outcome = match reason {
        None => Outcome::Released { serial: Serial::FIRST },
        Some(reason) => Outcome::Failed { failure: Failure::new(reason, reason.sentence()) },
    };
    RunRecord { ended: Some(at(ended)), outcome: Some(outcome), ..RunRecord::begun(1, at(started), trigger) }
}

#[test]
fn the_first_run_waits_for_the_initial_delay_once() {
    assert_eq!(due(at(0), &fresh(), &schedule(), 0.5), Due::At(at(90)));
    assert_eq!(due(at(89), &fresh(), &schedule(), 0.5), Due::At(at(90)));
    assert_eq!(due(at(90), &fresh(), &schedule(), 0.5), Due::Now(Trigger::Schedule));
    // A restart long after does not wait again.
    assert_eq!(due(at(86_400), &fresh(), &schedule(), 0.5), Due::Now(Trigger::Schedule));
}

#[test]
fn a_success_waits_for_the_interval_from_its_start() {
    let state = ScheduleState::from_runs(at(0), false, &[ran(100, 1_700, Trigger::Schedule, None)]);
    assert_eq!(due(at(1_700), &state, &schedule(), 0.0), Due::At(at(7_300)));
    assert_eq!(due(at(7_300), &state, &schedule(), 0.0), Due::Now(Trigger::Schedule));
}

#[test]
fn retries_grow_and_leave_the_schedule_where_it_was() {
    let mut runs = vec![ran(0, 10, Trigger::Schedule, Some(Reason::Connect))];
    let mut waits = vec![];
    for _ in 0..6 {
        let state = ScheduleState::from_runs(at(0), false, &runs);
        let ended = runs[0].ended.unwrap();
        let Due::At(next) = due(ended, &state, &schedule(), 0.0) else { panic!("a retry must wait") };
        waits.push(next.duration_since(ended).as_secs());
        assert_eq!(due(next, &state, &schedule(), 0.0), Due::Now(Trigger::Retry));
        let second = next.duration_since(at(0)).as_secs();
        runs.insert(0, ran(second, second + 10, Trigger::Retry, Some(Reason::Connect)));
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1_920]);
    // The seventh would be after the scheduled one, which comes in its place, at its time.
    let state = ScheduleState::from_runs(at(0), false, &runs);
    assert_eq!(due(runs[0].ended.unwrap(), &state, &schedule(), 0.0), Due::At(at(7_200)));
    assert_eq!(due(at(7_200), &state, &schedule(), 0.0), Due::Now(Trigger::Schedule));
}

#[test]
fn what_cannot_pass_by_itself_waits_for_the_schedule() {
    let state = ScheduleState::from_runs(at(0), false, &[ran(0, 10, Trigger::Schedule, Some(Reason::TlsUntrusted))]);
    assert_eq!(due(at(10), &state, &schedule(), 0.0), Due::At(at(7_200)));
}

#[test]
fn a_start_with_nothing_to_serve_owes_a_run_whatever_failed_before() {
    for reason in [Reason::TlsUntrusted, Reason::Connect] {
        let mut runs = vec![ran(0, 10, Trigger::Schedule, Some(reason))];
        let started = ScheduleState::from_runs(at(0), true, &runs);
        assert_eq!(due(at(3_600), &started, &schedule(), 0.0), Due::Now(Trigger::Schedule), "{reason}");
        // A restart right after the failure waits as a first retry does, and so does every further one.
        assert_eq!(due(at(11), &started, &schedule(), 0.0), Due::At(at(70)), "{reason}");
        assert_eq!(due(at(11), &started, &schedule(), 1.0), Due::At(at(100)), "{reason}");
        runs.insert(0, ran(70, 80, Trigger::Schedule, Some(reason)));
        let restarted = ScheduleState::from_runs(at(0), true, &runs);
        assert_eq!(due(at(81), &restarted, &schedule(), 0.0), Due::At(at(140)), "{reason}");
    }
    // What the start owed was tried: the schedule goes on from there.
    let tried = [ran(3_600, 3_610, Trigger::Schedule, Some(Reason::TlsUntrusted))];
    let state = ScheduleState::from_runs(at(0), false, &tried);
    assert_eq!(due(at(3_610), &state, &schedule(), 0.0), Due::At(at(10_800)));
}

#[test]
fn the_initial_delay_counts_also_where_a_start_owes_a_run() {
    let state = ScheduleState { start_owes_a_run: true, ..fresh() };
    assert_eq!(due(at(0), &state, &schedule(), 0.0), Due::At(at(90)));
    assert_eq!(due(at(90), &state, &schedule(), 0.0), Due::Now(Trigger::Schedule));
}

#[test]
fn nothing_begins_while_every_source_cools_down() {
    let runs = [ran(0, 10, Trigger::Schedule, Some(Reason::RateLimited))];
    let state = |until| ScheduleState::from_runs(at(0), true, &runs).cooling_until(Some(at(until)));
    // Neither a retry, nor what a start owes, nor what is due by the interval.
    assert_eq!(due(at(10), &state(3_600), &schedule(), 0.0), Due::At(at(3_600)));
    assert_eq!(due(at(3_599), &state(3_600), &schedule(), 0.0), Due::At(at(3_600)));
    assert_eq!(due(at(7_200), &state(86_400), &schedule(), 0.0), Due::At(at(86_400)));
    assert!(matches!(due(at(3_600), &state(3_600), &schedule(), 0.0), Due::Now(_)));
    // It never hurries anything.
    assert_eq!(due(at(10), &state(20), &schedule(), 0.0), Due::At(at(70)));
}

#[test]
fn failures_are_counted_back_to_the_last_success() {
    let failed = |start| ran(start, start + 1, Trigger::Retry, Some(Reason::Dns));
    let runs = [failed(300), failed(200), ran(100, 101, Trigger::Schedule, None), failed(50)];
    let state = ScheduleState::from_runs(at(0), false, &runs);
    assert_eq!(state.consecutive_failures, 2);
    assert_eq!(state.last_scheduled, Some(at(100)));
}

#[test]
fn an_unfinished_run_is_no_attempt() {
    let mut running = ran(100, 100, Trigger::Schedule, None);
    running.outcome = None;
    assert_eq!(ScheduleState::from_runs(at(0), false, &[running]), fresh());
}

#[test]
fn a_clock_that_is_turned_back_does_not_stall() {
    let years = 20 * 31_536_000;
    let state = ScheduleState::from_runs(at(0), false, &[ran(years, years + 10, Trigger::Schedule, None)]);
    assert_eq!(due(at(0), &state, &schedule(), 0.0), Due::Now(Trigger::Schedule));
    let never_ran = ScheduleState { first_start: at(years), ..fresh() };
    assert_eq!(due(at(0), &never_ran, &schedule(), 0.0), Due::Now(Trigger::Schedule));
    // A small step of NTP is no reason to run again.
    let state = ScheduleState::from_runs(at(0), false, &[ran(100, 101, Trigger::Schedule, None)]);
    assert_eq!(due(at(98), &state, &schedule(), 0.0), Due::At(at(7_300)));
}

fn a_state() -> impl Strategy<Value = ScheduleState> {
    let second = -1_000_000_i64..1_000_000;
    let attempt = (second.clone(), 0_i64..100_000, any::<bool>());
    let kept = (second.clone(), proptest::option::of(attempt), proptest::option::of(second), 0_u32..u32::MAX);
    let cooling = proptest::option::of(-1_000_000_i64..1_000_000);
    (kept, any::<bool>(), cooling).prop_map(|((first, attempt, scheduled, failures), owes, cooling)| ScheduleState {
        first_start: at(first),
        last_attempt: attempt.map(|(started, lasted, worth_a_retry)| Attempt {
            started: at(started),
            ended: at(started + lasted),
            worth_a_retry,
        }),
        last_scheduled: scheduled.map(at),
        consecutive_failures: failures,
        start_owes_a_run: owes,
        cooling_until: cooling.map(at),
    })
}

proptest! {
    #[test]
    fn a_run_is_due_when_its_time_comes_and_never_far_away(
        state in a_state(),
        now in -1_000_000_i64..1_000_000,
        every in 60_u64..1_000_000,
        delay in 0_u64..86_400,
        jitter in 0.0_f64..1.0,
    ) {
        let schedule = Schedule { initial_delay: Duration::from_secs(delay), every: Duration::from_secs(every) };
        if let Due::At(next) = due(at(now), &state, &schedule, jitter) {
            prop_assert!(next > at(now));
            let wait = next.duration_since(at(now)).as_secs();
            let cooling = state.cooling_until.map_or(0, |until| until.duration_since(at(now)).as_secs());
            let longest = (i64::try_from(every.max(delay)).unwrap() + STEP_TOLERATED.as_secs()).max(cooling);
            prop_assert!(wait <= longest, "{wait} > {longest}");
            // By the end of a cool-down, a clock that had been turned back may be right again, and the interval counts.
            if state.cooling_until != Some(next) {
                prop_assert!(matches!(due(next, &state, &schedule, jitter), Due::Now(_)), "due when the time comes");
            }
            let before = next.checked_sub(SignedDuration::from_secs(1)).unwrap();
            if before >= at(now) {
                prop_assert!(matches!(due(before, &state, &schedule, jitter), Due::At(_)), "and not before");
            }
        }
    }

    #[test]
    fn more_failures_never_wait_less(failures in 1_u32..100, every in 60_u64..1_000_000, jitter in 0.0_f64..1.0) {
        let every = Duration::from_secs(every);
        let wait = retry_wait(failures, every, jitter);
        prop_assert!(wait <= retry_wait(failures + 1, every, jitter));
        prop_assert!(wait <= every / 2);
    }
}
