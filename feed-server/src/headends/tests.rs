use bundles::Reason;
use bundles::report::{Failure, Report};
use proptest::prelude::*;

use super::*;

const INTERVAL: u64 = 7_200;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + seconds).unwrap()
}

fn serial(number: u64) -> Serial {
    Serial::new(number).unwrap()
}

fn reported(seconds: i64, runs: Option<u64>, failure: Option<Reason>) -> ReportRecord {
    ReportRecord {
        received: at(seconds),
        report: Report {
            client_version: "0.1.0".to_owned(),
            serial: runs.map(serial),
            components: std::collections::BTreeMap::default(),
            last_success: None,
            last_attempt: at(seconds),
            last_failure: failure.map(|reason| Failure::new(reason, reason.sentence())),
            next_poll: None,
            interval_seconds: INTERVAL,
            transfer: None,
            clock_behind: None,
        },
    }
}

#[test]
fn one_that_never_reported_is_silent() {
    assert_eq!(state(at(0), None, &[]), HeadendState::Silent);
}

#[test]
fn silence_begins_after_two_and_a_half_intervals() {
    let report = reported(0, Some(1), None);
    assert_eq!(state(at(18_000), Some(&report), &[]), HeadendState::Current);
    assert_eq!(state(at(18_001), Some(&report), &[]), HeadendState::Silent);
}

#[test]
fn silent_goes_before_failing_and_failing_before_behind() {
    let failing = reported(0, None, Some(Reason::Connect));
    let old_release = [(serial(1), at(-1_000_000))];
    assert_eq!(state(at(20_000), Some(&failing), &old_release), HeadendState::Silent);
    assert_eq!(state(at(10), Some(&failing), &old_release), HeadendState::Failing);
    assert_eq!(state(at(10), Some(&reported(0, None, None)), &old_release), HeadendState::Behind);
}

#[test]
fn a_new_release_leaves_two_intervals_to_take_it() {
    let releases = [(serial(1), at(-1_000_000)), (serial(2), at(0))];
    let report = |seconds| reported(seconds, Some(1), None);
    assert_eq!(state(at(14_399), Some(&report(14_000)), &releases), HeadendState::Current);
    assert_eq!(state(at(14_400), Some(&report(14_000)), &releases), HeadendState::Behind);
    assert_eq!(state(at(14_400), Some(&reported(14_000, Some(2), None)), &releases), HeadendState::Current);
}

#[test]
fn ids_are_fit_for_urls() {
    assert!(is_id("ise-1.branch_7"));
    for bad in ["", ".", "..", "-x", "a/b", "a b", "ä", "a%2e", &"x".repeat(254)] {
        assert!(!is_id(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_fresh_successful_report_of_the_newest_release_is_current(
        numbers in proptest::collection::vec((1_u64..1_000, -1_000_000_i64..1_000_000), 1..20),
        now in -1_000_000_i64..1_000_000,
    ) {
        let releases: Vec<_> = numbers.iter().map(|(number, created)| (serial(*number), at(*created))).collect();
        let newest = numbers.iter().map(|(number, _)| *number).max();
        prop_assert_eq!(state(at(now), Some(&reported(now, newest, None)), &releases), HeadendState::Current);
    }

    #[test]
    fn every_headend_is_counted_once(reports in proptest::collection::vec(
        proptest::option::of((-50_000_i64..0, proptest::option::of(1_u64..5), any::<bool>())), 0..30,
    )) {
        let record = HeadendRecord { id: "x".to_owned(), added: at(0), token: Some(bundles::Digest::of(b"")) };
        let headends: Vec<_> = reports
            .iter()
            .map(|r| (record.clone(), r.map(|(s, n, failed)| reported(s, n, failed.then_some(Reason::Dns)))))
            .collect();
        let counts = count(at(0), &headends, &[(serial(3), at(-60_000))]);
        prop_assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), reports.len() as u64);
    }
}
