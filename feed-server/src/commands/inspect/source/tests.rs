use std::io::Cursor;

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::commands::inspect::inspection::Inspection;
use crate::config::Upstream;

/// As `inspect` does, from a file's bytes to the facts.
fn inspected(bytes: &[u8]) -> Result<Inspection, Failure> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let (upstream, limits, patterns) = (Upstream::default(), Limits::default(), Patterns::default());
    let material = in_file(file.path().to_str().unwrap(), upstream.url.clone(), &limits, &patterns)?;
    Inspection::of(&material, &patterns, &limits, &upstream)
}

fn zipped(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        if zip.start_file(name.as_str(), SimpleFileOptions::default()).is_ok() {
            zip.write_all(bytes).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "posture-update.xml",
        "osgroups.tar.gz",
        "win.gz",
        "a.xml",
        "capture.json",
        "..",
        ".",
        "folder",
        "CON",
        "é",
        " ",
        "",
    ]);
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(b"<f><c url='osgroups.tar.gz' version='1.0'/></f>".to_vec()),
        Just(b"<f>win.gz a.xml</f>".to_vec()),
        Just(b"{\"format\":1}".to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_a_file_holds_it_is_read_or_refused_with_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = inspected(&bytes);
        let _ = inspected(&[b"PK\x03\x04".as_slice(), &bytes].concat());
    }

    #[test]
    fn whatever_a_zip_holds_nothing_is_taken_twice_and_nothing_is_lost(
        members in prop::collection::vec((name(), content()), 0..6),
    ) {
        if let Ok(inspection) = inspected(&zipped(&members)) {
            let names: Vec<String> =
                inspection.files.iter().map(|file| file.name.as_str().to_ascii_lowercase()).collect();
            for (number, name) in names.iter().enumerate() {
                prop_assert!(!names[..number].contains(name), "{name} is there twice");
            }
            let missing = inspection.files.iter().filter(|file| file.problem.is_some() && file.archive.is_none()).count();
            let told = inspection.files.len() - missing.min(inspection.files.len()) + inspection.members_left.len();
            prop_assert!(told <= members.len());
            let text = crate::commands::inspect::text::of(&inspection, false);
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
