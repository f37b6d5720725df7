use std::collections::HashSet;
use std::io::Cursor;

use bundles::fake::{Edition, Feed, Options};
use bundles::release::{FORMAT, ReleasedComponent, ReleasedFile, Source, SourceKind};
use bundles::{Component, Serial, Version};

use super::*;

struct Release {
    directory: tempfile::TempDir,
    manifest: Manifest,
    archives: BTreeMap<FileName, Vec<u8>>,
}

impl Release {
    fn new() -> Self {
        let feed = Feed::make(&Edition::before(), &Options::small());
        let archives: BTreeMap<FileName, Vec<u8>> = feed.files.into_iter().collect();
        let file = |name: &FileName, bytes: &[u8]| FileRef {
            name: name.clone(),
            sha256: Digest::of(bytes),
            length: bytes.len() as u64,
        };
        let files = archives.iter().map(|(name, bytes)| {
            let mut payload = Vec::new();
            archive::open(&mut Cursor::new(bytes), name, &Limits::default(), &mut payload).unwrap();
            ReleasedFile { archive: file(name, bytes), payload: file(&name.payload(), &payload) }
        });
        let version = Version::Digest(Digest::of(b""));
        let components = vec![ReleasedComponent { component: Component::Conditions, version, files: files.collect() }];
        let source = Source { kind: SourceKind::VendorFeed, url: None, sha256: None, vouched_by: None };
        let manifest = Manifest {
            format: FORMAT,
            serial: Serial::FIRST,
            created: jiff::Timestamp::UNIX_EPOCH,
            source,
            components,
            index: Some(file(&FileName::parse("posture-update.xml").unwrap(), b"<x/>")),
            offline_zip: None,
        };
        Self { directory: tempfile::tempdir().unwrap(), manifest, archives }
    }

    fn staging(&self) -> Staging {
        Staging::new(self.directory.path().to_owned())
    }

    fn wanted(&self) -> Vec<Wanted> {
        wanted(&self.manifest, |_| false, &Limits::default()).unwrap()
    }

    fn take(&self, wanted: &Wanted, bytes: &[u8]) -> Result<Vec<CheckedFile>, SignedFileError> {
        wanted.take(&self.staging(), &Limits::default(), &mut &bytes[..])
    }

    fn left(&self) -> usize {
        std::fs::read_dir(self.directory.path()).unwrap().count()
    }
}

#[test]
fn archives_bring_their_payloads_and_together_they_are_the_release() {
    let release = Release::new();
    let mut found = HashSet::new();
    for wanted in release.wanted() {
        let bytes = release.archives.get(&wanted.file().name).map_or(&b"<x/>"[..], Vec::as_slice);
        for file in release.take(&wanted, bytes).unwrap() {
            assert_eq!(Digest::of(&std::fs::read(file.path()).unwrap()), file.file().sha256);
            found.insert(file.file().sha256);
        }
    }
    let signed: HashSet<Digest> = release.manifest.files().iter().map(|file| file.sha256).collect();
    assert_eq!(found, signed);
    assert_eq!(release.left(), 0);
}

#[test]
fn what_is_here_does_not_come_again_and_a_lost_payload_brings_back_its_archive_alone() {
    let release = Release::new();
    assert_eq!(wanted(&release.manifest, |_| true, &Limits::default()).unwrap(), []);
    let lost = &release.manifest.components[0].files[0];
    let wanted = wanted(&release.manifest, |digest| *digest != lost.payload.sha256, &Limits::default()).unwrap();
    let files: Vec<&FileRef> = wanted.iter().map(Wanted::file).collect();
    assert_eq!(files, [&lost.archive]);
    let taken = release.take(&wanted[0], &release.archives[&lost.archive.name]).unwrap();
    let taken: Vec<&FileRef> = taken.iter().map(CheckedFile::file).collect();
    assert_eq!(taken, [&lost.payload]);
}

#[test]
fn other_bytes_than_signed_are_refused_and_leave_nothing() {
    let release = Release::new();
    let wanted = &release.wanted()[0];
    let good = &release.archives[&wanted.file().name];
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let longer = [good.as_slice(), &[0; 10_000]].concat();
    for bytes in [&flipped, &longer, &good[..good.len() - 1].to_vec(), &Vec::new()] {
        let error = release.take(wanted, bytes).unwrap_err();
        assert_eq!(error.reason(), Reason::DigestMismatch, "{error}");
        assert!(error.to_string().contains(wanted.file().name.as_str()), "{error}");
    }
    assert_eq!(release.left(), 0);
}

#[test]
fn an_archive_that_opens_to_something_else_than_signed_is_refused() {
    let mut release = Release::new();
    release.manifest.components[0].files[0].payload.sha256 = Digest::of(b"another payload");
    let wanted = &release.wanted()[0];
    let error = release.take(wanted, &release.archives[&wanted.file().name]).unwrap_err();
    assert!(matches!(error, SignedFileError::OtherPayload { .. }), "{error}");
    assert_eq!((error.reason(), release.left()), (Reason::DigestMismatch, 0));
}

#[test]
fn what_is_signed_with_more_bytes_than_limits_allow_does_not_even_begin_to_come() {
    let release = Release::new();
    let longest = release.manifest.components[0].files.iter().map(|file| file.archive.length).max().unwrap();
    let of_one = Limits { archive_bytes: longest - 1, ..Limits::default() };
    let of_all = Limits { run_bytes: longest, ..Limits::default() };
    for (limits, setting) in [(of_one, "archive_bytes"), (of_all, "run_bytes")] {
        let error = wanted(&release.manifest, |_| false, &limits).unwrap_err();
        assert_eq!(error.reason(), Reason::TooLarge);
        assert!(error.to_string().contains(setting), "{error}");
    }
}

#[test]
fn reading_that_fails_is_no_fault_of_the_data_directory() {
    struct Pulled;
    impl Read for Pulled {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the stick is gone"))
        }
    }
    let release = Release::new();
    let error = release.wanted()[0].take(&release.staging(), &Limits::default(), &mut Pulled).unwrap_err();
    assert!(matches!(error, SignedFileError::Read { .. }), "{error}");
    assert!(error.whole_message().contains("the stick is gone"), "{}", error.whole_message());
}
