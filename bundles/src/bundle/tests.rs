use std::io::{Cursor, Read as _};
use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::fake::hostile::Hostile;
use crate::fake::{Edition, Feed, Options, Origin, Release, bundle_of};
use crate::release::{FileRef, ReleasedComponent, ReleasedFile, Source, SourceKind};
use crate::signed::{Metadata, SignedError};
use crate::{Digest, Limits, Reason, Reasoned as _};

pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn serial(number: u64) -> Serial {
    Serial::new(number).unwrap()
}

pub(crate) fn origin() -> Origin {
    Origin::new(1, start())
}

pub(crate) fn release(number: u64) -> Release {
    let edition = (1..number).fold(Edition::before(), |edition, _| edition.next());
    Release::of(&Feed::make(&edition, &Options::small()), serial(number), start())
}

fn bundle() -> Vec<u8> {
    // Made once: most tests want no other.
    static BUNDLE: OnceLock<Vec<u8>> = OnceLock::new();
    BUNDLE.get_or_init(fresh).clone()
}

fn fresh() -> Vec<u8> {
    origin().bundle(&release(7), start() + days(90))
}

pub(crate) fn trust(origin: &Origin) -> Trust<'_> {
    Trust { root: origin.root().as_bytes(), held: None, highest_serial: None, signed_time: None, now: start() }
}

fn open(bytes: &[u8]) -> Result<Bundle<Cursor<&[u8]>>, BundleError> {
    Bundle::open(Cursor::new(bytes), &Limits::default())
}

fn check(bytes: &[u8], trust: &Trust<'_>) -> Result<CheckedBundle, BundleError> {
    open(bytes)?.check(trust)
}

/// All that an importer takes, or the first refusal. It reads what [`Bundle::check`] leaves to it.
fn take(bytes: &[u8], trust: &Trust<'_>) -> Result<Vec<(Digest, u64)>, String> {
    let mut bundle = open(bytes).map_err(|error| error.to_string())?;
    let checked = bundle.check(trust).map_err(|error| error.to_string())?;
    let files = carried(checked.manifest.manifest()).into_iter().map(|file| {
        bundle.hash(file).map_err(|error| error.to_string())?;
        Ok((file.sha256, file.length))
    });
    files.collect()
}

/// Whether inspecting finds nothing wrong, or what.
fn inspected(bytes: &[u8], trust: &Trust<'_>) -> Result<(), String> {
    let mut bundle = open(bytes).map_err(|error| error.to_string())?;
    let inspection = crate::inspection::inspect(&mut bundle, trust, &Limits::default());
    inspection.verdict.failure.map_or(Ok(()), |failure| Err(failure.message))
}

/// Names and contents.
type Members = Vec<(String, Vec<u8>)>;

/// What another program's reader gets out of a zip.
fn unpacked(bytes: &[u8]) -> Members {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut members = Vec::new();
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).unwrap();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        members.push((member.name().unwrap().into_owned(), content));
    }
    members
}

/// A zip of ours with other members than a bundle's.
fn rewritten(bytes: &[u8], change: impl Fn(&mut Members)) -> Vec<u8> {
    let mut members = unpacked(bytes);
    change(&mut members);
    let members: Vec<_> = members
        .iter()
        .map(|(name, content)| crate::offline_zip::Member {
            name: crate::MemberPath::parse(name).unwrap(),
            length: content.len() as u64,
            sha256: None,
            open: Box::new(move || Ok(Box::new(content.as_slice()))),
        })
        .collect();
    crate::offline_zip::write(Cursor::new(Vec::new()), &members, &mut |_| {}).unwrap().into_inner()
}

#[test]
fn what_an_origin_writes_is_taken_and_read_back() {
    let (origin, release) = (origin(), release(7));
    let bytes = origin.bundle(&release, start() + days(90));
    assert!(is_bundle(&bytes[..300]));
    let mut bundle = open(&bytes).unwrap();
    assert_eq!(bundle.facts().serial, serial(7));
    assert_eq!(bundle.facts().valid_until, start() + days(90));
    assert_eq!(bundle.facts().versions.len(), release.manifest.components.len());
    let checked = bundle.check(&trust(&origin)).unwrap();
    assert_eq!(checked.manifest.manifest(), &release.manifest);
    assert_eq!(checked.metadata.roots, origin.roots());
    let carried = carried(&release.manifest);
    assert_eq!(carried.len(), release.manifest.files().len() / 2 + 1, "archives and the index, no payloads");
    for file in carried {
        let mut content = Vec::new();
        bundle.open_file(file).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(Some(&content), release.files.get(&file.sha256));
    }
    // The same once more is as welcome.
    let again = Trust { held: Some(&checked.metadata), highest_serial: Some(serial(7)), ..trust(&origin) };
    check(&bytes, &again).unwrap();
}

#[test]
fn the_order_of_members_is_the_designs() {
    let bytes = bundle();
    let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let name = |index| zip.by_index(index).unwrap().name().unwrap().into_owned();
    let names: Vec<String> = (0..open(&bytes).unwrap().size().0).map(name).collect();
    let metadata = ["1.root.json", "timestamp.json", "7.snapshot.json", "7.targets.json"];
    let expected = ["bundle.json".to_owned(), "README.txt".to_owned()];
    let expected: Vec<_> = expected.into_iter().chain(metadata.map(|name| format!("metadata/{name}"))).collect();
    assert_eq!(names[..6], expected);
    assert!(names[6].ends_with(".stable.json") && names[7].ends_with(".release-7.json"), "{names:?}");
    assert!(names[8].ends_with("-posture-update.xml"), "{names:?}");
    assert!(names[9..].iter().all(|name| name.starts_with("targets/") && name.ends_with(".tar.gz")), "{names:?}");
}

/// A release whose bytes hang on nothing that may change for other reasons, as the fake feed's do.
fn plain_release() -> Release {
    let (archive, payload, index) = (b"archive".repeat(9), b"payload".repeat(99), b"<index/>".repeat(99));
    let file = |name: &str, bytes: &[u8]| FileRef {
        name: crate::FileName::parse(name).unwrap(),
        sha256: Digest::of(bytes),
        length: bytes.len() as u64,
    };
    let files = vec![ReleasedFile { archive: file("a.tar.gz", &archive), payload: file("a.tar", &payload) }];
    let version = "300418.0.0.0".parse().unwrap();
    let manifest = Manifest {
        format: crate::release::FORMAT,
        serial: serial(7),
        created: start(),
        source: Source { kind: SourceKind::VendorFeed, url: None, sha256: None, vouched_by: None },
        components: vec![ReleasedComponent { component: crate::Component::Conditions, version, files }],
        index: Some(file("posture-update.xml", &index)),
        offline_zip: None,
    };
    let files = [archive, payload, index].into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect();
    Release { manifest, files }
}

#[test]
fn the_same_contents_give_the_same_bytes_on_every_machine() {
    assert!(bundle() == fresh());
    // If this changes, one release's bundles differ between versions of this program, and a relay's SHA-256 is no longer
    // its origin's: what is printed on sheets would not agree.
    let bytes = origin().bundle(&plain_release(), start() + days(90));
    assert_eq!(Digest::of(&bytes).to_string(), "1e21844112c34ab676814cee5c6fdb6a80585aa38e6e33bfe9b19a07cb9c2c59");
}

#[test]
fn readme_is_plain_and_narrow() {
    let bytes = bundle();
    let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let mut text = String::new();
    zip.by_name(README).unwrap().read_to_string(&mut text).unwrap();
    assert!(text.is_ascii());
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    assert!(text.contains(&Digest::of(origin().root().as_bytes()).to_string()));
}

#[test]
fn contents_that_the_origin_did_not_sign_are_not_written() {
    let (origin, release) = (origin(), release(7));
    let metadata = origin.metadata(7, start() + days(90), &release.targets());
    let open = |file: &FileRef| release.open(file);
    let mut other = release.manifest.clone();
    other.serial = serial(8);
    let error = Contents::new(&other.to_json(), &metadata, &open).unwrap_err();
    assert!(matches!(error, BundleError::Signed(SignedError::OtherBytes { .. })), "{error}");
    let later = Metadata { roots: vec![], ..metadata };
    assert!(Contents::new(&release.manifest.to_json(), &later, &open).is_err());
}

#[test]
fn another_origins_bundle_names_both_roots() {
    let (ours, other) = (origin(), Origin::new(2, start()));
    let error = check(&other.bundle(&release(7), start() + days(90)), &trust(&ours)).unwrap_err();
    assert_eq!(error.reason(), Reason::Signature);
    let message = error.to_string();
    for origin in [&ours, &other] {
        assert!(message.contains(&Digest::of(origin.root().as_bytes()).to_string()), "{message}");
    }
}

#[test]
fn time_is_the_clock_or_what_was_signed_later() {
    let (origin, bytes) = (origin(), bundle());
    let at = |now: Timestamp| check(&bytes, &Trust { now, ..trust(&origin) }).unwrap_err();
    let error = at(start() + days(102));
    assert_eq!(error.reason(), Reason::Expired);
    assert!(error.to_string().contains("12 days ago"), "{error}");
    let error = at(start() - days(3));
    assert_eq!(error.reason(), Reason::Clock);
    let message = error.to_string();
    assert!(message.contains("3 days") && message.contains(&(start() - days(3)).to_string()), "{message}");
    assert!(message.contains(&start().to_string()), "{message}");
    check(&bytes, &Trust { now: start() - SignedDuration::from_hours(24), ..trust(&origin) }).unwrap();
    check(&bytes, &Trust { now: start() + days(90) - SignedDuration::from_secs(1), ..trust(&origin) }).unwrap();

    // A clock that stands still does not make what has ended young again.
    let seen = Trust { signed_time: Some(start() + days(91)), ..trust(&origin) };
    let error = check(&bytes, &seen).unwrap_err();
    assert_eq!(error.reason(), Reason::Expired);
    assert!(error.to_string().contains("clock"), "{error}");
}

#[test]
fn older_bundles_and_forks_are_refused() {
    let origin = origin();
    let old = origin.bundle(&release(6), start() + days(90));
    let newest = Trust { highest_serial: Some(serial(7)), ..trust(&origin) };
    let error = check(&old, &newest).unwrap_err();
    assert_eq!(error.reason(), Reason::Rollback);
    assert!(error.to_string().contains("release 6") && error.to_string().contains("release 7"), "{error}");

    // By the versions of the metadata alone.
    let held = origin.metadata(7, start() + days(90), &release(7).targets());
    let error = check(&old, &Trust { held: Some(&held), ..trust(&origin) }).unwrap_err();
    assert!(matches!(error, BundleError::Signed(SignedError::Rollback { .. })), "{error}");
    assert_eq!(error.reason(), Reason::Rollback);

    // By both: the numbers are what people know.
    let both = Trust { held: Some(&held), ..newest };
    let error = check(&old, &both).unwrap_err();
    assert!(matches!(error, BundleError::Rollback { .. }), "{error}");

    // The very release, under older signatures.
    let later = origin.metadata(8, start() + days(100), &release(7).targets());
    let same = origin.bundle(&release(7), start() + days(90));
    let error = check(&same, &Trust { held: Some(&later), ..newest }).unwrap_err();
    assert!(matches!(error, BundleError::Signed(SignedError::Rollback { .. })), "{error}");
    assert!(error.to_string().contains("get the newest"), "{error}");

    // Another release 7, under newer metadata.
    let mut other = release(6);
    other.manifest.serial = serial(7);
    let fork = bundle_of(&other, &origin.metadata(8, start() + days(90), &other.targets()));
    let trust = Trust { held: Some(&held), ..newest };
    let error = check(&fork, &trust).unwrap_err();
    assert!(matches!(error, BundleError::OtherOfSameSerial { .. }), "{error}");
    assert_eq!(error.reason(), Reason::Signature);
}

#[test]
fn signature_goes_before_time_and_time_before_rollback() {
    let (ours, other) = (origin(), Origin::new(2, start()));
    let ended = start() + days(200);
    let trust = Trust { now: ended, highest_serial: Some(serial(9)), ..trust(&ours) };
    let reason = |origin: &Origin| check(&origin.bundle(&release(7), start() + days(90)), &trust).unwrap_err().reason();
    assert_eq!((reason(&other), reason(&ours)), (Reason::Signature, Reason::Expired));
}

#[test]
fn roots_rotate_through_bundles() {
    let mut origin = origin();
    let before = origin.bundle(&release(7), start() + days(90));
    origin.rotate();
    let after = origin.bundle(&release(8), start() + days(90));
    let first = trust(&origin);
    let held = check(&before, &first).unwrap().metadata;
    let first = Trust { held: Some(&held), highest_serial: Some(serial(7)), ..first };
    let held = check(&after, &first).unwrap().metadata;
    assert_eq!(held.roots.len(), 2);
    let error = check(&before, &Trust { held: Some(&held), ..first }).unwrap_err();
    assert!(matches!(error, BundleError::Superseded { found: 1, known: 2 }), "{error}");
    assert_eq!(error.reason(), Reason::Rollback);
    // Enrolled with the later root, the earlier ones are handed on all the same.
    let second = Trust { root: origin.roots()[1].as_bytes(), ..trust(&origin) };
    assert_eq!(check(&after, &second).unwrap().metadata.roots, origin.roots());
}

#[test]
fn members_are_exactly_those_of_the_release() {
    let (origin, bytes) = (origin(), bundle());
    let changed = |change: &dyn Fn(&mut Members)| check(&rewritten(&bytes, change), &trust(&origin)).unwrap_err();
    let error = changed(&|members| drop(members.pop()));
    assert!(matches!(error, BundleError::Missing { .. }), "{error}");
    let error = changed(&|members| members.push(("autorun.inf".to_owned(), b"x".to_vec())));
    assert!(matches!(error, BundleError::Stranger { .. }), "{error}");
    let error = changed(&|members| members.push(("metadata/2.root.json".to_owned(), members[2].1.clone())));
    assert!(matches!(error, BundleError::Misnamed { .. }), "{error}");
    let error = changed(&|members| members.push(("metadata/9.snapshot.json".to_owned(), members[4].1.clone())));
    assert!(matches!(error, BundleError::Unasked { .. }), "{error}");
    let extra = format!("targets/{}.{}-x.tar.gz", Digest::of(b"x"), Digest::of(b"x").short());
    let error = changed(&|members| members.push((extra.clone(), b"x".to_vec())));
    assert!(matches!(error, BundleError::Unasked { .. }), "{error}");
    let error = changed(&|members| members.last_mut().unwrap().1.push(0));
    assert!(matches!(error, BundleError::Length { .. }), "{error}");
    let error = changed(&|members| members[3].1 = b"\xff".to_vec());
    assert!(matches!(error, BundleError::NotText { .. }), "{error}");
    let error = changed(&|members| members[0].1 = String::from_utf8_lossy(&members[0].1).replace(": 7", ": 8").into());
    assert!(matches!(error, BundleError::Untrue { what: "release number" }), "{error}");
    let error = changed(&|members| members[0].1 = b"{\"format\": 2}".to_vec());
    assert!(matches!(error, BundleError::Format { found: 2 }), "{error}");
    let error = changed(&|members| drop(members.remove(0)));
    assert!(matches!(&error, BundleError::NotABundle { first } if first == README), "{error}");

    // The right length and the wrong content is found by whoever takes the file.
    let other = rewritten(&bytes, |members| members.last_mut().unwrap().1[100] ^= 1);
    assert!(take(&other, &trust(&origin)).unwrap_err().contains("not what is signed"));
}

#[test]
fn metadata_and_targets_of_two_releases_do_not_mix() {
    let origin = origin();
    let (six, seven) = (release(6), release(7));
    let metadata = origin.metadata(7, start() + days(90), &seven.targets());
    let other = bundle_of(&six, &origin.metadata(7, start() + days(90), &six.targets()));
    let mixed = rewritten(&other, |members| {
        members[3].1 = metadata.timestamp.clone().into();
        members[4].1 = metadata.snapshot.clone().into();
        members[5].1 = metadata.targets.clone().into();
    });
    assert!(matches!(check(&mixed, &trust(&origin)).unwrap_err(), BundleError::Missing { .. }));
}

#[test]
fn other_files_are_told_from_bundles() {
    let (name, content) = ("posture-update.xml", b"<index/>".as_slice());
    let member = crate::offline_zip::Member {
        name: crate::MemberPath::parse(name).unwrap(),
        length: content.len() as u64,
        sha256: None,
        open: Box::new(move || Ok(Box::new(content))),
    };
    let zip = crate::offline_zip::write(Cursor::new(Vec::new()), &[member], &mut |_| {}).unwrap().into_inner();
    assert!(!is_bundle(&zip));
    let error = open(&zip).unwrap_err();
    assert_eq!(error.reason(), Reason::BadRequest);
    assert!(error.to_string().contains("--vendor"), "{error}");
    let archive = release(1).files.into_values().find(|bytes| bytes.starts_with(&[0x1f, 0x8b])).unwrap();
    assert_eq!(open(&archive).unwrap_err().reason(), Reason::BadRequest);
    assert!(open(b"").is_err());
}

#[test]
fn no_truncation_is_taken() {
    let (origin, bytes) = (origin(), bundle());
    for length in (0..bytes.len()).step_by(4 << 10).chain(bytes.len() - 30..bytes.len()) {
        assert!(take(&bytes[..length], &trust(&origin)).is_err(), "{length} of {}", bytes.len());
    }
}

/// One bit of every byte of a bundle, whichever comes next; what is left of them comes by chance, below. Importing and
/// inspecting refuse it, or it means nothing: then any unzip still gives the same members.
#[test]
fn no_byte_of_a_bundle_changes_unnoticed() {
    let origin = origin();
    let mut release = plain_release();
    // As where an archive is not compressed: this one does not open.
    let file = &mut release.manifest.components[0].files[0];
    file.payload = file.archive.clone();
    let good = origin.bundle(&release, start() + days(90));
    let (members, meaningless) = (unpacked(&good), meaningless(&good));
    let mut bytes = good.clone();
    for at in 0..good.len() {
        bytes[at] ^= 1_u8 << (at % 8);
        let is_taken = take(&bytes, &trust(&origin)).is_ok();
        let inspected = inspected(&bytes, &trust(&origin));
        assert_eq!(is_taken, inspected.is_ok(), "byte {at}: {inspected:?}");
        if is_taken {
            assert!(unpacked(&bytes) == members, "byte {at}");
            assert!(meaningless.iter().any(|range| range.contains(&(at as u64))), "byte {at}");
        }
        bytes[at] = good[at];
    }
}

/// Where a bit may change and nothing with it: the version of the program that wrote a member, which the directory has, and
/// what is deflated, since the same content can be deflated in more than one way.
fn meaningless(bytes: &[u8]) -> Vec<std::ops::Range<u64>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut ranges = Vec::new();
    for index in 0..zip.len() {
        let member = zip.by_index(index).unwrap();
        let version = member.central_header_start() + 4;
        ranges.push(version..version + 1);
        if member.compression() == zip::CompressionMethod::Deflated {
            let start = member.data_start().unwrap();
            ranges.push(start..start + member.compressed_size());
        }
    }
    ranges
}

#[test]
fn what_people_read_may_be_another_programs_and_not_damaged() {
    let (origin, bytes) = (origin(), bundle());
    let other = rewritten(&bytes, |members| members[1].1 = "Ein Bündel, von einem anderen Programm.\n".into());
    take(&other, &trust(&origin)).unwrap();
    inspected(&other, &trust(&origin)).unwrap();
    // No text, and more of it than anybody reads.
    for (readme, reason) in [(b"\xff".to_vec(), Reason::BadArchive), (vec![b'a'; 2 << 20], Reason::TooLarge)] {
        let error = check(&rewritten(&bytes, |members| members[1].1 = readme.clone()), &trust(&origin)).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn one_flipped_bit_never_gives_other_content(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (origin, mut bytes) = (origin(), bundle());
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if take(&bytes, &trust(&origin)).is_ok() {
            prop_assert!(unpacked(&bytes) == unpacked(&bundle()), "bit {} of byte {}", bit, at);
        }
    }

    #[test]
    fn whatever_the_name_it_stands_for_one_part(name in "(metadata/|targets/|)[0-9a-f.]{0,70}[a-z.-]{0,12}(json|txt)?") {
        if let Some(part) = part::Part::parse(&name) {
            prop_assert_eq!(part.to_string(), name);
        }
    }
}

/// Whether the structure is looked at, a member read, or the release's files hashed: each is refused on the way.
#[test]
fn a_bundle_that_lies_about_itself_is_refused_for_that() {
    let (good, origin) = (bundle(), origin());
    let taken = |bytes: &[u8]| -> Result<(), BundleError> {
        let mut bundle = open(bytes)?;
        let checked = bundle.check(&trust(&origin))?;
        carried(checked.manifest.manifest()).into_iter().try_for_each(|file| bundle.hash(file))
    };
    taken(&good).unwrap();
    for hostile in Hostile::ALL {
        let error = taken(&hostile.from_good(&good)).unwrap_err();
        assert_eq!(error.reason(), hostile.reason(), "{hostile}: {error}");
    }
}
