mod damage;
mod large;
mod zippers;

use std::io::Cursor;

use super::*;
use crate::offline_zip::{self, Member};
use crate::{Limits, MemberPath};

/// A zip as bundles are.
fn ours(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members: Vec<_> = members
        .iter()
        .map(|(name, content)| Member {
            name: MemberPath::parse(name).unwrap(),
            length: content.len() as u64,
            sha256: None,
            open: Box::new(move || Ok(Box::new(*content))),
        })
        .collect();
    offline_zip::write(Cursor::new(Vec::new()), &members, &mut |_| {}).unwrap().into_inner()
}

fn both() -> [Rules; 2] {
    [Rules::ours(&Limits::default()), Rules::vendors(&Limits::default())]
}

/// All files that a zip gives to who reads all of it.
fn all<F: Read + Seek>(file: F, rules: &Rules) -> Result<Vec<(String, Vec<u8>)>, ZipFileError> {
    let mut zip = ZipFile::open(file, rules)?;
    let mut all = Vec::new();
    for index in 0..zip.entries().len() {
        let entry = zip.entries()[index].clone();
        let mut content = Vec::new();
        zip.read(index)?.read_to_end(&mut content).map_err(|error| ZipFileError::within(error).unwrap())?;
        assert_eq!(content.len() as u64, entry.length);
        if !entry.is_dir {
            all.push((entry.name, content));
        }
    }
    Ok(all)
}

#[test]
fn what_is_written_is_read() {
    let text = b"<index/>".repeat(10_000);
    let members: [(&str, &[u8]); 4] =
        [("posture-update.xml", &text), ("osgroups.tar.gz", b"bytes"), ("empty", b""), ("metadata/1.root.json", b"{}")];
    let zip = ours(&members);
    for rules in both() {
        let read = all(Cursor::new(&zip), &rules).unwrap();
        assert_eq!(read, members.map(|(name, content)| (name.to_owned(), content.to_vec())));
        let zip = ZipFile::open(Cursor::new(&zip), &rules).unwrap();
        assert_eq!(zip.index_of("empty"), Some(2));
        assert_eq!(zip.index_of("metadata"), None);
    }
    assert!(ZipFile::open(Cursor::new(ours(&[])), &Rules::ours(&Limits::default())).unwrap().entries().is_empty());
}

#[test]
fn there_is_no_other_member() {
    let zip = ours(&[("a", b"1")]);
    let mut zip = ZipFile::open(Cursor::new(zip), &both()[0]).unwrap();
    assert!(matches!(zip.read(1), Err(ZipFileError::NoEntry { index: 1 })));
}

/// Whoever stops at the declared length must not have got something else.
#[test]
fn the_last_piece_comes_only_if_all_of_it_is_right() {
    for name in ["a.gz", "a.xml"] {
        let mut bytes = ours(&[(name, b"0123456789")]);
        let crc = bytes.windows(4).position(|four| four == crc_of(b"0123456789")).unwrap();
        let central = bytes.windows(4).rposition(|four| four == crc_of(b"0123456789")).unwrap();
        for at in [crc, central] {
            bytes[at] ^= 1;
        }
        let mut zip = ZipFile::open(Cursor::new(bytes), &both()[0]).unwrap();
        let mut content = zip.read(0).unwrap();
        let mut buffer = [0; 9];
        content.read_exact(&mut buffer).unwrap();
        for _ in 0..2 {
            let error = ZipFileError::within(content.read(&mut buffer).unwrap_err()).unwrap();
            assert!(matches!(error, ZipFileError::Checksum { .. }), "{error}");
        }
    }
}

fn crc_of(content: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum().to_le_bytes()
}

#[test]
fn limits_are_of_members_of_each_and_of_all() {
    let zeros = vec![0; 2 << 20];
    let bomb = ours(&[("a.xml", &zeros)]);
    let stored = ours(&[("a.gz", &zeros), ("b.gz", &zeros)]);
    let few = Limits { archive_members: 1, ..Limits::default() };
    let small = Limits { payload_bytes: 1 << 20, ..Limits::default() };
    for (zip, limits) in [(&bomb, &Limits::default()), (&stored, &few), (&stored, &small)] {
        for rules in [Rules::ours(limits), Rules::vendors(limits)] {
            let error = ZipFile::open(Cursor::new(zip), &rules).unwrap_err();
            assert_eq!(crate::Reasoned::reason(&error), crate::Reason::TooLarge, "{error}");
        }
    }
    // Of a bundle, all together may be more than a payload may be.
    let limits = Limits { payload_bytes: 3 << 20, ..Limits::default() };
    assert!(ZipFile::open(Cursor::new(&stored), &Rules::ours(&limits)).is_ok());
    assert!(ZipFile::open(Cursor::new(&stored), &Rules::vendors(&limits)).is_err());
}
