use proptest::prelude::*;

use crate::index::{Index, IndexError, Patterns, Reading};
use crate::{Limits, Reason, Reasoned as _};
use url::Url;

fn base() -> Url {
    Url::parse("https://www.example.com/web/secure/spa/posture-update.xml").unwrap()
}

fn try_read(xml: &str) -> Result<Index, IndexError> {
    Index::read(xml.as_bytes(), &base(), &Patterns::default(), &Limits::default())
}

/// How it was read, and each entry with its component and the last part of its URL.
fn read(xml: &str) -> (Reading, Vec<String>) {
    let index = try_read(xml).unwrap();
    let shown = index.entries.iter().map(|entry| {
        assert_eq!(entry.version, None);
        let url = entry.url.as_str();
        format!("{} {} {}", entry.component, entry.name, url.rsplit_once("spa/").map_or(url, |(_, last)| last))
    });
    (index.reading, shown.collect())
}

#[track_caller]
fn assert_found(xml: &str, expected: &[&str]) {
    assert_eq!(read(xml), (Reading::LocatorsOnly, expected.iter().map(ToString::to_string).collect()), "{xml}");
}

#[test]
fn lists_sentences_scripts_and_queries_give_their_locators() {
    let both = ["supported-os osgroups.tar.gz osgroups.tar.gz", "av-as-chart-windows win.zip win.zip"];
    for xml in [
        "<f><files>osgroups.tar.gz win.zip</files></f>",
        "<f files='osgroups.tar.gz;win.zip'/>",
        "<f><files>osgroups.tar.gz<br/>win.zip</files></f>",
        "<f>Today: osgroups.tar.gz, and (new) win.zip.</f>",
        "<f><![CDATA[{\"files\": [\"osgroups.tar.gz\", {\"name\":\"win.zip\"}]}]]></f>",
        "<f><row>1|osgroups.tar.gz|297.0.0.0</row><row>2|win.zip|3</row></f>",
        "<f><p>file=osgroups.tar.gz size=12</p><p>file=win.zip size=13</p></f>",
    ] {
        assert_found(xml, &both);
    }
    assert_found(
        "<f><u>https://h/get?x=1&amp;f=osgroups.tar.gz</u><u>https://h/get?x=2&amp;f=x1.zip</u></f>",
        &[
            "supported-os osgroups.tar.gz https://h/get?x=1&f=osgroups.tar.gz",
            "other-x1 x1.zip https://h/get?x=2&f=x1.zip",
        ],
    );
    assert_found("<f><linux>a.gz b.gz</linux></f>", &["av-as-chart-linux a.gz a.gz", "av-as-chart-linux b.gz b.gz"]);
}

#[test]
fn beside_entries_only_lists_are_taken() {
    let entry = "<c url='win.gz' version='2.0'/>";
    let index = try_read(&format!("<f>{entry}<more>osgroups.gz osgroupsV2.gz</more></f>")).unwrap();
    assert_eq!(index.reading, Reading::Partly);
    assert_eq!(index.entries.len(), 3);
    let index = try_read(&format!("<f>{entry}<note>Replaces old.tar.gz of 1.2.3, see https://h/x</note></f>")).unwrap();
    assert_eq!((index.reading, index.entries.len()), (Reading::Entries, 1));
    let unused: Vec<_> = index.unused.iter().map(|unused| (unused.kind.as_str(), unused.value.as_str())).collect();
    assert_eq!(unused, [("locator", "old.tar.gz"), ("version", "1.2.3"), ("locator", "https://h/x")]);
    assert!(index.unused.iter().all(|unused| unused.why == Some("it stands among other words")));
    assert_eq!(index.unused[0].element, "f/note");
}

#[test]
fn what_was_found_is_no_longer_unused_and_mirrors_are_one_file() {
    let index = try_read("<f><u>https://h/get?f=win.gz</u></f>").unwrap();
    assert_eq!((index.reading, index.unused.len()), (Reading::LocatorsOnly, 0));
    let index = try_read("<f><u>https://a/win.gz https://b/win.gz</u></f>").unwrap();
    assert_eq!(index.entries.len(), 1);
    assert_eq!(index.entries[0].url.host_str(), Some("a"));
}

#[test]
fn a_page_an_error_and_another_document_stay_what_they_are() {
    for xml in [
        "<html><body>conditions.tar.gz osgroups.tar.gz</body></html>",
        "conditions.tar.gz osgroups.tar.gz",
        "<f>conditions.tar.gz osgroups.tar.gz",
        "<error><message>File /web/secure/spa/posture-update.xml not found, see https://h/help.xml</message></error>",
        "<f>ftp://h/a.gz ftp://h/b.gz</f>",
    ] {
        assert_eq!(try_read(xml).unwrap_err().reason(), Reason::NotAFeed, "{xml}");
    }
}

#[test]
fn limits_hold_among_words() {
    let limits = Limits { index_entries: 3, ..Limits::default() };
    for xml in ["<f>a.gz b.gz c.gz d.gz</f>", "<f><c url='a.gz'/><c url='b.gz'/><l>c.gz d.gz</l></f>"] {
        let error = Index::read(xml.as_bytes(), &base(), &Patterns::default(), &limits).unwrap_err();
        assert_eq!(error.reason(), Reason::TooLarge, "{xml}");
    }
}

fn rewrite(xml: &str, url: &str) -> String {
    let mut url_for = |entry: &crate::index::Entry| format!("{url}{}", entry.name);
    let written =
        Index::rewrite(xml.as_bytes(), &base(), &Patterns::default(), &Limits::default(), &mut url_for).unwrap();
    String::from_utf8(written).unwrap()
}

#[test]
fn only_the_locators_are_rewritten() {
    let xml = |a: &str, b: &str| format!("<f x='1'> Get <![CDATA[{a}, ]]> now;\n and file={b}. <!-- c.gz --></f>");
    assert_eq!(rewrite(&xml("a.gz", "b&#46;gz"), "https://m/?r&"), xml("https://m/?r&a.gz", "https://m/?r&amp;b.gz"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_words_read_or_not_and_what_reads_rewrites(
        words in prop::collection::vec(prop::sample::select(vec![
            "a.gz", "https://h/b.zip", "x=", "?f=c.tar", "&amp;", "&#46;", ";", ",", ".", "<![CDATA[", "]]>", "d.xml", " ",
            "<g>", "</g>", "<c url='e.gz'/>", "é", "\u{85}", "1.2.3", "=", "<!-- -->", "//", "'", "\"",
        ]), 0..30),
    ) {
        let xml = format!("<f>{}</f>", words.concat());
        if let Ok(index) = try_read(&xml) {
            let written = rewrite(&xml, "https://mirror.example/");
            // Whatever else stands around them, nobody is sent to the vendor any more.
            for entry in &index.entries {
                let url = format!("https://mirror.example/{}", entry.name);
                prop_assert!(written.contains(&url), "{url} is not in {written}");
            }
        }
    }
}
