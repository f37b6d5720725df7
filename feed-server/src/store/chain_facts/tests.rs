use jiff::SignedDuration;

use super::*;
use crate::store::records::Trigger;

const LEAF_LASTS: i64 = 300;

fn at(day: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day)
}

fn certificate(position: usize, subject: &str, issuer: &str, digest: &str) -> CertificateRecord {
    CertificateRecord {
        position,
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        serial: "1".to_owned(),
        not_before: at(0),
        not_after: at(LEAF_LASTS + i64::try_from(position).unwrap()),
        sans: Vec::new(),
        more_sans: 0,
        sha256: digest.to_owned(),
        is_ca: position > 0,
        key: "EC 256".to_owned(),
    }
}

/// Leaf, issuer and root; the digests begin with their names.
fn chain(host: &str, leaf: &str, issuer: &str, root: &str) -> ChainRecord {
    ChainRecord {
        host: host.to_owned(),
        role: HostRole::Index,
        trusted: true,
        failure: None,
        certificates: vec![
            certificate(0, host, issuer, leaf),
            certificate(1, issuer, root, &format!("{issuer}-1")),
            certificate(2, root, root, &format!("{root}-1")),
        ],
        more_certificates: 0,
    }
}

fn refused(chain: ChainRecord) -> ChainRecord {
    ChainRecord { trusted: false, failure: Some("refused".to_owned()), ..chain }
}

fn learn(facts: &mut ChainFacts, day: i64, chains: Vec<ChainRecord>) {
    let id = u64::try_from(day).unwrap();
    let run = RunRecord { chains, ..RunRecord::begun(id, at(day), Trigger::Schedule) };
    facts.learn(&run);
    let once = facts.clone();
    facts.learn(&run);
    assert_eq!(*facts, once, "the same run teaches nothing more");
}

fn roots(facts: &ChainFacts) -> Vec<(&str, &str, Timestamp, bool)> {
    facts.changes.iter().map(|c| (&*c.before.root.name, &*c.after.root.name, c.since, c.trusted)).collect()
}

#[test]
fn another_leaf_is_no_change_and_another_root_is() {
    let mut facts = ChainFacts::default();
    learn(&mut facts, 1, vec![chain("h", "leaf", "issuer", "root")]);
    learn(&mut facts, 2, vec![chain("h", "renewed", "issuer", "root")]);
    learn(&mut facts, 3, Vec::new());
    assert_eq!((roots(&facts), facts.presented.as_ref().unwrap().run), (vec![], 2));
    learn(&mut facts, 4, vec![chain("h", "renewed", "issuer", "other")]);
    learn(&mut facts, 5, vec![chain("h", "renewed", "issuer", "other")]);
    assert_eq!(roots(&facts), [("root", "other", at(4), true)]);
    assert_eq!(facts.changes[0].before.issuer, facts.changes[0].after.issuer);
    learn(&mut facts, 6, vec![chain("h", "renewed", "issuer", "third")]);
    assert_eq!(roots(&facts), [("other", "third", at(6), true)]);
}

#[test]
fn a_certificate_of_the_same_name_with_another_digest_is_a_change() {
    let mut facts = ChainFacts::default();
    let first = chain("h", "leaf", "issuer", "root");
    learn(&mut facts, 1, vec![first.clone()]);
    let mut namesake = first.clone();
    namesake.certificates[1].sha256 = "issuer-2".to_owned();
    learn(&mut facts, 2, vec![namesake]);
    assert_eq!(facts.changes[0].before.issuer.sha256.as_deref(), Some("issuer-1"));
    assert_eq!(facts.changes[0].after.issuer.sha256.as_deref(), Some("issuer-2"));
}

#[test]
fn order_and_a_root_left_out_are_no_change() {
    let mut facts = ChainFacts::default();
    let first = chain("h", "leaf", "issuer", "root");
    learn(&mut facts, 1, vec![first.clone()]);
    let mut turned = first.clone();
    turned.certificates.swap(1, 2);
    learn(&mut facts, 2, vec![turned]);
    let mut short = first;
    short.certificates.truncate(2);
    learn(&mut facts, 3, vec![short]);
    assert_eq!(facts.changes, []);
    assert_eq!(facts.accepted[0].vouched_by.root, Authority { name: "root".to_owned(), sha256: None });
}

#[test]
fn what_is_refused_is_told_until_the_known_chain_is_back() {
    let mut facts = ChainFacts::default();
    let known = chain("h", "leaf", "issuer", "root");
    let forged = refused(chain("h", "forged", "proxy", "proxy-root"));
    learn(&mut facts, 1, vec![forged.clone()]);
    assert_eq!((&facts.changes, &facts.accepted), (&vec![], &vec![]), "there is nothing to compare it with");
    learn(&mut facts, 2, vec![known.clone()]);
    assert_eq!(facts.changes, []);
    learn(&mut facts, 3, vec![forged.clone()]);
    learn(&mut facts, 4, vec![forged.clone()]);
    assert_eq!(roots(&facts), [("root", "proxy-root", at(3), false)]);
    assert!(!facts.presented.as_ref().unwrap().chains[0].trusted);
    learn(&mut facts, 5, vec![known.clone()]);
    assert_eq!(facts.changes, []);

    // And where somebody decides to trust it, that is a change of its own.
    learn(&mut facts, 6, vec![forged.clone()]);
    learn(&mut facts, 7, vec![ChainRecord { trusted: true, failure: None, ..forged }]);
    assert_eq!(roots(&facts), [("root", "proxy-root", at(7), true)]);
}

#[test]
fn a_known_chain_that_is_refused_changes_nothing() {
    let mut facts = ChainFacts::default();
    let known = chain("h", "leaf", "issuer", "root");
    learn(&mut facts, 1, vec![known.clone()]);
    let accepted = facts.accepted.clone();
    learn(&mut facts, 2, vec![refused(known)]);
    assert_eq!((&facts.changes, facts.accepted), (&vec![], accepted));
}

#[test]
fn first_seen_stays_with_a_certificate() {
    let mut facts = ChainFacts::default();
    learn(&mut facts, 1, vec![chain("h", "leaf", "issuer", "root")]);
    learn(&mut facts, 2, vec![chain("h", "renewed", "issuer", "root")]);
    let seen: Vec<_> = facts.accepted[0].certificates.iter().map(|certificate| certificate.first_seen).collect();
    assert_eq!(seen, [at(2), at(1), at(1)]);
}

#[test]
fn hosts_are_told_apart_and_bounded() {
    let mut facts = ChainFacts::default();
    for day in 1..=20 {
        let rotating = chain(&format!("h{day}"), "leaf", "issuer", "root");
        let steady = chain("steady", "leaf", "issuer", &format!("root-{day}"));
        learn(&mut facts, day, vec![rotating, steady]);
    }
    assert_eq!(facts.accepted.len(), MAX_CHAINS);
    assert_eq!(facts.accepted[0].host, "steady");
    assert_eq!(roots(&facts), [("root-19", "root-20", at(20), true)]);
}

#[test]
fn of_several_hosts_in_a_role_the_one_that_ends_first_counts() {
    let mut facts = ChainFacts::default();
    let mut other = chain("b", "leaf", "issuer", "root");
    other.certificates[0].not_after = at(7);
    let archives = ChainRecord { role: HostRole::Archives, ..chain("c", "leaf", "issuer", "root") };
    learn(&mut facts, 1, vec![chain("a", "leaf", "issuer", "root"), other, archives]);
    let ends = facts.not_after();
    assert_eq!(ends[&(HostRole::Index, 0)], at(7));
    assert_eq!(ends[&(HostRole::Index, 1)], at(LEAF_LASTS + 1));
    assert_eq!(ends[&(HostRole::Archives, 0)], at(LEAF_LASTS));
    assert_eq!(ends.len(), 6);
}

#[test]
fn certificates_that_sign_each_other_end_somewhere() {
    let mut facts = ChainFacts::default();
    let mut circle = chain("h", "leaf", "issuer", "root");
    circle.certificates[2].issuer = "issuer".to_owned();
    learn(&mut facts, 1, vec![circle]);
    assert_eq!(facts.accepted[0].vouched_by.issuer.name, "issuer");
}
