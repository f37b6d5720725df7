use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::metrics::Metrics;

const SECOND: Duration = Duration::from_secs(1);

fn connections(limit: usize) -> (Arc<Connections>, Metrics) {
    let metrics = Metrics::new().unwrap();
    (Arc::new(Connections::new(limit, Terms::new(), &metrics.connections, "public")), metrics)
}

fn ended(metrics: &Metrics, why: Ended) -> u64 {
    metrics.connections.connections_ended_total.with_label_values(&["public", why.as_str()]).get()
}

fn count(metrics: &Metrics) -> i64 {
    metrics.connections.connections.with_label_values(&["public"]).get()
}

#[test]
fn patience_is_spent_by_waiting_and_earned_by_bytes() {
    let mut patience = Patience::new(20 * SECOND, 1024);
    // At the rate for ever.
    for _ in 0..1_000 {
        patience.moved(SECOND, 1024);
    }
    assert_eq!(patience.left(), 20 * SECOND);
    // A tenth of it: nothing is saved up from better times.
    patience.moved(Duration::ZERO, 1 << 30);
    let mut seconds = 0;
    while patience.left() >= SECOND {
        patience.moved(SECOND, 102);
        seconds += 1;
    }
    assert!((20..25).contains(&seconds), "{seconds}");
    patience.moved(3600 * SECOND, 5 * 1024);
    assert_eq!(patience.left(), 5 * SECOND);
}

#[test]
fn who_has_been_idle_the_longest_makes_room_and_who_is_busy_does_not() {
    let (connections, metrics) = connections(3);
    let (first, second, third) =
        (connections.admit().unwrap(), connections.admit().unwrap(), connections.admit().unwrap());
    first.connection.pass(20 * SECOND);
    second.connection.pass(10 * SECOND);
    let asking = first.connection.begin();
    assert_eq!(count(&metrics), 3);

    let fourth = connections.admit().unwrap();
    let terms = Terms::new();
    assert_eq!(second.connection.overdue(&terms), Err(Ended::Crowded));
    assert!(first.connection.overdue(&terms).is_ok() && third.connection.overdue(&terms).is_ok());

    let _asking = (third.connection.begin(), fourth.connection.begin());
    assert!(connections.admit().is_none(), "all are busy");
    assert_eq!(ended(&metrics, Ended::Refused), 1);
    drop(asking);
    assert!(connections.admit().is_some(), "the first is idle again");
    drop(first);
    drop(second);
    drop((third, fourth));
    assert_eq!(count(&metrics), 0);
}

#[test]
fn what_is_overdue_is_told_apart() {
    let (connections, _) = connections(9);
    let terms = Terms::new();
    let admitted = connections.admit().unwrap();
    let connection = &admitted.connection;
    assert!(connection.overdue(&terms).is_ok_and(|left| left > terms.head));
    connection.received();
    assert!(connection.overdue(&terms).is_ok_and(|left| left <= terms.head));
    connection.pass(terms.head);
    assert_eq!(connection.overdue(&terms), Err(Ended::SlowHead));

    let going = connection.begin();
    connection.received();
    connection.pass(1_000 * SECOND);
    assert!(connection.overdue(&terms).is_ok(), "a request may take its time");
    drop(going);
    assert!(connection.overdue(&terms).is_ok_and(|left| left > terms.head));
    connection.pass(terms.idle());
    assert_eq!(connection.overdue(&terms), Err(Ended::Idle));
}
