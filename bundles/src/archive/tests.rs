use std::io::{Cursor, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tar::{EntryType, Header};

use super::*;
use crate::{Digest, Reason, Reasoned};

fn name(text: &str) -> FileName {
    FileName::parse(text).unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A member whose name is written as it is: the tar crate's own builder refuses the evil ones.
fn raw_member(tar: &mut Vec<u8>, path: &[u8], entry_type: EntryType, content: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_entry_type(entry_type);
    header.set_mode(0o4777);
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, content) in members {
        let kind = if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
        raw_member(&mut tar, path.as_bytes(), kind, content);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

const CHART: &[u8] = br#"<?xml version="1.0"?><!DOCTYPE supportchart [<!ATTLIST xsl:stylesheet id ID #REQUIRED>]>
<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0"><supportchart>
<Table SDKVersion="4.3.3919.0"/></supportchart></xsl:stylesheet>"#;

fn opened(archive: &[u8], as_name: &str, limits: &Limits) -> (Result<Opened, ArchiveError>, Vec<u8>) {
    let mut payload = Vec::new();
    let result = open(&mut Cursor::new(archive), &name(as_name), limits, &mut payload);
    (result, payload)
}

fn unpacked(payload: &[u8], as_name: &str) -> (Result<Vec<std::path::PathBuf>, ArchiveError>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("inner");
    std::fs::create_dir(&into).unwrap();
    (unpack(&mut Cursor::new(payload), &name(as_name), &into, &Limits::default()), directory)
}

#[test]
fn a_tar_gz_opens_to_its_tar_and_unpacks_to_plain_files() {
    let tar = tar(&[("./", b""), ("./defaults/", b""), ("./defaults/a.xml", b"<a/>"), ("chart.xml", CHART)]);
    let archive = gzip(&tar);
    let (result, payload) = opened(&archive, "chart.tar.gz", &Limits::default());
    let opened = result.unwrap();
    assert_eq!(payload, tar);
    assert_eq!(
        opened.archive,
        FileRef { name: name("chart.tar.gz"), sha256: Digest::of(&archive), length: archive.len() as u64 }
    );
    assert_eq!(opened.payload, FileRef { name: name("chart.tar"), sha256: Digest::of(&tar), length: tar.len() as u64 });
    assert!(opened.compressed);
    assert_eq!((opened.members, opened.version), (2, Some("4.3.3919.0".parse().unwrap())));

    let (paths, directory) = unpacked(&payload, "chart.tar");
    assert_eq!(paths.unwrap(), ["defaults/a.xml", "chart.xml"].map(std::path::PathBuf::from));
    let chart = directory.path().join("inner/chart.xml");
    assert_eq!(std::fs::read(&chart).unwrap(), CHART);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&chart).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o644, "setuid and write bits of the archive do not count");
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = format!("{}/file.xml", "d".repeat(150));
    let mut gnu = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    gnu.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("path", long.as_bytes())]).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(1);
    pax.append_data(&mut header, "short", &b"x"[..]).unwrap();
    for tar in [gnu.into_inner().unwrap(), pax.into_inner().unwrap()] {
        assert!(opened(&gzip(&tar), "a.tgz", &Limits::default()).0.is_ok());
        assert_eq!(unpacked(&tar, "a.tar").0.unwrap(), [Path::new(&long)]);
    }
}

#[test]
fn what_is_not_compressed_is_its_own_payload() {
    let zip = crate::offline_zip::write(
        Cursor::new(Vec::new()),
        &[crate::offline_zip::Member {
            name: name("chart.xml").into(),
            length: CHART.len() as u64,
            sha256: None,
            open: Box::new(|| Ok(Box::new(CHART))),
        }],
        &mut |_| {},
    )
    .unwrap()
    .into_inner();
    for (as_name, content) in
        [("a.xml", CHART), ("a.tar", &tar(&[("a.xml", CHART)])), ("a.zip", &zip), ("a.bin", b"\0\x01")]
    {
        let (result, payload) = opened(content, as_name, &Limits::default());
        let opened = result.unwrap();
        assert!(payload.is_empty() && !opened.compressed && opened.archive == opened.payload, "{as_name}");
        assert_eq!(opened.archive.sha256, Digest::of(content));
        assert_eq!(opened.version.is_some(), as_name != "a.bin", "{as_name}");
        let (paths, directory) = unpacked(content, as_name);
        let inside = directory.path().join("inner").join(&paths.unwrap()[0]);
        assert_eq!(std::fs::read(inside).unwrap(), if as_name == "a.bin" { content } else { CHART });
    }
}

#[test]
fn the_version_of_a_stylesheet_is_not_the_contents() {
    for (content, version) in [
        (&br#"<checks version="300418.0.0.0"/>"#[..], Some("300418.0.0.0")),
        (br#"<xsl:stylesheet version="1.0"><x version="2.0"/></xsl:stylesheet>"#, None),
        (br#"<a version="x"><b sdkversion=" 5.1 "/></a>"#, Some("5.1")),
        (b"not xml", None),
        (b"<a", None),
    ] {
        let found = opened(&gzip(&tar(&[("a", content)])), "a.tar.gz", &Limits::default()).0.unwrap().version;
        assert_eq!(found.map(|v| v.to_string()).as_deref(), version);
    }
}

#[test]
fn evil_members_are_refused_by_opening_and_by_unpacking_alike() {
    use EntryType as T;
    let evil: &[(&[u8], T)] = &[
        (b"/etc/passwd", T::Regular),
        (b"../outside", T::Regular),
        (b"a/../../outside", T::Regular),
        (b"a\\..\\outside", T::Regular),
        (b"C:evil", T::Regular),
        (b"a\x07b", T::Regular),
        (b"\xff\xfe", T::Regular),
        (b".", T::Regular),
        (b"link", T::Symlink),
        (b"link", T::Link),
        (b"device", T::Char),
        (b"device", T::Block),
        (b"pipe", T::Fifo),
        (b"sparse", T::GNUSparse),
        (b"odd", T::new(b'Z')),
    ];
    for (path, kind) in evil {
        let mut tar = Vec::new();
        raw_member(&mut tar, b"good", T::Regular, b"1");
        raw_member(&mut tar, path, *kind, b"");
        tar.resize(tar.len() + 1024, 0);
        refused_everywhere(&tar, Reason::BadArchive, Reason::BadArchive);
    }
    for twice in [
        &[("a", "1"), ("A", "2")][..],
        &[("a", "1"), ("a/b", "2")],
        &[("a/b", "1"), ("A", "2")],
        &[("a", "1"), ("./a", "2")],
    ] {
        let members: Vec<_> = twice.iter().map(|(path, content)| (*path, content.as_bytes())).collect();
        refused_everywhere(&tar(&members), Reason::BadArchive, Reason::BadArchive);
    }
    let mut lying = tar::Builder::new(Vec::new());
    lying.append_pax_extensions([("size", &b"9999"[..])]).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(1);
    lying.append_data(&mut header, "a", &b"x"[..]).unwrap();
    refused_everywhere(&lying.into_inner().unwrap(), Reason::BadArchive, Reason::BadArchive);
    let mut endless_name = Vec::new();
    raw_member(&mut endless_name, b"././@LongLink", T::GNULongName, &vec![b'a'; 100 << 10]);
    raw_member(&mut endless_name, b"a", T::Regular, b"");
    refused_everywhere(&endless_name, Reason::TooLarge, Reason::TooLarge);
}

#[track_caller]
fn refused_everywhere(tar: &[u8], reason: Reason, or: Reason) {
    let fits = |error: &ArchiveError| assert!([reason, or].contains(&error.reason()), "{error:?}");
    fits(&opened(&gzip(tar), "a.tar.gz", &Limits::default()).0.unwrap_err());
    fits(&opened(tar, "a.tar", &Limits::default()).0.unwrap_err());
    let (result, directory) = unpacked(tar, "a.tar");
    fits(&result.unwrap_err());
    let outside: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside, ["inner"], "nothing is written beside the directory");
}

#[test]
fn what_the_name_promises_must_be_there() {
    let page = b"\n<!DOCTYPE HTML><html>please log in</html>";
    for (as_name, content, reason) in [
        ("a.tar.gz", &page[..], Reason::NotAFeed),
        ("a.xml", page, Reason::NotAFeed),
        ("a.tar.gz", &gzip(page), Reason::NotAFeed),
        ("a.tar.gz", b"", Reason::BadArchive),
        ("a.tar.gz", b"plain text", Reason::BadArchive),
        ("a.tar.gz", &gzip(b"<not-a-tar/>"), Reason::BadArchive),
        ("a.tar.gz", &gzip(b""), Reason::BadArchive),
        ("a.tar.gz", &gzip(&[0; 1024]), Reason::BadArchive),
        ("a.zip", b"plain text", Reason::BadArchive),
        ("a.zip", b"PK\x03\x04 and no more", Reason::Truncated),
        ("a.tar", b"", Reason::BadArchive),
        ("a.xml", b"plain text", Reason::BadArchive),
    ] {
        let error = opened(content, as_name, &Limits::default()).0.unwrap_err();
        assert_eq!(error.reason(), reason, "{as_name}: {error}");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    let bomb = gzip(&tar(&[("zeros", &zeros)]));
    let limits = Limits { expansion_ratio: 200, ..Limits::default() };
    let allowed = limits.opened(bomb.len() as u64);
    assert!(allowed < zeros.len() as u64);
    let (result, payload) = opened(&bomb, "bomb.tar.gz", &limits);
    assert_eq!(result.unwrap_err().reason(), Reason::TooLarge);
    assert!(payload.len() as u64 <= allowed);

    let many: Vec<_> = (0..20).map(|i| format!("m{i}")).collect();
    let many: Vec<_> = many.iter().map(|path| (path.as_str(), &b""[..])).collect();
    let few = Limits { archive_members: 10, ..Limits::default() };
    assert_eq!(opened(&gzip(&tar(&many)), "a.tar.gz", &few).0.unwrap_err().reason(), Reason::TooLarge);
    let small = Limits { archive_bytes: 10, ..Limits::default() };
    assert_eq!(opened(&bomb, "a.tar.gz", &small).0.unwrap_err().reason(), Reason::TooLarge);
}

#[test]
fn a_full_disk_is_storage_and_not_the_archives_fault() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let archive = gzip(&tar(&[("a", b"1")]));
    let error = open(&mut Cursor::new(archive), &name("a.tar.gz"), &Limits::default(), &mut Full).unwrap_err();
    assert_eq!(error.reason(), Reason::Storage);
}

#[test]
fn real_charts_name_their_version() {
    let shared = std::env::var_os("POSTURE_FEED_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), std::path::PathBuf::from);
    let chart = shared.join("data/charts/Mac_ANTIMALWARE_4_3_4314_0.xml");
    let Ok(content) = std::fs::read(&chart) else {
        eprintln!("skipped: {} is not here", chart.display());
        return;
    };
    let archive = gzip(&tar(&[("Mac_ANTIMALWARE.xml", &content)]));
    let opened = opened(&archive, "mac.tar.gz", &Limits::default()).0.unwrap();
    assert_eq!(opened.version, Some("4.3.4314.0".parse().unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_cut_archive_is_never_taken(cut in 0_usize..1_000) {
        let archive = gzip(&tar(&[("a.xml", CHART), ("b", b"0123456789")]));
        let cut = cut % archive.len();
        let (result, _) = opened(&archive[..cut], "a.tar.gz", &Limits::default());
        let reason = result.unwrap_err().reason();
        prop_assert!(matches!(reason, Reason::Truncated | Reason::BadArchive), "{}", reason);
    }

    #[test]
    fn a_changed_byte_never_changes_the_payload_unnoticed(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let tar = tar(&[("a.xml", CHART), ("b", b"0123456789")]);
        let mut archive = gzip(&tar);
        let at = at.index(archive.len());
        archive[at] ^= flip;
        let (result, payload) = opened(&archive, "a.tar.gz", &Limits::default());
        // gzip's header holds bytes that mean nothing (time, system); whatever opens must be what was packed.
        if result.is_ok() {
            prop_assert_eq!(payload, tar);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_write_past_the_limit(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        at in any::<prop::sample::Index>(),
        as_name in prop::sample::select(vec!["a.tar.gz", "a.gz", "a.tar", "a.zip", "a.xml", "a.bin"]),
    ) {
        let limits = Limits { payload_bytes: 10_000, ..Limits::default() };
        let mut mutated = tar(&[("a.xml", CHART), ("d/b", b"1")]);
        let at = at.index(mutated.len());
        let end = (at + bytes.len()).min(mutated.len());
        mutated[at..end].copy_from_slice(&bytes[..end - at]);
        for content in [&bytes, &gzip(&bytes), &mutated, &gzip(&mutated)] {
            let (_, payload) = opened(content, as_name, &limits);
            prop_assert!(payload.len() as u64 <= limits.payload_bytes);
            let (result, directory) = unpacked(content, as_name);
            let outside = std::fs::read_dir(directory.path()).unwrap().count();
            prop_assert_eq!(outside, 1, "{:?}", result);
        }
    }
}

/// A zip of stored members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members: Vec<_> = members
        .iter()
        .map(|(member, content)| crate::offline_zip::Member {
            name: name(member).into(),
            length: content.len() as u64,
            sha256: None,
            open: Box::new(move || Ok(Box::new(*content))),
        })
        .collect();
    crate::offline_zip::write(Cursor::new(Vec::new()), &members, &mut |_| {}).unwrap().into_inner()
}

/// Everywhere, as names stand twice in a zip.
fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let at: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!at.is_empty());
    for at in at {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

#[test]
fn evil_zips_are_refused_by_opening_and_by_unpacking_alike() {
    let good = zip(&[("first.gz", b"1"), ("other.gz", b"2")]);
    let mode = |mode: u32| (mode << 16).to_le_bytes();
    for (evil, message) in [
        (replaced(good.clone(), b"other.gz", b"first.gz"), "is there twice"),
        (replaced(good.clone(), b"other.gz", b"FIRST.gz"), "is there twice"),
        (replaced(good.clone(), b"other.gz", b"../ab.gz"), "leads out"),
        (replaced(good.clone(), b"other.gz", b"/abcd.gz"), "absolute"),
        (replaced(good.clone(), b"other.gz", b"a\\bcd.gz"), "backslash"),
        (replaced(good.clone(), &mode(0o100_644), &mode(0o120_644)), "a link"),
        (replaced(good.clone(), &mode(0o100_644), &mode(0o020_644)), "a device"),
    ] {
        for error in
            [opened(&evil, "a.zip", &Limits::default()).0.unwrap_err(), unpacked(&evil, "a.zip").0.unwrap_err()]
        {
            assert!(error.to_string().contains(message), "{error} is not: {message}");
            assert_eq!(error.reason(), Reason::BadArchive);
        }
    }
    let few = Limits { archive_members: 1, ..Limits::default() };
    assert_eq!(opened(&good, "a.zip", &few).0.unwrap_err().reason(), Reason::TooLarge);
}

#[test]
fn a_zip_that_opens_to_too_much_is_refused() {
    let zeros = vec![0; 8 << 20];
    let bomb = zip(&[("zeros.xml", &zeros)]);
    let error = opened(&bomb, "a.zip", &Limits::default()).0.unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge, "{error}");
    let (result, directory) = unpacked(&bomb, "a.zip");
    assert_eq!(result.unwrap_err().reason(), Reason::TooLarge);
    // It says itself what it opens to, so that nothing of it is.
    assert_eq!(std::fs::read_dir(directory.path().join("inner")).unwrap().count(), 0);
}

#[test]
fn a_tar_that_is_cut_or_carries_something_behind_its_end_is_refused() {
    let whole = tar(&[("a", &[0; 600]), ("b", b"x")]);
    // Headers stand at 0 and 1536; the zeros of the first content must not pass for an end.
    for cut in [512, 515, 1024, 1112, 1536, 1537, 2048, 2049, 2560] {
        refused_everywhere(&whole[..cut], Reason::Truncated, Reason::BadArchive);
    }
    refused_everywhere(&[&whole[..], b"junk"].concat(), Reason::BadArchive, Reason::BadArchive);
    let mut dangling = tar(&[("a", b"1")]);
    dangling.truncate(1024);
    raw_member(&mut dangling, b"././@LongLink", EntryType::GNULongName, b"a-name-for-nobody");
    dangling.resize(dangling.len() + 1024, 0);
    refused_everywhere(&dangling, Reason::Truncated, Reason::Truncated);
    // One block of zeros is an end to every tar program, and so is padding to a tape's block.
    for length in [3072 - 512, 10_240] {
        let mut odd = whole.clone();
        odd.resize(length + 512, 0);
        assert!(opened(&gzip(&odd), "a.tar.gz", &Limits::default()).0.is_ok(), "{length}");
        assert!(unpacked(&odd, "a.tar").0.is_ok(), "{length}");
    }
}

#[test]
fn folders_count_as_members_and_names_are_not_endless() {
    let mut deep = tar::Builder::new(Vec::new());
    for number in 0..20 {
        let path: Vec<_> = (0..30).map(|level| format!("{number}-{level}")).collect();
        let mut header = Header::new_gnu();
        header.set_size(0);
        deep.append_data(&mut header, path.join("/"), &b""[..]).unwrap();
    }
    let deep = deep.into_inner().unwrap();
    let few = Limits { archive_members: 500, ..Limits::default() };
    assert_eq!(opened(&gzip(&deep), "a.tar.gz", &few).0.unwrap_err().reason(), Reason::TooLarge);
    let into = tempfile::tempdir().unwrap();
    let error = unpack(&mut Cursor::new(&deep), &name("a.tar"), into.path(), &few).unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge);
    assert!(opened(&gzip(&deep), "a.tar.gz", &Limits::default()).0.is_ok());
    let mut long = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(0);
    long.append_data(&mut header, vec!["d".repeat(200); 10].join("/"), &b""[..]).unwrap();
    refused_everywhere(&long.into_inner().unwrap(), Reason::BadArchive, Reason::BadArchive);
}

#[test]
fn a_gzip_of_several_members_is_one_and_bytes_behind_it_are_none() {
    let tar = tar(&[("a.xml", CHART)]);
    let several = [gzip(&tar[..100]), gzip(&tar[100..])].concat();
    let (result, payload) = opened(&several, "a.tar.gz", &Limits::default());
    assert_eq!(result.unwrap().archive.length, several.len() as u64);
    assert_eq!(payload, tar);
    // Few bytes could be the beginning of another member.
    for (behind, reason) in [(&b"gar"[..], Reason::Truncated), (b"garbage of some length", Reason::BadArchive)] {
        let (result, _) = opened(&[&gzip(&tar)[..], behind].concat(), "a.tar.gz", &Limits::default());
        assert_eq!(result.unwrap_err().reason(), reason);
    }
}

#[test]
fn content_in_small_pieces_does_not_hide_what_it_is() {
    let mut evil = Vec::new();
    raw_member(&mut evil, b"../outside", EntryType::Regular, b"1");
    evil.resize(evil.len() + 1024, 0);
    let page = b"<!doctype html><html></html>";
    for (content, reason) in [(&evil[..], Reason::BadArchive), (page, Reason::NotAFeed)] {
        let pieces = [gzip(&content[..4]), gzip(&content[4..])].concat();
        assert_eq!(opened(&pieces, "a.gz", &Limits::default()).0.unwrap_err().reason(), reason);
    }
}
