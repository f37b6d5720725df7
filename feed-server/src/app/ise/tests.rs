use super::*;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + 60 * minutes).unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn record(name: &str, addresses: &[&str]) -> IseRecord {
    let addresses = addresses.iter().map(|text| address(text).to_canonical()).collect();
    IseRecord { name: name.to_owned(), added: at(0), addresses, every_hours: 2 }
}

fn serial(number: u64) -> Serial {
    Serial::new(number).unwrap()
}

#[test]
fn a_deployment_is_silent_until_it_asks_and_when_it_no_longer_does() {
    let mut seen = IseSeen::default();
    assert_eq!(state(at(0), 2, &seen, false), IseState::Silent);
    seen.polled(serial(1), address("192.0.2.1"), at(0));
    assert_eq!(state(at(300), 2, &seen, false), IseState::Fetched);
    assert_eq!(state(at(301), 2, &seen, false), IseState::Silent);
    assert_eq!(state(at(301), 24, &seen, false), IseState::Fetched);
}

#[test]
fn what_is_lacking_counts_after_a_fair_while_from_the_first_index_of_that_release() {
    let mut seen = IseSeen::default();
    seen.polled(serial(1), address("192.0.2.1"), at(0));
    assert_eq!(state(at(60), 2, &seen, true), IseState::Fetched);
    assert_eq!(state(at(61), 2, &seen, true), IseState::Partial);
    seen.polled(serial(1), address("192.0.2.1"), at(120));
    assert_eq!(state(at(121), 2, &seen, true), IseState::Partial, "asking again is no excuse");
    seen.polled(serial(2), address("192.0.2.1"), at(240));
    assert_eq!(state(at(241), 2, &seen, true), IseState::Fetched, "another release is another update");
}

#[test]
fn a_handshake_that_was_broken_off_counts_until_the_index_is_fetched() {
    let mut seen = IseSeen::default();
    let alert = |minutes| TlsAlert { at: at(minutes), from: address("192.0.2.1"), alert: "unknown_ca".to_owned() };
    seen.refused(alert(0));
    assert_eq!(state(at(1), 2, &seen, false), IseState::Refused);
    assert_eq!(state(at(301), 2, &seen, false), IseState::Silent, "it has stopped trying");
    seen.polled(serial(1), address("192.0.2.1"), at(302));
    assert_eq!(state(at(303), 2, &seen, false), IseState::Fetched);
    seen.refused(alert(310));
    assert_eq!((state(at(311), 2, &seen, false), seen.alerts), (IseState::Refused, 2));
}

#[test]
fn addresses_are_one_however_they_are_written() {
    let observer = Observer::default();
    observer.register(&[record("campus", &["::ffff:192.0.2.1", "2001:db8::1"])]);
    observer.asked(address("192.0.2.1"), Asked::Index(serial(1)), at(0));
    assert_eq!(observer.of("campus").polled, Some(at(0)));
    observer.asked(address("::ffff:192.0.2.1"), Asked::Index(serial(1)), at(1));
    observer.asked(address("2001:0db8:0::1"), Asked::Index(serial(1)), at(2));
    assert_eq!(observer.of("campus").polled, Some(at(2)));
    assert!(observer.strangers().is_empty());
}

#[test]
fn strangers_and_paths_are_bounded_and_the_newest_stay() {
    let observer = Observer::default();
    for number in 0..200_u8 {
        observer.asked(IpAddr::from([10, 0, 0, number]), Asked::Index(serial(1)), at(i64::from(number)));
        observer.asked(IpAddr::from([10, 0, 0, number]), Asked::Missing("/x"), at(i64::from(number)));
    }
    let strangers = observer.strangers();
    assert_eq!((strangers.len(), strangers[0].address), (MOST_STRANGERS, address("10.0.0.199")));
    observer.register(&[record("campus", &["10.0.0.199"])]);
    assert_eq!(observer.strangers().len(), MOST_STRANGERS - 1);
    for number in 0..100 {
        observer.asked(address("10.0.0.199"), Asked::Missing(&format!("/{number}\u{1b}{}", "x".repeat(500))), at(0));
    }
    let missing = observer.of("campus").missing;
    assert_eq!(missing.len(), 16);
    assert!(missing.iter().all(|path| path.chars().count() == 200 && !path.contains('\u{1b}')));
    assert!(missing[15].starts_with("/99"));
}

#[test]
fn what_cannot_be_written_is_written_the_next_time() {
    let observer = Observer::default();
    observer.register(&[record("campus", &["192.0.2.1"])]);
    observer.asked(address("192.0.2.1"), Asked::Archive(Digest::of(b"x")), at(0));
    let (seen, strangers) = observer.take();
    assert_eq!((seen.len(), strangers), (1, None));
    assert!(observer.take().0.is_empty());
    observer.put_back(&seen, false);
    assert_eq!(observer.take().0, seen);
    observer.asked(address("192.0.2.1"), Asked::Archive(Digest::of(b"x")), at(1));
    assert!(observer.take().0.is_empty(), "nothing new");
}
