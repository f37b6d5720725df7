use certs::lab::{Chain, Keys};
use jiff::SignedDuration;

use super::*;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

struct Site {
    directory: tempfile::TempDir,
    files: config::Tls,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let files = config::Tls { certificate: file("tls.pem"), key: file("tls.key") };
        Self { directory, files }
    }

    fn write(&self, chain: &Chain) {
        std::fs::write(&self.files.certificate, chain.presented_pem()).unwrap();
        std::fs::write(&self.files.key, chain.leaf_key_pem()).unwrap();
    }

    fn open(&self) -> ServerCertificate {
        ServerCertificate::open(&self.files, now()).unwrap()
    }
}

fn chain(from: Timestamp, until: Timestamp) -> Chain {
    Chain::builder().keys(Keys::Ecdsa).loopback().valid(from, until).build().unwrap()
}

fn good() -> Chain {
    chain(now() - 10 * DAY, now() + 100 * DAY)
}

fn kinds(certificate: &ServerCertificate, now: Timestamp) -> Vec<WarningKind> {
    certificate.warnings(now).into_iter().map(|warning| warning.kind).collect()
}

#[test]
fn a_new_pair_is_presented_and_what_is_between_two_pairs_is_not() {
    let site = Site::new();
    let (first, second) = (good(), good());
    site.write(&first);
    let certificate = site.open();
    let before = certificate.presented().leaf.sha256.clone();
    assert_eq!((certificate.look(now()), kinds(&certificate, now())), (Look::Same, vec![]));

    std::fs::write(&site.files.certificate, second.presented_pem()).unwrap();
    assert_eq!(certificate.look(now()), Look::Refused);
    assert_eq!(certificate.look(now() + DAY), Look::StillRefused);
    assert_eq!(certificate.presented().leaf.sha256, before);
    let warning = certificate.warnings(now() + DAY).pop().unwrap();
    assert_eq!((warning.kind, warning.since), (WarningKind::ServerCertificateRefused, now()));

    std::fs::write(&site.files.key, second.leaf_key_pem()).unwrap();
    assert_eq!((certificate.look(now()), kinds(&certificate, now())), (Look::Renewed, vec![]));
    assert_ne!(certificate.presented().leaf.sha256, before);
    assert_eq!(certificate.look(now()), Look::Same);
}

#[test]
fn what_is_no_pair_changes_nothing_and_each_fault_is_told_once() {
    let site = Site::new();
    let whole = good();
    site.write(&whole);
    let certificate = site.open();
    let pem = whole.presented_pem();
    let torn = &pem[..pem.len() / 2];
    for broken in [&torn[..100], "no PEM at all", &"x".repeat(2 << 20)] {
        std::fs::write(&site.files.certificate, broken).unwrap();
        assert_eq!(certificate.look(now()), Look::Refused, "{broken:.40}");
        assert_eq!(certificate.look(now()), Look::StillRefused);
    }
    std::fs::remove_file(&site.files.certificate).unwrap();
    assert_eq!(certificate.look(now()), Look::Refused);
    assert_eq!(kinds(&certificate, now()), [WarningKind::ServerCertificateRefused]);
    // Put back, it is what is presented anyway.
    site.write(&whole);
    assert_eq!((certificate.look(now()), kinds(&certificate, now())), (Look::Same, vec![]));
    assert!(site.directory.path().exists());
}

#[test]
fn one_that_has_ended_is_not_taken_and_one_of_the_future_is_when_it_begins() {
    let site = Site::new();
    site.write(&good());
    let certificate = site.open();
    site.write(&chain(now() - 10 * DAY, now() - DAY));
    assert_eq!(certificate.look(now()), Look::Refused);
    site.write(&chain(now() + DAY, now() + 99 * DAY));
    assert_eq!(certificate.look(now()), Look::Refused);
    assert!(certificate.refused().unwrap().message.contains("valid from"), "{:?}", certificate.refused());
    assert_eq!(certificate.look(now() + 2 * DAY), Look::Renewed);
}

#[test]
fn its_end_is_warned_of_from_thirty_days_before_on() {
    let site = Site::new();
    let ends = now() + 100 * DAY;
    site.write(&good());
    let certificate = site.open();
    assert_eq!(kinds(&certificate, ends - 31 * DAY), []);
    for late in [ends - 30 * DAY, ends, ends + DAY] {
        let warnings = certificate.warnings(late);
        assert_eq!((warnings.len(), warnings[0].since), (1, ends - 30 * DAY));
    }
    // A server whose certificate has ended starts all the same: it answers by what it has, and says so.
    site.write(&chain(now() - 10 * DAY, now() - DAY));
    let ended = site.open();
    assert_eq!(kinds(&ended, now()), [WarningKind::ServerCertificateExpiring]);
    assert!(ended.warnings(now())[0].message.contains("ended at"));
}
