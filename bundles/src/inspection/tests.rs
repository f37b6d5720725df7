use std::io::Cursor;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::Reason;
use crate::fake::{Edition, Feed, Options, Origin, Release, bundle_of};

fn start() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap()
}

fn end() -> Timestamp {
    start() + SignedDuration::from_hours(90 * 24)
}

fn release() -> Release {
    Release::of(&Feed::make(&Edition::after(), &Options::small()), Serial::new(42).unwrap(), start())
}

fn trust(origin: &Origin) -> Trust<'_> {
    Trust { root: origin.root().as_bytes(), held: None, highest_serial: None, signed_time: None, now: start() }
}

fn inspected(bytes: &[u8], trust: &Trust<'_>) -> Inspection {
    let mut bundle = Bundle::open(Cursor::new(bytes), &Limits::default()).unwrap();
    inspect(&mut bundle, trust, &Limits::default())
}

fn marks(inspection: &Inspection) -> Vec<(Check, Mark)> {
    inspection.verdict.steps.iter().map(|line| (line.step, line.result)).collect()
}

fn failed(inspection: &Inspection) -> Vec<(Check, Reason)> {
    let steps = inspection.verdict.steps.iter();
    steps.filter_map(|line| Some((line.step, line.failure.as_ref()?.reason))).collect()
}

#[test]
fn a_good_bundle_passes_every_check_and_shows_what_is_in_it() {
    let origin = Origin::new(1, start());
    let bytes = origin.bundle(&release(), end());
    let before = Edition::before();
    let here = Here { what: "relay in /data".to_owned(), serial: Serial::new(41), versions: before.versions };
    let trust = Trust { highest_serial: Serial::new(41), ..trust(&origin) };
    let inspection = inspected(&bytes, &trust).with_here(here);
    assert!(marks(&inspection).iter().all(|(_, mark)| *mark == Mark::Ok), "{inspection}");
    assert_eq!(marks(&inspection).len(), 10);
    assert!(inspection.import.can && inspection.signer.as_ref().unwrap().is_trusted);
    let text = inspection.to_string();
    for word in ["300418.0.0.0", "280052.0.0.0", "release 41", "here: yes", &Digest::of(trust.root).to_string()] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!((&json["result"], &json["bundle"]["serial"]), (&"ok".into(), &42.into()));
    assert_eq!(json["steps"].as_array().unwrap().len(), 10);
    assert_eq!(json["signer"]["keys"]["timestamp"].as_array().unwrap().len(), 1);

    let again = inspected(&bytes, &Trust { highest_serial: Serial::new(42), ..trust });
    assert!(again.import.can && again.import.why.contains("already"), "{again}");
    assert!(!again.not_importable("this is an origin").import.can);
}

#[test]
fn it_goes_on_after_what_failed() {
    let (ours, other) = (Origin::new(1, start()), Origin::new(2, start()));
    let bytes = other.bundle(&release(), end());
    let late = Trust { now: end() + SignedDuration::from_hours(240), highest_serial: Serial::new(50), ..trust(&ours) };
    let inspection = inspected(&bytes, &late);
    assert_eq!(
        failed(&inspection),
        [
            (Check::RootChain, Reason::Signature),
            (Check::ValidUntil, Reason::Expired),
            (Check::Newest, Reason::Rollback)
        ]
    );
    assert_eq!(inspection.verdict.exit_code, Reason::Signature.exit_code());
    let text = inspection.to_string();
    assert!(text.contains("NOT trusted here") && text.contains("10 days ago"), "{text}");
    assert!(text.contains("here: no"), "{text}");
    let files = inspection.verdict.steps.iter().find(|line| line.step == Check::Files).unwrap();
    assert_eq!(files.result, Mark::Ok, "{text}");
}

/// A release of that number at an origin that signs in the order of numbers, and its metadata.
fn numbered(origin: &Origin, number: u64) -> (Release, crate::signed::Metadata) {
    let release = Release::of(&Feed::make(&Edition::after(), &Options::small()), Serial::new(number).unwrap(), start());
    let metadata = origin.metadata(number, end(), &release.targets());
    (release, metadata)
}

#[test]
fn an_older_bundle_is_told_by_the_numbers_of_releases() {
    let origin = Origin::new(1, start());
    let (old, metadata) = numbered(&origin, 41);
    let held = numbered(&origin, 42).1;
    let seen = Trust { held: Some(&held), highest_serial: Serial::new(42), ..trust(&origin) };
    let inspection = inspected(&bundle_of(&old, &metadata), &seen);
    assert_eq!(failed(&inspection), [(Check::Newest, Reason::Rollback)], "{inspection}");
    assert!(inspection.signer.as_ref().unwrap().is_trusted, "{inspection}");
    let said = &inspection.verdict.failure.as_ref().unwrap().message;
    assert!(said.contains("release 41") && said.contains("release 42"), "{said}");
}

#[test]
fn older_signatures_of_the_same_release_are_told_as_such() {
    let origin = Origin::new(1, start());
    let (release, metadata) = numbered(&origin, 42);
    let held = origin.metadata(43, end(), &release.targets());
    let seen = Trust { held: Some(&held), highest_serial: Serial::new(42), ..trust(&origin) };
    let inspection = inspected(&bundle_of(&release, &metadata), &seen);
    assert_eq!(failed(&inspection), [(Check::Signatures, Reason::Rollback)], "{inspection}");
}

#[test]
fn a_damaged_member_is_named() {
    let origin = Origin::new(1, start());
    let good = origin.bundle(&release(), end());
    let archive = &release().manifest.components[0].files[0].archive;
    let name = archive.target_name().unwrap().served_as(&archive.sha256);
    let content = &release().files[&archive.sha256];
    let mut bytes = good.clone();
    let at = bytes.windows(content.len()).position(|window| window == content.as_slice()).unwrap();
    bytes[at + content.len() / 2] ^= 1;
    let inspection = inspected(&bytes, &trust(&origin));
    assert_eq!(failed(&inspection), [(Check::Files, Reason::BadArchive)], "{inspection}");
    assert!(inspection.to_string().contains(&name), "{inspection}");
}

#[test]
fn an_archive_that_opens_to_something_else_than_signed_is_named() {
    let origin = Origin::new(1, start());
    let mut release = release();
    // What an origin would sign that does not open what it serves.
    release.manifest.components[0].files[0].payload.sha256 = Digest::of(b"other");
    let metadata = origin.metadata(42, end(), &release.targets());
    let inspection = inspected(&bundle_of(&release, &metadata), &trust(&origin));
    assert_eq!(failed(&inspection), [(Check::Archives, Reason::DigestMismatch)], "{inspection}");
}

#[test]
fn what_is_no_bundle_is_said_at_once() {
    let origin = Origin::new(1, start());
    let error = Bundle::open(Cursor::new(b"PK"), &Limits::default()).unwrap_err();
    let inspection = Inspection::of_no_bundle(&error, &trust(&origin));
    assert_eq!(failed(&inspection).len(), 1);
    assert!(!inspection.import.can && inspection.bundle.is_none());
    assert!(inspection.to_string().contains("here: no"), "{inspection}");
}

#[test]
fn what_others_wrote_gives_no_orders_to_the_terminal() {
    let origin = Origin::new(1, start());
    let mut release = release();
    release.manifest.source.url = Some("https://x/\u{1b}[2J\nTrusted      root \u{202e}".to_owned());
    let mut metadata = origin.metadata(42, end(), &release.targets());
    // Signatures under keys that nobody knows count for nothing, and are listed.
    let mut timestamp: serde_json::Value = serde_json::from_str(&metadata.timestamp).unwrap();
    let stranger = serde_json::json!({ "keyid": "\u{1b}[1A\nSigner", "sig": "" });
    timestamp["signatures"].as_array_mut().unwrap().push(stranger);
    metadata.timestamp = timestamp.to_string();
    let inspection = inspected(&bundle_of(&release, &metadata), &trust(&origin));
    let zip = ZipFacts { name: "\u{1b}]0;x\u{7}\n.zip".to_owned(), length: 1, sha256: Digest::of(b"") };
    let text = inspection.with_zip(zip).to_string();
    let gives_orders = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(gives_orders), "{text:?}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("Trusted") || line.starts_with("Signer")).count(),
        2,
        "{text}"
    );
}
