use std::collections::BTreeMap;

use bundles::{Component, Serial, Version};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::axis::scale;
use super::*;
use crate::store::history::{PastRelease, Sample};

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn release(number: u64, since: Timestamp, version: u32) -> PastRelease {
    let version: Version = format!("{version}.0.0").parse().unwrap();
    let versions = Component::KNOWN.iter().map(|component| (component.clone(), version.clone())).collect();
    PastRelease { serial: Serial::new(number).unwrap(), since, versions }
}

fn sample(at: Timestamp, releases: &[(u64, u64)], without: u64) -> Sample {
    let releases = releases.iter().map(|(serial, count)| (Serial::new(*serial).unwrap(), *count)).collect();
    Sample { number: 0, at, states: BTreeMap::new(), releases, older: 0, without }
}

/// Every number of every attribute that says where something is, with what it is held to.
fn check(markup: &Markup) {
    let text = markup.0.as_str();
    assert!(!text.contains("NaN") && !text.contains("inf") && !text.contains("style="), "{text}");
    let Some((_, rest)) = text.split_once("viewBox=\"0 0 640 ") else {
        assert!(!text.contains("<polygon"), "{text}");
        return;
    };
    let height: f64 = rest.split_once('"').unwrap().0.parse().unwrap();
    for name in ["x", "x1", "x2", "cx"] {
        for value in attributes(text, name) {
            assert!((0.0..=640.0).contains(&value.parse::<f64>().unwrap()), "{name}={value} in {text}");
        }
    }
    for name in ["y", "y1", "y2", "cy"] {
        for value in attributes(text, name) {
            assert!((0.0..=height).contains(&value.parse::<f64>().unwrap()), "{name}={value} in {text}");
        }
    }
    for value in attributes(text, "points") {
        assert!(!value.is_empty(), "{text}");
        for point in value.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((0.0..=640.0).contains(&x) && (0.0..=height).contains(&y), "{point} in {text}");
        }
    }
    for id in ["-title", "-description"] {
        assert!(text.contains(&format!("{id}\">")), "{text}");
    }
    assert!(text.contains("<details>") && text.contains("<table>"), "{text}");
}

fn attributes<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split_once('"').unwrap().0).collect()
}

fn pictures(releases: &[PastRelease], samples: &[Sample], now: Timestamp) -> [Markup; 3] {
    let pictures = [content_age(releases, now), versions(releases, now), fleet(samples, now)];
    pictures.iter().for_each(check);
    pictures
}

#[test]
fn where_there_is_nothing_to_draw_that_is_said() {
    for picture in pictures(&[], &[], now()) {
        assert!(picture.0.contains("There ") && !picture.0.contains("<svg"), "{}", picture.0);
    }
    // Nobody has a headend, and somebody counts all the same; and what is not yet is not drawn.
    let [age, _, fleet] = pictures(&[release(1, ago(-1), 1)], &[sample(ago(1), &[], 0)], now());
    assert!(!age.0.contains("<svg") && !fleet.0.contains("<svg"));
}

#[test]
fn one_of_each_is_a_picture() {
    let [age, versions, fleet] = pictures(&[release(7, ago(30), 3)], &[sample(ago(0), &[(7, 2)], 1)], now());
    assert!(age.0.contains("is 1 day 6 h old now"), "{}", age.0);
    assert!(versions.0.contains("0 changes of version in") && versions.0.contains(">3.0.0<"), "{}", versions.0);
    assert!(fleet.0.contains("Of 3 headends") && fleet.0.contains("2 on release 7, 1 on none"), "{}", fleet.0);
    assert_eq!(attributes(&fleet.0, "points").len(), 2);
}

#[test]
fn the_content_ages_until_there_is_a_release() {
    let picture = content_age(&[release(1, ago(240), 1), release(2, ago(120), 2)], now());
    check(&picture);
    let line = attributes(&picture.0, "points")[1];
    let points: Vec<(f64, f64)> = line
        .split(' ')
        .map(|point| point.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap())
        .collect();
    let [begin, before, after, end] = points[..] else { panic!("{points:?}") };
    assert!(begin.1 > before.1 && before.0 == after.0 && after.1 == begin.1, "{points:?}");
    assert_eq!((end.1, end.0), (before.1, 630.0), "both lasted five days");
    assert!(picture.0.contains("is 5 days 0 h old now, and was at most 5 days 0 h old"), "{}", picture.0);
}

#[test]
fn a_release_from_before_the_window_is_drawn_from_its_edge_on() {
    let releases = [release(1, ago(24 * 400), 1), release(2, ago(24 * 100), 2), release(3, ago(24), 3)];
    let [age, versions, _] = pictures(&releases, &[], now());
    assert!(age.0.contains("changed 1 time,") && age.0.contains("at most 99 days old"), "{}", age.0);
    let changes = format!("{0} changes of version in {0} components", Component::KNOWN.len());
    assert!(versions.0.contains(&changes), "{}", versions.0);
    assert!(!versions.0.contains(">1.0.0<") && versions.0.contains(">2.0.0<"), "{}", versions.0);
}

#[test]
fn areas_stand_on_each_other_and_end_where_nobody_knows() {
    let samples = [
        sample(ago(72), &[(1, 10)], 0),
        sample(ago(66), &[(1, 8), (2, 2)], 0),
        sample(ago(6), &[(2, 10)], 0),
        sample(ago(0), &[(2, 10)], 0),
    ];
    let picture = fleet(&samples, now());
    check(&picture);
    // Two releases, each before and after the gap.
    assert_eq!(attributes(&picture.0, "points").len(), 4, "{}", picture.0);
    assert!(picture.0.contains("series-1") && picture.0.contains("series-2") && !picture.0.contains("series-none"));
}

#[test]
fn thousands_are_as_many_as_can_be_seen() {
    let releases: Vec<_> =
        (1..5_000).map(|number| release(number, ago(5_000 - number as i64), number as u32)).collect();
    let samples: Vec<_> =
        (0..5_000).map(|number| sample(ago(5_000 - number), &[(1 + number as u64 / 100, 5_000)], 3)).collect();
    for picture in pictures(&releases, &samples, now()) {
        assert!(picture.0.len() < 400_000, "{}", picture.0.len());
    }
}

#[test]
fn times_are_named_in_steps_that_people_count_in() {
    let names = |hours: i64| -> Vec<String> {
        Span::new(ago(hours), now()).ticks().into_iter().map(|(_, name)| name).collect()
    };
    assert_eq!(names(1), ["11:00", "11:15", "11:30", "11:45"]);
    assert_eq!(names(24), ["12:00", "18:00", "21 Nov", "06:00"]);
    assert_eq!(names(24 * 30), ["26 Oct", "2 Nov", "9 Nov", "16 Nov"]);
    assert_eq!(names(24 * 365 * 2), ["Jan 2025", "Jul 2025", "Jan 2026", "Jul 2026"]);
    assert_eq!(names(24 * 365 * 9), ["2018", "2020", "2022", "2024", "2026"]);
}

#[test]
fn values_are_few_and_reach_the_top() {
    assert_eq!(scale(0), [0, 1]);
    assert_eq!(scale(3), [0, 1, 2, 3]);
    assert_eq!(scale(10_000), [0, 2_000, 4_000, 6_000, 8_000, 10_000]);
    assert_eq!(scale(10_001).last(), Some(&15_000));
}

fn moment() -> impl Strategy<Value = Timestamp> {
    let near = now().as_second();
    prop_oneof![
        3 => near - 20_000_000..near + 20_000_000,
        1 => Timestamp::MIN.as_second()..Timestamp::MAX.as_second(),
    ]
    .prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #[test]
    fn whatever_is_known_can_be_drawn(
        releases in prop::collection::vec((1_u64..1_000, moment(), 0_u32..5), 0..40),
        samples in prop::collection::vec((moment(), prop::collection::vec((1_u64..30, any::<u64>()), 0..9), any::<u64>()), 0..40),
        now in moment(),
    ) {
        let releases: Vec<_> = releases.into_iter().map(|(number, since, version)| release(number, since, version)).collect();
        let samples: Vec<_> = samples.iter().map(|(at, releases, without)| sample(*at, releases, *without)).collect();
        pictures(&releases, &samples, now);
    }

    #[test]
    fn axes_have_few_names_in_their_order(from in moment(), to in moment(), most in any::<u64>()) {
        let ticks = Span::new(from, to).ticks();
        prop_assert!(ticks.len() <= 9);
        prop_assert!(ticks.is_sorted_by(|one, next| one.0 < next.0), "{ticks:?}");
        let values = scale(most);
        prop_assert!((2..=6).contains(&values.len()) && values.is_sorted(), "{values:?}");
        prop_assert!(values.last() >= Some(&most) || most > 5_000_000_000_000_000_000);
    }
}
