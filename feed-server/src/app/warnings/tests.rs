use std::collections::BTreeSet;

use bundles::index::Reading;

use super::*;
use crate::config::{AllowedHost, Config};
use crate::publish::Role as TufRole;
use crate::store::chain_facts::{AcceptedCertificate, Authorities};
use crate::store::records::{RunRecord, Trigger};
use crate::testing::{World, start};

const HOST: &str = "www.cisco.com";

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn vouched_by(root: &str) -> Authorities {
    let authority = |name: &str| Authority { name: format!("O=X, CN={name}"), sha256: Some(format!("{name}-digest")) };
    Authorities { issuer: authority("issuer"), root: authority(root) }
}

fn accepted(host: &str, ends: Timestamp, first_seen: Timestamp) -> AcceptedChain {
    let certificate = AcceptedCertificate {
        position: 0,
        subject: format!("C=US, CN={host}"),
        sha256: "leaf".to_owned(),
        not_after: ends,
        first_seen,
    };
    let vouched_by = vouched_by("root");
    AcceptedChain { host: host.to_owned(), at: start(), vouched_by, certificates: vec![certificate] }
}

fn of(learned: &Learned, now: Timestamp) -> Vec<Warning> {
    warnings(learned, &Config::default().upstream, now)
}

#[test]
fn a_certificate_is_warned_of_from_thirty_days_before_its_end_on() {
    let mut learned = Learned::default();
    let ends = start() + days(31);
    learned.chains.accepted.push(accepted(HOST, ends, start() - days(300)));
    assert_eq!(of(&learned, start()), []);
    let soon = of(&learned, start() + days(1));
    assert_eq!((soon.len(), soon[0].kind, soon[0].since), (1, WarningKind::CertificateExpiring, start() + days(1)));
    for part in [HOST, "certificate 0", &format!("ends at {ends}")] {
        assert!(soon[0].message.contains(part), "{part} is not in {}", soon[0].message);
    }
    assert_eq!(of(&learned, start() + days(2)), soon, "the same warning as yesterday");
    assert!(of(&learned, start() + days(40))[0].message.contains(&format!("ended at {ends}")));

    // One that was near its end when it first came is warned of since then.
    learned.chains.accepted[0].certificates[0].first_seen = start() + days(20);
    assert_eq!(of(&learned, start() + days(25))[0].since, start() + days(20));
}

#[test]
fn a_host_that_is_no_longer_asked_is_not_warned_of() {
    let mut learned = Learned::default();
    learned.chains.accepted.push(accepted("old.example", start(), start()));
    assert_eq!(of(&learned, start()), []);
    let mut upstream = Config::default().upstream;
    upstream.allowed_hosts.push(AllowedHost { host: "Old.example".to_owned(), trust_anchors: None });
    assert_eq!(warnings(&learned, &upstream, start()).len(), 1);
    upstream.allowed_hosts.clear();
    upstream.fallback_urls.push("https://old.example/index.xml".parse().unwrap());
    assert_eq!(warnings(&learned, &upstream, start()).len(), 1);
    upstream.fallback_urls.clear();
    upstream.offline_zip_url = Some("https://old.example/posture-offline.zip".parse().unwrap());
    assert_eq!(warnings(&learned, &upstream, start()).len(), 1);
}

#[test]
fn a_change_names_old_and_new_and_is_shown_for_a_week() {
    let mut learned = Learned::default();
    let change = ChainChange {
        host: HOST.to_owned(),
        before: vouched_by("Old Root"),
        after: vouched_by("New Root"),
        since: start(),
        trusted: true,
    };
    learned.chains.changes.push(change);
    let told = of(&learned, start() + days(6));
    assert_eq!((told[0].kind, told[0].since), (WarningKind::ChainChanged, start()));
    let message = &told[0].message;
    for part in
        [HOST, "its root was Old Root (SHA-256 Old Root-digest) and is New Root (SHA-256 New Root-digest)", "accepted"]
    {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert!(!message.contains("issuer was"), "{message}");
    assert_eq!(of(&learned, start() + days(7)), []);

    learned.chains.changes[0].trusted = false;
    let told = of(&learned, start() + days(70));
    assert!(told[0].message.contains("refused") && told[0].message.contains("trust_anchors"), "{told:?}");
}

#[test]
fn clock_and_dialect_are_warned_of_until_a_run_finds_them_well() {
    let run = |id: u64, clock_offset, reading| {
        let started = start() + SignedDuration::from_hours(i64::try_from(id).unwrap());
        RunRecord { clock_offset, reading, ..RunRecord::begun(id, started, Trigger::Schedule) }
    };
    let mut learned = Learned::default();
    learned.learn(&run(1, Some(300), Some(Reading::Entries)));
    assert_eq!(of(&learned, start()), []);
    learned.learn(&run(2, Some(-301), Some(Reading::Partly)));
    learned.learn(&run(3, Some(4_000), Some(Reading::LocatorsOnly)));
    learned.learn(&run(4, None, None));
    let told = of(&learned, start());
    let kinds: Vec<_> = told.iter().map(|warning| (warning.kind, warning.since)).collect();
    let since = run(2, None, None).started;
    assert_eq!(kinds, [(WarningKind::UnknownDialect, since), (WarningKind::ClockOffset, since)]);
    assert!(told[0].message.contains("feed-server inspect"), "{told:?}");
    assert!(told[1].message.contains("4000 s behind upstream's"), "{told:?}");
    // A run that was cut off is put again, when newer ones have ended.
    learned.learn(&run(1, Some(0), Some(Reading::Entries)));
    assert_eq!(of(&learned, start()), told);
    learned.learn(&run(5, Some(-300), Some(Reading::Entries)));
    assert_eq!(of(&learned, start()), []);
}

#[tokio::test]
async fn every_kind_is_there_from_the_start_and_a_restart_forgets_none() {
    let World { directory, config, store, publisher, .. } = World::new();
    drop((store, publisher));
    let line = |kind: WarningKind, value| format!("posture_feed_warning{{kind=\"{}\"}} {value}\n", kind.as_str());
    let app = App::open(config.clone(), None, start).await.unwrap().app;
    let text = app.metrics.render(&app.facts()).unwrap();
    for kind in WarningKind::ALL {
        assert!(text.contains(&line(kind, 0)), "{kind:?}: {text}");
    }
    let run = RunRecord { clock_offset: Some(900), ..RunRecord::begun(1, start(), Trigger::Schedule) };
    app.store.put_run(&run).unwrap();
    let warned = app.warnings();
    assert_eq!(warned.len(), 1);
    drop(app);
    let app = App::open(config, None, start).await.unwrap().app;
    assert_eq!(app.warnings(), warned);
    let text = app.metrics.render(&app.facts()).unwrap();
    assert!(text.contains(&line(WarningKind::ClockOffset, 1)), "{text}");
    assert!(text.contains(&line(WarningKind::ChainChanged, 0)), "{text}");
    drop(directory);
}

#[test]
fn kinds_have_names_of_their_own_that_json_uses_too() {
    let names: BTreeSet<_> = WarningKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), WarningKind::ALL.len());
    for kind in WarningKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}

#[test]
fn what_a_relay_serves_is_warned_of_before_it_ends_and_after() {
    let mut relay = Config::default().upstream;
    relay.kind = config::UpstreamKind::Mirror;
    let ends = start() + days(90);
    let of = |upstream: &config::Upstream, now| {
        let expiries = [
            (Repository::Offline, TufRole::Root, ends + days(300)),
            (Repository::Offline, TufRole::Timestamp, ends),
            (Repository::Online, TufRole::Timestamp, ends - days(5)),
            (Repository::Online, TufRole::Snapshot, ends),
        ];
        ending(&expiries, upstream, now)
    };
    assert_eq!(of(&relay, ends - days(15)), []);
    let soon = of(&relay, ends - days(14));
    assert_eq!((soon.len(), soon[0].kind, soon[0].since), (1, WarningKind::MetadataExpiring, ends - days(14)));
    for part in ["offline repository's timestamp", &format!("ends at {ends}"), "import a newer bundle"] {
        assert!(soon[0].message.contains(part), "{part} is not in {}", soon[0].message);
    }
    relay.follows = true;
    let both = of(&relay, ends - days(8));
    assert_eq!((both.len(), both[0].since), (2, ends - days(8)));
    assert!(both[0].message.contains("online repository's timestamp") && both[0].message.contains("doctor"));
    let ended = of(&relay, ends);
    assert!(
        ended[1].message.contains(&format!("ended at {ends}")) && ended[1].message.contains("stay on what they run")
    );
}

#[tokio::test]
async fn the_warnings_of_a_relay_follow_from_what_it_serves() {
    let mut origin = World::new();
    origin.publish_next().await;
    let relay = World::relay();
    relay.take(&origin.tree(""), &[Repository::Offline]).unwrap();
    relay.publisher.publish(relay.now).await.unwrap();
    let expiries = relay.publisher.metadata_expiries();
    assert_eq!(ending(&expiries, &relay.config.upstream, origin.now + days(75)), []);
    assert_eq!(ending(&expiries, &relay.config.upstream, origin.now + days(77)).len(), 1);
}
