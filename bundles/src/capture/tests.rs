use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::index::{Index, Patterns};

fn exchange(url: &str, body: Option<Body>) -> Exchange {
    let url: Url = url.parse().unwrap();
    let header = Header { name: "etag".to_owned(), value: "\"1\"".to_owned() };
    Exchange { found: url.clone(), url, redirects: vec![], request: vec![], status: 200, headers: vec![header], body }
}

fn body(path: &str, bytes: &[u8]) -> Body {
    Body { path: path.to_owned(), length: bytes.len() as u64, sha256: Digest::of(bytes), is_whole: true }
}

fn capture(index: &[u8], archive: &[u8]) -> Capture {
    let facts = serde_json::json!({ "subject": "CN=x" });
    Capture {
        format: FORMAT,
        made_by: "test".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        shape_only: false,
        index: exchange("https://h/web/posture-update.xml", Some(body("index/body", index))),
        archives: vec![exchange("https://h/web/a.tar.gz", Some(body("archives/0-a.tar.gz", archive)))],
        chains: vec![Chain {
            host: "h".to_owned(),
            refused: None,
            certificates: vec![Certificate { path: "chain/0.der".to_owned(), facts }],
        }],
    }
}

fn written(capture: &Capture, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let part = |(number, (path, bytes)): (usize, &(&str, &[u8]))| {
        let file = directory.path().join(number.to_string());
        std::fs::write(&file, bytes).unwrap();
        Part { path: (*path).to_owned(), file }
    };
    let parts: Vec<Part> = parts.iter().enumerate().map(part).collect();
    write(Cursor::new(Vec::new()), capture, &parts).unwrap().into_inner()
}

fn read_back(zip: &[u8]) -> Result<(Capture, Vec<Vec<u8>>), CaptureError> {
    let directory = tempfile::tempdir().unwrap();
    let opened = read(&mut Cursor::new(zip), directory.path(), &Limits::default())?;
    let bodies = opened.capture.bodies().map(|body| std::fs::read(opened.path(&body.path)).unwrap()).collect();
    Ok((opened.capture, bodies))
}

#[test]
fn what_is_written_reads_back_and_is_the_same_each_time() {
    let (index, archive) = (b"<f/>".as_slice(), b"bytes".as_slice());
    let parts = [("index/body", index), ("chain/0.der", b"der"), ("archives/0-a.tar.gz", archive)];
    let capture = capture(index, archive);
    let zip = written(&capture, &parts);
    assert!(is_capture(&zip) && !is_capture(b"PK\x03\x04"));
    assert_eq!(zip, written(&capture, &parts));
    assert_eq!(read_back(&zip).unwrap(), (capture, vec![index.to_vec(), archive.to_vec()]));
}

#[test]
fn a_capture_that_is_not_as_it_says_is_refused() {
    let (index, archive) = (b"<f/>".as_slice(), b"bytes".as_slice());
    let sound = capture(index, archive);
    let parts = [("index/body", index), ("chain/0.der", b"der".as_slice()), ("archives/0-a.tar.gz", archive)];
    let refused = |capture: &Capture, parts: &[(&str, &[u8])]| read_back(&written(capture, parts)).unwrap_err();
    assert!(matches!(refused(&Capture { format: 2, ..sound.clone() }, &parts), CaptureError::Format { found: 2 }));
    assert!(matches!(refused(&sound, &parts[..2]), CaptureError::Missing { .. }));
    assert!(matches!(refused(&sound, &[parts[0], parts[2]]), CaptureError::Missing { .. }));
    let other = [("index/body", b"<g/>".as_slice()), parts[1], parts[2]];
    assert!(matches!(refused(&sound, &other), CaptureError::Differs { .. }));
    for path in ["../index/body", "/etc/passwd", "index/../index/body", ""] {
        let mut wrong = sound.clone();
        wrong.index.body = Some(Body { path: path.to_owned(), ..body("", index) });
        assert!(matches!(refused(&wrong, &parts), CaptureError::Missing { .. }), "{path}");
    }
    let no_facts = crate::offline_zip::write(Cursor::new(Vec::new()), &[], &mut |_| {}).unwrap().into_inner();
    assert!(read_back(&no_facts).is_err());
    assert!(matches!(read_back(b"no zip"), Err(CaptureError::Zip { .. })));
}

#[test]
fn secrets_are_known_by_their_headers_names() {
    for name in ["Set-Cookie", "Authorization", "proxy-authenticate", "Via", "X-Auth-Token", "X-Forwarded-For"] {
        assert!(is_secret_header(name), "{name}");
    }
    for name in ["etag", "content-type", "server", "last-modified", "cache-control"] {
        assert!(!is_secret_header(name), "{name}");
    }
}

fn shaped(xml: &str) -> String {
    String::from_utf8(shape(xml.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_shape_keeps_structure_and_hosts_and_no_content() {
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let shape = shaped(&format!(
        "<?xml version='1.0' encoding='utf-8'?><!-- by Jane --><p:F xmlns:p='urn:x' Key='S3cret Word'>\n\
         <c url='https://user:pw@cdn.example/a/osgroups.tar.gz?sig=K1' md5='{md5}'><v>300418.0.0.0</v>\
         <![CDATA[alpha.zip]]> beta1.zip &amp; md5:{md5}</c></p:F>"
    ));
    let a = "a".repeat(32);
    assert_eq!(
        shape,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><!-- xx Xxxx --><p:F xmlns:p=\"urn:x\" Key=\"X9xxxx Xxxx\">\n\
             <c url=\"https://cdn.example/x/osgroups.tar.gz?xxx=X9\" md5=\"{a}\"><v>999999.9.9.9</v>\
             <![CDATA[xxxxx.zip]]> xxxx9.zip &amp; md5:{a}</c></p:F>"
        )
    );
}

#[test]
fn the_shape_of_an_index_reads_as_the_index_does() {
    let sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let xml = format!(
        "<f><c name='Cisco Windows' version='297.0.0.0' url='avchart-win.tar.gz' sha256='{sha}' size='12'/>\
         <c version='2.0' url='aaaa.tar.gz'/><c version='3.0' url='bbbb.tar.gz'/></f>"
    );
    let base: Url = "https://h/posture-update.xml".parse().unwrap();
    let read = |bytes: &[u8]| Index::read(bytes, &base, &Patterns::default(), &Limits::default()).unwrap();
    let (whole, shape) = (read(xml.as_bytes()), read(shaped(&xml).as_bytes()));
    assert_eq!(shape.entries.len(), 3, "two names stay two");
    for (one, other) in whole.entries.iter().zip(&shape.entries) {
        assert_eq!(one.element, other.element);
        assert_eq!(one.version.is_some(), other.version.is_some());
        assert_eq!(one.checksum.is_some(), other.checksum.is_some());
    }
    assert_eq!(whole.entries[0].component, shape.entries[0].component);
}

#[test]
fn what_is_no_xml_has_no_shape() {
    for text in ["", "words", "<f>", "<f></g>", "<!DOCTYPE html><html><p>secret</html>"] {
        assert_eq!(shape(text.as_bytes()), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_capture_or_not_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_back(&bytes);
        let _ = shape(&bytes);
        let _ = is_capture(&bytes);
    }

    #[test]
    fn a_capture_with_a_byte_changed_reads_as_it_was_or_not_at_all(
        at in any::<prop::sample::Index>(), bit in 0..8_u8, index in "<[a-z]{1,9}/>",
    ) {
        let (index, archive) = (index.as_bytes(), b"bytes".as_slice());
        let parts = [("index/body", index), ("chain/0.der", b"der".as_slice()), ("archives/0-a.tar.gz", archive)];
        let mut zip = written(&capture(index, archive), &parts);
        let at = at.index(zip.len());
        zip[at] ^= 1 << bit;
        if let Ok((_, bodies)) = read_back(&zip) {
            prop_assert_eq!(bodies, vec![index.to_vec(), archive.to_vec()]);
        }
    }

    #[test]
    fn no_word_of_a_value_survives_its_shape(word in "[b-wyz]{3,12}", attribute in any::<bool>()) {
        let xml = if attribute { format!("<f a='{word}'/>") } else { format!("<f>{word}</f>") };
        let is_kept = ["osgroup", "supported", "compliance", "condition", "chart", "check", "rule", "win", "mac", "osx", "linux"]
            .iter().any(|kept| word.contains(kept));
        prop_assert!(is_kept || !shaped(&xml).contains(&word));
    }
}

#[test]
fn a_shape_of_very_many_names_that_are_alike_is_made_at_once() {
    // One element with as many attributes as entries: each name is another, and all have one placeholder.
    let name = |number: usize| format!("n{number}=\"{}.gz\"", letters(number));
    let names: Vec<String> = (0..20_000).map(name).collect();
    let shaped = String::from_utf8(shape(format!("<f {}/>", names.join(" ")).as_bytes()).unwrap()).unwrap();
    let distinct: std::collections::BTreeSet<&str> = shaped.split('"').filter(|part| part.ends_with(".gz")).collect();
    assert_eq!(distinct.len(), 20_000);
}

/// A word of letters alone, another for each number.
fn letters(number: usize) -> String {
    format!("{number:08}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}
