//! What a fuzzer begins with: small inputs of each shape that its reader knows, made by the house's own makers of fakes.

use std::io::{Cursor, Write as _};

use anyhow::{Context, Result};
use bundles::archive;
use bundles::fake::{Dialect, Edition, Feed, Options};
use bundles::increment;
use bundles::offline_zip::{self, Member};
use bundles::release::{Manifest, ReleasedComponent, ReleasedFile, Source, SourceKind};
use bundles::report::{Failure, Report};
use bundles::{Component, Digest, FileName, MemberPath, Reason, Serial, Version};
use url::Url;

use super::targets::{ARCHIVE_NAMES, BASE_OF_INCREMENTS, Genuine, limits};

/// A moment, for whatever has one.
const MOMENT: &str = "2026-01-01T00:00:00Z";

fn feed() -> Feed {
    Feed::make(&Edition::before(), &Options { rows: 3, ..Options::small() })
}

/// What we write, with a folder and without, and empty.
pub(super) fn zip() -> Result<Vec<Vec<u8>>> {
    Ok(vec![
        small_zip("")?,
        small_zip("targets/")?,
        offline_zip::write(Cursor::new(Vec::new()), &[], &mut |_| {})?.into_inner(),
    ])
}

/// A genuine one, one after a rotation of the root, one that has ended, and one of another origin.
pub(super) fn bundle() -> Result<Vec<Vec<u8>>> {
    let Genuine { mut origin, release, expires } = Genuine::of(1);
    let genuine = origin.bundle(&release, expires);
    let ended = origin.bundle(&release, release.manifest.created);
    origin.rotate();
    let rotated = origin.bundle(&release, expires);
    let others = Genuine::of(2);
    Ok(vec![genuine, rotated, ended, others.origin.bundle(&others.release, others.expires)])
}

/// Every dialect, and the first of them in UTF-16.
pub(super) fn index() -> Result<Vec<Vec<u8>>> {
    let base = Url::parse("https://feed.example.net/web/secure/spa/posture-update.xml")?;
    let write = |dialect| {
        let options = Options { dialect, rows: 3, ..Options::small() };
        Feed::make(&Edition::before(), &options).index(&base)
    };
    let mut seeds: Vec<_> = Dialect::ALL.into_iter().map(write).collect();
    let text = String::from_utf8(seeds[0].clone())?.replace("UTF-8", "UTF-16");
    seeds.push([0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect());
    Ok(seeds)
}

/// An archive of each kind, behind the byte that says which.
pub(super) fn archive() -> Result<Vec<Vec<u8>>> {
    let feed = feed();
    let tar_gz = feed.files.values().next().context("a feed has archives")?.clone();
    let mut tar = Vec::new();
    archive::open(&mut Cursor::new(&tar_gz), &FileName::parse("a.tar.gz")?, &limits(), &mut tar)?;
    let chart = b"<?xml version=\"1.0\"?><chart SDKVersion=\"4.3.1.0\"><row/></chart>".to_vec();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&chart)?;
    let contents = [tar_gz, tar, small_zip("")?, gz.finish()?, chart, b"anything".to_vec()];
    let kinds = 0..u8::try_from(ARCHIVE_NAMES.len())?;
    Ok(kinds.zip(contents).map(|(kind, content)| [vec![kind], content].concat()).collect())
}

/// A zip of two members below that folder, one stored and one deflated.
fn small_zip(folder: &str) -> Result<Vec<u8>> {
    let contents: [(&str, &'static [u8]); 2] = [("index.xml", b"<index><index/></index>"), ("chart.gz", b"\x1f\x8b")];
    let members: Vec<_> =
        contents.iter().map(|(name, content)| member(&format!("{folder}{name}"), content)).collect::<Result<_>>()?;
    Ok(offline_zip::write(Cursor::new(Vec::new()), &members, &mut |_| {})?.into_inner())
}

fn member(path: &str, content: &'static [u8]) -> Result<Member<'static>> {
    let open = move || Ok(Box::new(content) as Box<dyn std::io::Read>);
    Ok(Member { name: MemberPath::parse(path)?, length: content.len() as u64, sha256: None, open: Box::new(open) })
}

/// A chart with a row changed, told in either way, in pieces of three lengths; and the header that names its base.
pub(super) fn increment() -> Result<Vec<Vec<u8>>> {
    let content = String::from_utf8(BASE_OF_INCREMENTS.to_vec())?.replace("Beta", "Gamma and more").into_bytes();
    let packed = [increment::increment(BASE_OF_INCREMENTS, &content)?, increment::zstd(&content)?];
    let named = increment::available_dictionary(&Digest::of(BASE_OF_INCREMENTS)).into_bytes();
    let inputs = packed.into_iter().chain([named]);
    Ok(inputs.zip([1, 7, 255]).map(|(input, piece)| [vec![piece], input].concat()).collect())
}

/// The release of a fake feed, and what is left of it where upstream gives the least.
pub(super) fn manifest() -> Result<Vec<Vec<u8>>> {
    let edition = Edition::before();
    let mut components: Vec<ReleasedComponent> = Vec::new();
    for (name, bytes) in &feed().files {
        let opened = archive::open(&mut Cursor::new(bytes), name, &limits(), &mut std::io::sink())?;
        let file = ReleasedFile { archive: opened.archive, payload: opened.payload };
        // Component by component, and one that nothing is known of.
        let component = Component::KNOWN.get(components.len()).cloned();
        let component = component.map_or_else(|| "other-made-up".parse(), Ok)?;
        let version = edition.versions.get(&component).cloned().unwrap_or(Version::Digest(file.archive.sha256));
        components.push(ReleasedComponent { component, version, files: vec![file] });
    }
    let index = Digest::of(b"index");
    let whole = Manifest {
        format: 1,
        serial: Serial::FIRST,
        created: MOMENT.parse()?,
        source: Source {
            kind: SourceKind::VendorFeed,
            url: Some("https://feed.example.net/".into()),
            sha256: Some(index),
            vouched_by: Some("TLS to feed.example.net, root A, SHA-256 00".to_owned()),
        },
        components,
        index: None,
        offline_zip: None,
    };
    let least = Manifest {
        source: Source { kind: SourceKind::VendorZip, url: None, sha256: None, vouched_by: None },
        components: Vec::new(),
        ..whole.clone()
    };
    Ok(vec![whole.to_json(), least.to_json()])
}

/// What a headend says first, and what it says after a failure.
pub(super) fn report() -> Result<Vec<Vec<u8>>> {
    let first = Report {
        client_version: "1.0.0".to_owned(),
        serial: None,
        components: std::collections::BTreeMap::new(),
        last_success: None,
        last_attempt: MOMENT.parse()?,
        last_failure: None,
        next_poll: None,
        interval_seconds: 7_200,
        transfer: None,
        clock_behind: None,
    };
    let later = Report {
        serial: Some(Serial::FIRST),
        components: Edition::before().versions,
        last_success: Some(first.last_attempt),
        last_failure: Some(Failure::new(Reason::Connect, "nobody answers")),
        next_poll: Some(first.last_attempt),
        ..first.clone()
    };
    [first, later].iter().map(|report| Ok(serde_json::to_vec(report)?)).collect()
}
