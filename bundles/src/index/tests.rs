use proptest::prelude::*;

use super::*;
use crate::Reasoned;

const BASE: &str = "https://www.example.com/web/secure/spa/posture-update.xml";
const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn base() -> Url {
    Url::parse(BASE).unwrap()
}

fn try_read(xml: impl AsRef<[u8]>) -> Result<Index, IndexError> {
    Index::read(xml.as_ref(), &base(), &Patterns::default(), &Limits::default())
}

fn read(xml: impl AsRef<[u8]>) -> Index {
    try_read(xml).unwrap()
}

/// An entry in one line: component, version, name, size, checksum's first letters.
fn lines(index: &Index) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    index
        .entries
        .iter()
        .map(|entry| {
            format!(
                "{} {} {} {} {}",
                entry.component,
                or_dash(entry.version.as_ref().map(ToString::to_string)),
                entry.name,
                or_dash(entry.size.map(|size| size.to_string())),
                or_dash(entry.checksum.as_ref().map(|checksum| checksum.to_string()[..8].to_owned())),
            )
        })
        .collect()
}

#[track_caller]
fn assert_lines(xml: &str, expected: &[&str]) {
    assert_eq!(lines(&read(xml)), expected);
}

#[test]
fn attributes_and_elements_are_read_alike() {
    assert_lines(
        &format!(
            r#"<f><c name="conditions" version="300418.0.0.0" url="https://h/x.tar.gz" md5="{MD5}" size="12"/></f>"#
        ),
        &["conditions 300418.0.0.0 x.tar.gz 12 md5:d41d"],
    );
    assert_lines(
        &format!(
            "<f><c><name>conditions</name><version>300418.0.0.0</version><url>x.tar.gz</url>\
             <checksum>sha256:{SHA256}</checksum><length>12</length></c></f>"
        ),
        &["conditions 300418.0.0.0 x.tar.gz 12 sha256:e"],
    );
}

#[test]
fn entries_know_where_they_stand_and_what_they_resolve_to() {
    let index = read("<?xml version='1.0'?>\n<feed>\n <component>\n  <url>../osgroups.tar.gz</url></component></feed>");
    let entry = &index.entries[0];
    assert_eq!((entry.element.as_str(), entry.line), ("feed/component", 4));
    assert_eq!(entry.locator, "../osgroups.tar.gz");
    assert_eq!(entry.url.as_str(), "https://www.example.com/web/secure/osgroups.tar.gz");
    assert_eq!(index.root, "feed");
    assert_eq!(index.hosts().into_iter().collect::<Vec<_>>(), ["www.example.com"]);
}

#[test]
fn namespaces_and_letter_case_do_not_matter() {
    assert_lines(
        &format!(
            r#"<p:FEED xmlns:p="http://x/y.zip"><p:Chart OS="Windows" p:URL="x1.TAR.GZ" p:VERSION="297.0.0.0" MD5="{}"/></p:FEED>"#,
            MD5.to_uppercase()
        ),
        &["av-as-chart-windows 297.0.0.0 x1.TAR.GZ - md5:d41d"],
    );
}

#[test]
fn cdata_entities_and_comments_are_text() {
    let index = read(
        "<f><c><url> <![CDATA[https://h/a.zip?x=1&y=2]]> </url></c>\
         <c><url>https://h/b&#46;zip?x=1&amp;y=2</url><version>1<!-- no -->.5</version></c></f>",
    );
    assert_eq!(index.entries[0].url.as_str(), "https://h/a.zip?x=1&y=2");
    assert_eq!(index.entries[1].url.as_str(), "https://h/b.zip?x=1&y=2");
    assert_eq!(index.entries[1].version.as_ref().unwrap().to_string(), "1.5");
}

#[test]
fn attributes_elements_and_own_text_mix() {
    assert_lines(
        &format!(r#"<f><c version="5.1" type="linux"><url>a.tgz</url>{}<md5>{MD5}</md5></c></f>"#, "\n"),
        &["av-as-chart-linux 5.1 a.tgz - md5:d41d"],
    );
    assert_lines(&format!("<f><linux>a.tgz<md5>{MD5}</md5></linux></f>"), &["av-as-chart-linux - a.tgz - md5:d41d"]);
    assert_lines(r#"<f><c href="a.zip">7.1</c></f>"#, &["other-a 7.1 a.zip - -"]);
}

#[test]
fn several_locators_in_one_element_share_version_and_names_but_no_checksum() {
    let index = read(format!(
        "<f><os><version>101.6.3.0</version><url>osgroups.tar.gz</url><url>osgroupsV2.tar.gz</url><md5>{MD5}</md5></os></f>"
    ));
    assert_eq!(
        lines(&index),
        ["supported-os 101.6.3.0 osgroups.tar.gz - -", "supported-os 101.6.3.0 osgroupsV2.tar.gz - -"]
    );
    assert_eq!(index.unused.len(), 1);
    assert_eq!((index.unused[0].kind, index.unused[0].element.as_str()), (UnusedKind::Digest, "f/os/md5"));
}

#[test]
fn a_child_with_promises_of_its_own_is_an_entry_of_its_own() {
    let index = read(format!(
        r#"<f><os version="101.6.3.0">
             <file md5="{MD5}" size="1">osgroups.tar.gz</file>
             <file md5="{MD5}" size="2">osgroupsV2.tar.gz</file>
             <note>nothing</note>
           </os></f>"#
    ));
    assert_eq!(
        lines(&index),
        ["supported-os 101.6.3.0 osgroups.tar.gz 1 md5:d41d", "supported-os 101.6.3.0 osgroupsV2.tar.gz 2 md5:d41d"]
    );
    assert_eq!(index.entries[0].element, "f/os/file");
    assert!(index.unused.is_empty(), "{:?}", index.unused);
}

#[test]
fn a_version_around_entries_counts_where_they_are_one_component() {
    let two = |inner: &str| format!(r#"<f version="1.0"><g version="7.2">{inner}</g></f>"#);
    assert_lines(
        &two(r#"<x url="osgroups.gz"/><x url="osgroupsV2.gz"/>"#),
        &["supported-os 7.2 osgroups.gz - -", "supported-os 7.2 osgroupsV2.gz - -"],
    );
    let index = read(two(r#"<x url="osgroups.gz"/><x url="win.gz"/>"#));
    assert!(index.entries.iter().all(|entry| entry.version.is_none()));
    let unused: Vec<_> = index.unused.iter().map(|unused| format!("{} {}", unused.element, unused.value)).collect();
    assert_eq!(unused, ["f/@version 1.0", "f/g/@version 7.2"]);
}

#[test]
fn a_root_version_is_the_formats() {
    let index = read(r#"<feed version="1.0"><win>a.gz</win><linux>b.gz</linux></feed>"#);
    assert_eq!(lines(&index), ["av-as-chart-windows - a.gz - -", "av-as-chart-linux - b.gz - -"]);
    assert_lines(r#"<chart version="7" url="win.gz"/>"#, &["av-as-chart-windows 7 win.gz - -"]);
}

#[test]
fn versions_that_could_be_anyones_are_nobodys() {
    let index = read("<f><g><aVersion>1.1</aVersion><a>a.gz</a><bVersion>2.2</bVersion><b>b.gz</b></g></f>");
    assert_eq!(lines(&index), ["other-a - a.gz - -", "other-b - b.gz - -"]);
    assert_eq!(index.unused.len(), 2);
    assert_lines(r#"<f><c url="a.gz" minVersion="1.0" chartVersion="2.0" version="3"/></f>"#, &["other-a 3 a.gz - -"]);
}

#[test]
fn names_are_locators_only_where_there_is_no_better_one() {
    assert_lines(
        r#"<f><c name="osgroups.tar.gz" url="https://h/d/osgroups.tar.gz"/></f>"#,
        &["supported-os - osgroups.tar.gz - -"],
    );
    assert_lines(r#"<f><c name="osgroups.tar.gz"/></f>"#, &["supported-os - osgroups.tar.gz - -"]);
    let index = read(r#"<f><c name="osgroups.tar.gz" url="https://h/get?id=5" size="3"/></f>"#);
    assert_eq!(index.entries[0].url.as_str(), "https://h/get?id=5");
    assert_eq!(index.entries[0].name.as_str(), "osgroups.tar.gz");
}

#[test]
fn any_url_or_file_is_a_locator_beside_a_promise() {
    assert_lines(r#"<f><c file="data.bin" size="3"/></f>"#, &["other-data.bin - data.bin 3 -"]);
    assert_lines(&format!("<f><c md5='{MD5}'>https://h/data</c></f>"), &["other-data - data - md5:d41d"]);
    assert!(matches!(try_read(r#"<f><c file="data.bin"/></f>"#), Err(IndexError::NoEntries { .. })));
    let endless = format!("<f><c file='{}.gz'/></f>", "x".repeat(5_000));
    assert!(matches!(try_read(endless), Err(IndexError::NoEntries { .. })));
}

#[test]
fn the_strongest_checksum_is_taken() {
    let index = read(format!(r#"<f><c url="a.gz" md5="{MD5}" sha256="{SHA256}"/></f>"#));
    assert_eq!(lines(&index), ["other-a - a.gz - sha256:e"]);
    assert_eq!(index.unused.len(), 1);
}

#[test]
fn mirrors_in_one_element_are_one_file() {
    let index = read("<f><c><url>https://a/x.gz</url><mirror>https://b/x.gz</mirror></c></f>");
    assert_eq!(index.entries.len(), 1);
    assert_eq!(index.entries[0].url.as_str(), "https://a/x.gz");
    assert_eq!(index.unused[0].value, "https://b/x.gz");
}

#[test]
fn the_index_itself_schemas_and_namespaces_are_no_entries() {
    let index = read(format!(
        r#"<f xmlns="http://x/ns.xml" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
            xsi:schemaLocation="http://x/y.xml" xsi:noNamespaceSchemaLocation="y.xml" self="{BASE}#top"
            xml:base="https://elsewhere/"><self>posture-update.xml</self><c url="win.gz"/></f>"#
    ));
    assert_eq!(lines(&index), ["av-as-chart-windows - win.gz - -"]);
    let unused: Vec<_> = index.unused.iter().map(|unused| unused.element.as_str()).collect();
    assert_eq!(unused, ["f/@self", "f/@xml:base", "f/self"]);
    assert_eq!(index.entries[0].url.host_str(), Some("www.example.com"));
}

#[test]
fn what_was_not_used_is_told() {
    let index = read(format!(
        r#"<f base="https://elsewhere/feed/" schema="2.0"><c url="a.gz"/><d><x>{SHA256}</x><y>9.9.9</y><z>words</z></d></f>"#
    ));
    let unused: Vec<_> = index.unused.iter().map(|u| format!("{} {}", u.kind.as_str(), u.element)).collect();
    assert_eq!(unused, ["locator f/@base", "version f/@schema", "digest f/d/x", "version f/d/y"]);
}

#[test]
fn the_same_url_twice_is_one_entry_and_must_not_contradict_itself() {
    assert_lines(r#"<f><c url="a.gz" version="1.0"/><c url="a.gz" size="5"/></f>"#, &["other-a 1.0 a.gz 5 -"]);
    for (one, other) in [("size='5'", "size='6'"), ("version='1'", "version='2'")] {
        let error = try_read(format!("<f><c url='a.gz' {one}/><c url='a.gz' {other}/></f>")).unwrap_err();
        assert!(matches!(error, IndexError::Contradiction { .. }), "{error}");
    }
    assert_lines(
        r#"<f><mac url="a.gz"/><linux url="a.gz"/></f>"#,
        &["av-as-chart-macosx - a.gz - -", "av-as-chart-linux - a.gz - -"],
    );
}

#[test]
fn two_files_of_one_name_are_refused() {
    for xml in [
        "<f><c url='a/x.gz'/><c url='b/X.GZ'/></f>",
        "<f><c url='https://a/x.gz'/><c url='https://b/x.gz'/></f>",
        "<f><c url='old/posture-update.xml'/></f>",
    ] {
        assert!(matches!(try_read(xml), Err(IndexError::SameName { .. })), "{xml}");
    }
}

#[test]
fn what_is_no_feed_is_told_apart() {
    let page =
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\"><html><head><meta charset=utf-8><title>Sign in</title>";
    for (bytes, expected) in [
        (page, "HTML page"),
        ("<HTML><body>Proxy error</body></HTML>", "HTML page"),
        ("", "no element"),
        ("Not found", "outside of the root"),
        ("{\"error\": 404}", "outside of the root"),
        ("<f><c url='a.gz'/></f><f/>", "second root"),
        ("<f><c url='a.gz'/>", "never ends"),
        ("<f><c url='a.gz'/></g>", "not XML"),
        ("<f><c url='a.gz' url='b.gz'/></f>", "not XML"),
        ("<f><c url=a.gz/></f>", "not XML"),
        ("<f><c name='x'/></f>", "names no archive"),
        ("<f><c url='ftp://h/a.gz'/></f>", "\"ftp\" is neither"),
        ("<f><c url='file:///etc/a.gz'/></f>", "\"file\" is neither"),
        ("<f><c url='C:\\a.gz'/></f>", "\"c\" is neither"),
        ("<f><c url='https://h:99999/a.gz'/></f>", "no URL"),
        ("<f><c url='x/..%2f.gz'/></f>", "no file name"),
        ("<?xml version='1.0' encoding='x-klingon'?><f/>", "no known encoding"),
    ] {
        let error = try_read(bytes).unwrap_err();
        assert!(error.to_string().contains(expected), "{bytes}: {error}");
        assert_eq!(error.reason(), crate::Reason::NotAFeed);
    }
    assert!(matches!(try_read(b"<f>\xff</f>"), Err(IndexError::Undecodable { encoding: "UTF-8" })));
    assert!(matches!(try_read(b"\x1f\x8b\x08\0\0"), Err(IndexError::Compressed)));
}

#[test]
fn nothing_is_expanded() {
    let laughs = r#"<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>
        <lolz><c url="a.gz">&lol2;</c></lolz>"#;
    assert!(matches!(try_read(laughs), Err(IndexError::Entity { name, line: 2 }) if name == "lol2"));
    let external = r#"<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]><f><c url="a&x;.gz"/></f>"#;
    assert!(matches!(try_read(external), Err(IndexError::Entity { name, .. }) if name == "x"));
    // An entity that nobody uses harms nobody.
    assert_lines("<!DOCTYPE f [<!ENTITY x 'y'>]><f><c url='a.gz'/></f>", &["other-a - a.gz - -"]);
}

#[test]
fn limits_hold() {
    let limits = Limits { index_bytes: 10_000, index_entries: 3, index_depth: 4, ..Limits::default() };
    let error = |xml: String| {
        let error = Index::read(xml.as_bytes(), &base(), &Patterns::default(), &limits).unwrap_err();
        assert_eq!(error.reason(), crate::Reason::TooLarge, "{error}");
        error.to_string()
    };
    let entries = |count: usize| (0..count).map(|n| format!("<c url='a{n}.gz'/>")).collect::<String>();
    assert!(error(format!("<f>{}</f>", entries(4))).contains("3 entries"));
    assert!(
        error(format!(
            "<f>{}</f>",
            entries(4).replace("c url=", "").replace("/>", "</c>").replace("<'", "<c>").replace("'<", "<")
        ))
        .contains("3 entries")
    );
    assert!(error(format!("<f>{}{}</f>", "<d>".repeat(4), "</d>".repeat(4))).contains("4 levels"));
    assert!(error(format!("<f>{}</f>", " ".repeat(10_000))).contains("10000 bytes"));
    let attributes: String = (0..300).map(|n| format!(" a{n}=''")).collect();
    assert!(error(format!("<f{attributes}/>")).contains("256 attributes"));
    assert!(Index::read(format!("<f>{}</f>", entries(3)).as_bytes(), &base(), &Patterns::default(), &limits).is_ok());
}

fn in_utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

#[test]
fn encodings_are_found_by_mark_or_declaration() {
    let xml = "<?xml version=\"1.0\" encoding=\"UTF-16\"?><f><c name=\"Müller\" url=\"win.gz\"/></f>";
    let mut marked = vec![0xff, 0xfe];
    marked.extend(in_utf16(xml, false));
    for (bytes, encoding) in [
        (marked, "UTF-16LE"),
        (in_utf16(xml, false), "UTF-16LE"),
        (in_utf16(xml, true), "UTF-16BE"),
        // A string that was declared before it was saved otherwise.
        (xml.as_bytes().to_vec(), "UTF-8"),
        (format!("\u{feff}{xml}").into_bytes(), "UTF-8"),
        (
            b"<?xml version='1.0' encoding = 'ISO-8859-1' ?><f><c name='M\xfcller' url='win.gz'/></f>".to_vec(),
            "windows-1252",
        ),
    ] {
        let index = read(&bytes);
        assert_eq!(index.encoding, encoding);
        assert_eq!(lines(&index), ["av-as-chart-windows - win.gz - -"]);
        let written = rewrite(&bytes, &mut |_| "https://mirror/win.gz".to_owned());
        let text = String::from_utf8(written.clone()).unwrap();
        assert!(text.contains("Müller") && text.contains("https://mirror/win.gz"), "{text}");
        assert_eq!(read(written).entries[0].url.as_str(), "https://mirror/win.gz");
        assert_eq!(text.contains("UTF-8"), encoding != "UTF-8", "{text}");
    }
}

fn rewrite(xml: impl AsRef<[u8]>, url_for: &mut dyn FnMut(&Entry) -> String) -> Vec<u8> {
    Index::rewrite(xml.as_ref(), &base(), &Patterns::default(), &Limits::default(), url_for).unwrap()
}

#[test]
fn rewriting_touches_the_locators_and_nothing_else() {
    let url = "https://m/r/1/{}?a=1&b=<2>\"'";
    let escaped = "https://m/r/1/{}?a=1&amp;b=&lt;2&gt;&quot;&apos;";
    let xml = |a: &str, b: &str, c: &str, d: &str| {
        format!(
            "<?xml version='1.0'?>\r\n<!-- a.gz -->\t<f at='a.gz is here' ><c  url = ' {a} ' name='a.gz'/>\
             <c>\r\n <url> {b} </url></c><c><url><![CDATA[ {c} ]]></url></c><c><u>{d}</u></c>&#65;</f>\n"
        )
    };
    let fill = |name: &str| escaped.replace("{}", name);
    let written = rewrite(xml("a.gz", "../b&#46;gz", "c.gz", "https://h/<![CDATA[d.]]>gz"), &mut |entry| {
        url.replace("{}", entry.name.as_str())
    });
    let expected = xml(&fill("a.gz"), &fill("b.gz"), &url.replace("{}", "c.gz"), &fill("d.gz"));
    assert_eq!(String::from_utf8(written).unwrap(), expected);
}

#[test]
fn every_place_of_a_file_is_rewritten() {
    let written = rewrite(
        "\u{feff}<f><c url='a.gz'/><c url='a.gz'/><mac url='b.gz'/><linux url='b.gz'/>\
         <c><u>https://x/c.gz</u><v>https://y/c.gz</v></c></f>",
        &mut |entry| format!("/n/{}", entry.name),
    );
    assert_eq!(
        String::from_utf8(written).unwrap(),
        "\u{feff}<f><c url='/n/a.gz'/><c url='/n/a.gz'/><mac url='/n/b.gz'/><linux url='/n/b.gz'/>\
         <c><u>/n/c.gz</u><v>/n/c.gz</v></c></f>"
    );
}

/// Bits of XML, good and bad, so that soups of them get past the first bracket.
fn soup() -> impl Strategy<Value = String> {
    let bit = prop::sample::select(vec![
        "<f>",
        "</f>",
        "<c ",
        "/>",
        ">",
        "<url>",
        "</url>",
        "url='",
        "'",
        "\"",
        "a.tar.gz",
        "https://h/b.zip",
        "../",
        "version='1.2'",
        "md5='",
        MD5,
        "<![CDATA[",
        "]]>",
        "&amp;",
        "&x;",
        "&#0;",
        "<!--",
        "-->",
        "<?xml ",
        "?>",
        "<!DOCTYPE f [",
        "]>",
        "é",
        "\u{feff}",
        " ",
        "size='9'",
        "xml:base='x'",
        "<a:b xmlns:a='q'>",
        "</a:b>",
        "=",
        "encoding='utf-16'",
        "\u{85}",
        "[",
        "&#x41;",
        "&",
    ]);
    prop::collection::vec(bit, 0..40).prop_map(|bits| bits.concat())
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z][a-zA-Z0-9]{0,8}"
}

prop_compose! {
    /// A well-formed entry in one of several shapes, with its file's name.
    fn entry()(
        shape in 0..5_u8, name in "[a-z]{6,10}", version in "[1-9][0-9]{0,4}\\.[0-9]{1,3}",
        field in prop::sample::select(vec!["url", "href", "File", "ns:location"]),
        noise in "[ a-zA-Zéß,]{0,12}", quote in prop::sample::select(vec!["'", "\""]), space in "[ \t\n]{0,2}",
    ) -> (String, String, String) {
        let file = format!("{name}.tar.gz");
        let xml = match shape {
            0 => format!("<c note={quote}{noise}{quote} {field}={quote}{space}{file}{quote} version='{version}'/>"),
            1 => format!("<c><{field}>{space}{file}{space}</{field}><v>{version}</v><n>{noise}</n></c>"),
            2 => format!("<c><version><![CDATA[{version}]]></version><{field}><![CDATA[{space}{file}]]></{field}></c>"),
            3 => format!("<c><!-- {noise} --><{field} version='{version}'>{file}</{field}>{noise}</c>"),
            _ => format!("<c>{space}{file}<version>{version}</version></c>"),
        };
        (xml, file, version)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = try_read(&bytes);
    }

    #[test]
    fn soups_of_xml_never_panic_and_what_reads_rewrites(soup in soup(), wrap in any::<bool>()) {
        let xml = if wrap { format!("<f>{soup}<c url='z.gz'/></f>") } else { soup };
        if let Ok(index) = try_read(&xml) {
            let written = rewrite(&xml, &mut |entry| entry.url.to_string());
            let again = try_read(&written).unwrap();
            let urls = |index: &Index| index.entries.iter().map(|entry| entry.url.clone()).collect::<Vec<_>>();
            prop_assert_eq!(urls(&index), urls(&again));
        }
    }

    #[test]
    fn entries_of_any_shape_are_read_and_rewritten(
        entries in prop::collection::vec(entry(), 1..8), root in word(), from in "[a-z]{3,8}",
    ) {
        let mut names: Vec<_> = entries.iter().map(|(_, file, _)| file.clone()).collect();
        names.sort();
        names.dedup();
        prop_assume!(names.len() == entries.len() && !["html", "head", "body"].contains(&root.to_lowercase().as_str()));
        let body: String = entries.iter().map(|(xml, ..)| format!("{xml}\n")).collect();
        let xml = format!("<{root} xmlns:ns='urn:x'>{body}</{root}>");
        let index = read(&xml);
        prop_assert_eq!(index.entries.len(), entries.len());
        for (entry, (_, file, version)) in index.entries.iter().zip(&entries) {
            prop_assert_eq!(entry.name.as_str(), file);
            prop_assert_eq!(&entry.version.as_ref().unwrap().to_string(), version);
        }
        let written = rewrite(&xml, &mut |entry| format!("https://{from}/{}", entry.name));
        let again = read(&written);
        for entry in &again.entries {
            prop_assert_eq!(entry.url.as_str(), format!("https://{from}/{}", entry.name));
        }
        // Put back, nothing else has changed.
        let back = rewrite(&written, &mut |entry| entry.name.to_string());
        prop_assert_eq!(String::from_utf8(back).unwrap(), xml);
    }
}
