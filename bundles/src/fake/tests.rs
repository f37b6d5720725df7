use std::io::{Cursor, Read};

use proptest::prelude::*;

use super::*;
use crate::index::{Index, Patterns};
use crate::{Limits, Version, archive};

fn base() -> Url {
    Url::parse("https://feed.example/web/secure/spa/posture-update.xml").unwrap()
}

fn dialects() -> impl Iterator<Item = Options> {
    Dialect::ALL.into_iter().map(|dialect| Options { dialect, ..Options::small() })
}

#[test]
fn an_index_reads_back_to_the_editions_versions() {
    for options in dialects() {
        for edition in [Edition::before(), Edition::after(), Edition::after().next()] {
            let feed = Feed::make(&edition, &options);
            let index = Index::read(&feed.index(&base()), &base(), &Patterns::default(), &Limits::default()).unwrap();
            let versions: BTreeMap<Component, Option<Version>> =
                index.entries.iter().map(|entry| (entry.component.clone(), entry.version.clone())).collect();
            let given = |version: &Version| options.dialect.gives_versions().then(|| version.clone());
            let expected = edition.versions.iter().map(|(component, version)| (component.clone(), given(version)));
            assert_eq!(versions, expected.collect(), "{:?}", options.dialect);
            assert_eq!(index.reading.is_unknown_dialect(), options.dialect == Dialect::Listed, "{:?}", options.dialect);
            let names: Vec<_> = index.entries.iter().map(|entry| entry.name.clone()).collect();
            assert_eq!(names.len(), 6);
            for entry in index.entries {
                let bytes = &feed.files[&entry.name];
                assert!(entry.size.is_none_or(|size| size == bytes.len() as u64));
                if let Some(checksum) = entry.checksum {
                    let mut verifier = checksum.verifier();
                    verifier.update(bytes);
                    assert_eq!(verifier.finish(), Ok(()));
                }
                assert_eq!(entry.url, base().join(entry.name.as_str()).unwrap());
            }
        }
    }
}

#[test]
fn archives_open_and_their_own_version_is_not_the_charts() {
    let feed = Feed::make(&Edition::after(), &Options::default());
    for (name, bytes) in &feed.files {
        let mut payload = Vec::new();
        let opened =
            archive::open(&mut Cursor::new(bytes), name, &Limits::default(), &mut payload).unwrap_or_else(|error| {
                panic!("{name}: {error}");
            });
        assert!(opened.compressed);
        let is_chart = name.as_str().starts_with("avchart");
        assert_eq!(opened.version.is_some(), is_chart, "{name}");
        if let Some(version) = opened.version {
            assert!(version.to_string().starts_with("4.3."), "{version}");
        }
        let into = tempfile::tempdir().unwrap();
        let payload = archive::unpack(&mut Cursor::new(payload), &opened.payload.name, into.path(), &Limits::default());
        let paths = payload.unwrap();
        assert_eq!(paths.len() as u64, opened.members);
        let has_defaults = paths.iter().any(|path| path.ends_with("defaults/policies.xml"));
        assert_eq!(has_defaults, name.as_str() == "conditions.tar.gz");
        for path in paths {
            let text = std::fs::read_to_string(into.path().join(&path)).unwrap();
            let mut reader = quick_xml::Reader::from_str(&text);
            while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
        }
    }
}

#[test]
fn names_are_those_of_the_vendors_documents() {
    let member = |path: &str| {
        let members = conditions::members(&Edition::before());
        members
            .into_iter()
            .find(|(member, _)| member == path)
            .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
            .unwrap()
    };
    let (checks, rules) = (member("checks.xml"), member("rules.xml"));
    assert!(checks.contains("name=\"pc_Hotfix") && rules.contains("pr_AutoUpdateCheck_Rule"));
    // Every check that a rule names exists.
    for name in rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("pc_")) {
        assert!(checks.contains(&format!("name=\"{name}\"")), "{name}");
    }
    assert!(member("defaults/requirements.xml").contains("ANY_am_win_inst"));
}

#[test]
fn the_documented_editions_follow_each_other() {
    assert_eq!(Edition::before().next(), Edition::after());
    assert_eq!(Edition::before().versions[&Component::Conditions].to_string(), "280052.0.0.0");
    assert_eq!(Edition::after().versions[&Component::SupportedOs].to_string(), "101.6.3.0");
    let mut edition = Edition::before();
    for number in 1..10 {
        assert_eq!(edition.number(), number);
        let next = edition.next();
        for (component, version) in &next.versions {
            assert_ne!(version, &edition.versions[component]);
            assert!(!version.is_rollback_from(&edition.versions[component]), "{component}");
        }
        edition = next;
    }
}

#[test]
fn the_default_feed_is_of_realistic_size() {
    let chart = charts::windows(&Edition::after(), Options::default().rows);
    let rows = chart.matches("<Support ").count();
    assert!((5_000..5_100).contains(&rows), "{rows}");
    assert!((2_500_000..4_000_000).contains(&chart.len()), "{}", chart.len());
    let packed = pack::tar_gz(&[("x".to_owned(), chart.clone().into_bytes())], 0);
    let ratio = chart.len() / packed.len();
    assert!((15..60).contains(&ratio), "{ratio}");
}

#[test]
fn few_rows_change_from_an_edition_to_the_next() {
    let rows = |edition: &Edition| -> std::collections::HashSet<String> {
        charts::windows(edition, 5_000).lines().map(str::to_owned).collect()
    };
    let (old, new) = (rows(&Edition::after()), rows(&Edition::after().next()));
    let changed = new.difference(&old).count();
    assert!((4..100).contains(&changed), "{changed}");
}

#[test]
fn content_changes_with_every_edition_and_with_nothing_else() {
    let (first, again) =
        (Feed::make(&Edition::before(), &Options::small()), Feed::make(&Edition::before(), &Options::small()));
    assert_eq!(first, again);
    let second = Feed::make(&Edition::after(), &Options::small());
    for (name, bytes) in &first.files {
        assert_ne!(bytes, &second.files[name], "{name}");
    }
}

#[test]
fn real_charts_take_the_place_of_made_ones() {
    let chart = RealChart {
        component: Component::AvAsChartLinux,
        member: file_name("Linux_ANTIMALWARE.xml"),
        first: b"<one/>\n".to_vec(),
        second: b"<two/>\n".to_vec(),
    };
    let options = Options { charts: vec![chart], ..Options::small() };
    let content = |edition: &Edition| {
        let feed = Feed::make(edition, &options);
        let gzip = flate2::read::GzDecoder::new(feed.files[&file_name("avchart-linux.tar.gz")].as_slice());
        let mut tar = tar::Archive::new(gzip);
        let mut member = tar.entries().unwrap().next().unwrap().unwrap();
        let mut text = String::new();
        member.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(content(&Edition::before()), "<one/>\n");
    assert_eq!(content(&Edition::after()), "<two/>\n");
    assert_eq!(content(&Edition::after().next()), "<two/>\n<!-- edition 3 -->\n");
}

proptest! {
    #[test]
    fn padding_does_not_compress(padding in 1_u64..200_000) {
        let feed = Feed::make(&Edition::before(), &Options { padding, ..Options::small() });
        let length = feed.files[&file_name("conditions.tar.gz")].len() as u64;
        prop_assert!((padding..padding + 20_000).contains(&length), "{}", length);
    }
}
