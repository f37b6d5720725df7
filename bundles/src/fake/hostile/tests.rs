use std::io::{Cursor, Read};

use super::*;
use crate::zip_file::{Rules, ZipFile, ZipFileError};
use crate::{MemberPath, Reasoned, archive, offline_zip};

fn zip(members: &[(&str, &'static [u8])]) -> Vec<u8> {
    let members = members.iter().map(|(name, content)| offline_zip::Member {
        name: MemberPath::parse(name).unwrap(),
        length: content.len() as u64,
        sha256: None,
        open: Box::new(|| Ok(Box::new(*content))),
    });
    let members: Vec<_> = members.collect();
    offline_zip::write(Cursor::new(Vec::new()), &members, &mut |_| {}).unwrap().into_inner()
}

const INDEX: &[u8] = b"<index><entry url='osgroups.tar.gz'/></index>";

/// Zips of the shapes that there are: the deflated member in front, behind, and alone.
fn good() -> [Vec<u8>; 3] {
    [
        zip(&[("bundle.json", INDEX), ("targets/osgroups.tar.gz", b"not really"), ("targets/empty.gz", b"")]),
        zip(&[("osgroups.tar.gz", b"not really"), ("posture-update.xml", INDEX)]),
        zip(&[("posture-update.xml", INDEX)]),
    ]
}

fn both() -> [Rules; 2] {
    [Rules::ours(&Limits::default()), Rules::vendors(&Limits::default())]
}

/// Everything that is in it.
fn read(zip: &[u8], rules: &Rules) -> Result<Vec<(String, Vec<u8>)>, ZipFileError> {
    let mut zip = ZipFile::open(Cursor::new(zip), rules)?;
    let mut all = Vec::new();
    for index in 0..zip.entries().len() {
        let name = zip.entries()[index].name.clone();
        let mut content = Vec::new();
        zip.read(index)?.read_to_end(&mut content).map_err(|error| ZipFileError::within(error).unwrap())?;
        all.push((name, content));
    }
    Ok(all)
}

#[test]
fn a_zip_that_is_put_together_again_is_the_same() {
    for good in good() {
        assert_eq!(Craft::of(&good).bytes(), good);
        for rules in both() {
            read(&good, &rules).unwrap();
        }
    }
}

#[test]
fn each_is_refused_for_its_reason_by_either_rules() {
    for good in good() {
        for hostile in Hostile::ALL {
            let bytes = hostile.from_good(&good);
            for rules in both() {
                let Err(error) = read(&bytes, &rules) else { panic!("{hostile} is taken by {rules:?}") };
                assert_eq!(error.reason(), hostile.reason(), "{hostile}: {error}");
            }
        }
    }
}

/// A refusal of something by chance would hide that the lie itself is taken.
#[test]
fn each_is_refused_for_what_is_wrong_with_it() {
    let messages: Vec<_> = Hostile::ALL
        .iter()
        .map(|hostile| {
            let error = read(&hostile.from_good(&good()[1]), &both()[1]).unwrap_err();
            format!("{hostile}: {error}")
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
}

/// The same reader looks into zips among a feed's archives.
#[test]
fn none_gets_in_as_an_archive_either() {
    let name = crate::FileName::parse("posture-offline.zip").unwrap();
    for hostile in Hostile::ALL {
        let zip = hostile.from_good(&good()[1]);
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        archive::open(&mut Cursor::new(&zip), &name, &Limits::default(), &mut std::io::sink()).unwrap_err();
        archive::unpack(&mut Cursor::new(&zip), &name, &inner, &Limits::default()).unwrap_err();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "{hostile} wrote outside");
    }
}

#[test]
fn names_are_of_one_word_and_no_two_are_alike() {
    let mut names: Vec<_> = Hostile::ALL.iter().map(|hostile| hostile.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Hostile::ALL.len());
    assert!(
        names
            .iter()
            .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit()))
    );
}
