//! The bodies of the fuzz targets: a function for each reader of bytes from outside, which gives it the bytes and holds
//! what it makes of them to what callers rely on. `tests/fuzz` includes this file by its path, so that fuzzing compiles
//! `bundles` and nothing else of the house.

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read as _};
use std::sync::LazyLock;

use bundles::archive;
use bundles::bundle::{Bundle, Trust, carried};
use bundles::fake::{Edition, Feed, Options, Origin, Release};
use bundles::increment::{self, Unpacking};
use bundles::index::{Index, Patterns};
use bundles::release::FileRef;
use bundles::report::Report;
use bundles::zip_file::{Rules, ZipFile};
use bundles::{Digest, FileName, Limits, Manifest, Serial, inspection};
use jiff::{Timestamp, ToSpan as _};
use url::Url;

/// Far below the defaults: an input is to be refused in milliseconds, and a fuzzer's memory is one gigabyte.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        index_bytes: 256 << 10,
        archive_bytes: 1 << 20,
        payload_bytes: 4 << 20,
        archive_members: 100,
        run_bytes: 4 << 20,
        ..Limits::default()
    }
}

/// A zip that is taken gives what it declares and no more, under names that stay below the folder they are put into; and the
/// `zip` crate, which knows nothing of our rules, reads the same out of it.
///
/// # Panics
/// It does not.
pub fn zip(bytes: &[u8]) {
    for rules in [Rules::ours(&limits()), Rules::vendors(&limits())] {
        let Ok(mut zip) = ZipFile::open(Cursor::new(bytes), &rules) else { continue };
        let entries = zip.entries().to_vec();
        assert!(entries.len() <= limits().archive_members, "{} members", entries.len());
        let names: BTreeSet<_> = entries.iter().map(|entry| entry.name.to_lowercase()).collect();
        assert_eq!(names.len(), entries.len(), "two names are one: {entries:?}");
        let mut other = ::zip::ZipArchive::new(Cursor::new(bytes)).expect("another reader takes it too");
        // The zip's own folder, `./`, is no member to us and no part of a name.
        let bare = |name: &str| name.strip_prefix("./").unwrap_or(name).trim_end_matches('/').to_owned();
        let names =
            (0..other.len()).map(|at| (at, bare(&other.name_for_index(at).expect("in range").expect("a name"))));
        let others_names: Vec<_> = names.filter(|(_, name)| !name.is_empty()).collect();
        assert_eq!(others_names.len(), entries.len(), "{entries:?}");
        let mut total = 0;
        for (at, entry) in entries.iter().enumerate() {
            let parts = entry.name.split('/');
            let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':', '\0']);
            assert!(parts.into_iter().all(is_plain), "{:?} is no plain path", entry.name);
            let (others_at, others_name) = &others_names[at];
            assert_eq!(*others_name, entry.name);
            if entry.is_dir {
                continue;
            }
            let mut content = Vec::new();
            let read = zip.read(at).map_err(io::Error::other).and_then(|mut it| it.read_to_end(&mut content));
            assert!(content.len() as u64 <= entry.length, "{} bytes of {entry:?}", content.len());
            total += entry.length;
            assert!(total <= limits().run_bytes, "{total} bytes in all");
            let mut others = Vec::new();
            let mut theirs = other.by_index(*others_at).expect("a member that both have");
            let others_read = (&mut theirs).take(entry.length + 1).read_to_end(&mut others);
            if read.is_ok() {
                assert_eq!(content.len() as u64, entry.length, "{entry:?} is shorter than declared");
                assert!(others_read.is_ok() && others == content, "{entry:?} is another one to the other reader");
            }
        }
    }
}

/// The one release that the origin whose root is trusted ever signed.
pub struct Genuine {
    /// Its origin, with its first root alone.
    pub origin: Origin,
    /// The release.
    pub release: Release,
    /// When its signatures end.
    pub expires: Timestamp,
}

impl Genuine {
    /// The same on every machine; another number is another origin.
    ///
    /// # Panics
    /// Never: everything is made here.
    #[must_use]
    pub fn of(number: u8) -> Self {
        let made = Timestamp::from_second(1_767_225_600).expect("the first of January 2026");
        let feed = Feed::make(&Edition::before(), &Options { rows: 3, ..Options::small() });
        let release = Release::of(&feed, Serial::FIRST, made);
        Self { origin: Origin::new(number, made), release, expires: made + (90 * 24).hours() }
    }
}

/// A bundle that is taken brings the signed release and no other; inspecting it says so if and only if every file in it is
/// the signed one.
///
/// # Panics
/// It does not.
pub fn bundle(bytes: &[u8]) {
    static GENUINE: LazyLock<Genuine> = LazyLock::new(|| Genuine::of(1));
    let (release, limits) = (&GENUINE.release, limits());
    let Ok(mut bundle) = Bundle::open(Cursor::new(bytes), &limits) else { return };
    let trust = Trust {
        root: GENUINE.origin.root().as_bytes(),
        held: None,
        highest_serial: None,
        signed_time: None,
        now: release.manifest.created + 1.hour(),
    };
    let inspected = inspection::inspect(&mut bundle, &trust, &limits);
    let Ok(checked) = bundle.check(&trust) else {
        assert!(!inspected.import.can, "what is refused is said to be importable");
        return;
    };
    assert_eq!(checked.manifest.bytes(), release.manifest.to_json(), "another release is taken");
    let mut is_whole = true;
    for file in carried(checked.manifest.manifest()) {
        let mut content = Vec::new();
        let read = bundle.open_file(file).map_err(io::Error::other).and_then(|mut it| it.read_to_end(&mut content));
        assert!(content.len() as u64 <= file.length, "{} bytes of {file:?}", content.len());
        is_whole &= read.is_ok() && Digest::of(&content) == file.sha256;
    }
    assert_eq!(inspected.import.can, is_whole, "{inspected:?}");
}

/// What fuzzed increments are told in terms of: a few rows of a chart.
pub const BASE_OF_INCREMENTS: &[u8] =
    b"<chart SDKVersion=\"4.3.1.0\"><row id=\"1\" name=\"Alpha\"/><row id=\"2\" name=\"Beta\"/><row id=\"3\"/></chart>";

/// The most that a fuzzed increment may open to, in bytes.
pub const INCREMENT_BYTES: u64 = 4 << 10;

/// What opens, opens to no more than it may, in whatever pieces it comes; the first byte says how long those are.
///
/// # Panics
/// It does not.
pub fn increment(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let unpack = |mut unpacking: Unpacking<'_, Vec<u8>>, piece: usize| {
        bytes.chunks(piece).try_for_each(|piece| unpacking.push(piece))?;
        unpacking.finish()
    };
    let both = || {
        let increment = Unpacking::increment(BASE_OF_INCREMENTS, INCREMENT_BYTES, Vec::new());
        [increment, Unpacking::zstd(INCREMENT_BYTES, Vec::new())].map(|made| made.expect("there is memory"))
    };
    let pieces = usize::from(*piece).max(1);
    for (in_pieces, at_once) in both().into_iter().zip(both()) {
        let (in_pieces, at_once) = (unpack(in_pieces, pieces), unpack(at_once, bytes.len().max(1)));
        if let Ok(opened) = &at_once {
            assert!(opened.len() as u64 <= INCREMENT_BYTES, "{} bytes", opened.len());
        }
        assert_eq!(in_pieces.ok(), at_once.ok(), "it depends on how the bytes arrive");
    }
    if let Some(digest) = std::str::from_utf8(bytes).ok().and_then(increment::parse_available_dictionary) {
        let written = increment::available_dictionary(&digest);
        assert_eq!(increment::parse_available_dictionary(&written), Some(digest));
    }
}

/// Where the fuzzed index is said to come from.
const BASE: &str = "https://feed.example.net/web/secure/spa/posture-update.xml";

/// Where its archives are moved to, as for the vendor's layout.
const MOVED: &str = "https://mirror.example.net/web/secure/spa/r/1/";

/// An index that is read can be rewritten, and every archive that the rewritten one names is where it was moved to.
///
/// # Panics
/// Either does not hold.
pub fn index(bytes: &[u8]) {
    // Made once: they are compiled, which takes longer than reading an index.
    static PATTERNS: LazyLock<Patterns> = LazyLock::new(Patterns::default);
    let base = Url::parse(BASE).expect("a URL");
    let (patterns, limits) = (&*PATTERNS, limits());
    let Ok(index) = Index::read(bytes, &base, patterns, &limits) else { return };
    assert!(!index.entries.is_empty() && index.entries.len() <= limits.index_entries, "{index:?}");
    let names: BTreeSet<_> = index.entries.iter().map(|entry| entry.name.as_str().to_ascii_lowercase()).collect();
    assert_eq!(names.len(), distinct_urls(&index), "two archives share a name: {index:?}");
    let moved = |name: &FileName| format!("{MOVED}{name}");
    let rewritten = Index::rewrite(bytes, &base, patterns, &limits, &mut |entry| moved(&entry.name));
    let rewritten = rewritten.expect("what is read can be rewritten");
    // Longer locators may push it beyond the limit, which is the operator's to raise.
    if rewritten.len() as u64 > limits.index_bytes {
        return;
    }
    let again = Index::read(&rewritten, &base, patterns, &limits).expect("what was rewritten is read again");
    for entry in &again.entries {
        assert!(entry.url.as_str().starts_with(MOVED), "{} was not moved", entry.url);
    }
}

fn distinct_urls(index: &Index) -> usize {
    index.entries.iter().map(|entry| &entry.url).collect::<BTreeSet<_>>().len()
}

/// The kinds of archives: the first byte of an input chooses one.
pub const ARCHIVE_NAMES: [&str; 6] = ["a.tar.gz", "a.tar", "a.zip", "a.gz", "a.xml", "a.bin"];

/// What opens stays within its limits, and is what its digests and lengths say.
///
/// # Panics
/// It does not, or is not.
pub fn archive(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let name = ARCHIVE_NAMES[usize::from(*kind) % ARCHIVE_NAMES.len()];
    let name = FileName::parse(name).expect("a file name");
    let limits = limits();
    let mut payload = Vec::new();
    let opened = archive::open(&mut Cursor::new(bytes), &name, &limits, &mut payload);
    assert!(payload.len() as u64 <= limits.opened(bytes.len() as u64), "{} bytes were written", payload.len());
    let Ok(opened) = opened else { return };
    assert_eq!((opened.archive.sha256, opened.archive.length), (Digest::of(bytes), bytes.len() as u64));
    let content = if opened.compressed { payload.as_slice() } else { bytes };
    assert_eq!((opened.payload.sha256, opened.payload.length), (Digest::of(content), content.len() as u64));
    assert!(opened.compressed || payload.is_empty(), "what is its own payload is not written again");
    assert!(opened.members <= limits.archive_members as u64, "{} members", opened.members);
}

/// A manifest that is read is written and read again as the same.
///
/// # Panics
/// It is not.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::from_json(bytes) else { return };
    let written = manifest.to_json();
    assert_eq!(Manifest::from_json(&written).expect("our own JSON"), manifest);
    assert_eq!(manifest.to_json(), written);
    assert!(manifest.same_content(&manifest));
    let files = manifest.files();
    let named = |file: &FileRef| files.iter().any(|it| it.sha256 == file.sha256 && it.name == file.name);
    assert!(
        manifest.components.iter().flat_map(|it| &it.files).all(|file| named(&file.archive) && named(&file.payload))
    );
}

/// A report that is taken is plain text, and a server that keeps it can read it again.
///
/// # Panics
/// It is not, or cannot.
pub fn report(bytes: &[u8]) {
    let Ok(report) = Report::from_json(bytes) else { return };
    let kept = serde_json::to_vec(&report).expect("a report is JSON");
    let again = Report::from_json(&kept).expect("what was taken is taken again");
    assert_eq!(again, report);
    let plain = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
    assert!(plain(&report.client_version), "{:?}", report.client_version);
    assert!(report.last_failure.is_none_or(|failure| plain(&failure.message)));
}
