use std::path::Path;

use bundles::release::{ReleasedComponent, ReleasedFile, Source, SourceKind};
use bundles::{Component, FileName, Serial};
use proptest::prelude::*;

use super::*;

fn file(name: &str, content: &str) -> ReleasedFile {
    let of = |name: FileName| FileRef { name, sha256: Digest::of(content.as_bytes()), length: content.len() as u64 };
    let archive = FileName::parse(name).unwrap();
    ReleasedFile { payload: of(archive.payload()), archive: of(archive) }
}

fn manifest(components: Vec<(Component, Vec<ReleasedFile>)>) -> Manifest {
    Manifest {
        format: 1,
        serial: Serial::FIRST,
        created: jiff::Timestamp::UNIX_EPOCH,
        source: Source { kind: SourceKind::VendorFeed, url: None, sha256: None, vouched_by: None },
        components: components
            .into_iter()
            .map(|(component, files)| ReleasedComponent { component, version: "1.0".parse().unwrap(), files })
            .collect(),
        index: None,
        offline_zip: None,
    }
}

#[test]
fn what_is_kept_is_not_fetched_and_each_payload_comes_once() {
    let manifest = manifest(vec![
        (Component::Conditions, vec![file("conditions.tar.gz", "new")]),
        (Component::SupportedOs, vec![file("osgroups.tar.gz", "old"), file("osgroupsV2.tar.gz", "v2")]),
        (Component::other("copy"), vec![file("osgroups.tar.gz", "old")]),
    ]);
    let kept = Kept::from([(Digest::of(b"old"), PathBuf::from("/kept"))]);
    let plan = plan(&manifest, &kept, &Limits::default()).unwrap();
    let ways: Vec<_> =
        plan.payloads.iter().map(|payload| (payload.file.payload.name.as_str(), &payload.from)).collect();
    assert_eq!(
        ways,
        [
            ("conditions.tar", &From::Source),
            ("osgroups.tar", &From::Kept(PathBuf::from("/kept"))),
            ("osgroupsV2.tar", &From::Source)
        ]
    );
    assert_eq!(plan.lacking().map(|file| file.payload.length).sum::<u64>(), 5);
}

#[test]
fn what_is_too_large_is_not_begun() {
    let manifest = manifest(vec![(Component::Conditions, vec![file("a.tar.gz", "12345"), file("b.tar.gz", "67890")])]);
    let one = Limits { payload_bytes: 4, ..Limits::default() };
    assert_eq!(plan(&manifest, &Kept::new(), &one).unwrap_err().reason(), Reason::TooLarge);
    let all = Limits { run_bytes: 9, ..Limits::default() };
    assert_eq!(plan(&manifest, &Kept::new(), &all).unwrap_err().reason(), Reason::TooLarge);
    let enough = Limits { payload_bytes: 5, run_bytes: 10, ..Limits::default() };
    assert!(plan(&manifest, &Kept::new(), &enough).is_ok());
}

#[test]
fn the_layout_is_the_documented_one() {
    let manifest = manifest(vec![
        (Component::Conditions, vec![file("conditions.tar.gz", "c")]),
        (Component::SupportedOs, vec![file("osgroupsV2.tar.gz", "o")]),
    ]);
    let layout = Layout::of(&manifest).unwrap();
    let payload = &manifest.components[0].files[0].payload;
    assert_eq!(layout.payload(payload).unwrap(), Path::new("payloads/conditions.tar"));
    let folders: Vec<_> = layout.opened.iter().map(|(_, folder)| folder.as_path()).collect();
    assert_eq!(folders, [Path::new("conditions/conditions"), Path::new("supported-os/osgroupsV2")]);
}

proptest! {
    #[test]
    fn different_payloads_never_share_a_place(
        files in proptest::collection::vec(("[aAb]\\.(tar\\.gz|tgz|xml\\.gz|xml|tar)", "[xyz]"), 1..8),
    ) {
        let files: Vec<_> = files.iter().map(|(name, content)| file(name, content)).collect();
        let manifest = manifest(vec![(Component::Conditions, files)]);
        let layout = Layout::of(&manifest).unwrap();
        prop_assert_eq!(&layout, &Layout::of(&manifest).unwrap());
        let mut places = BTreeMap::new();
        for (payload, folder) in &layout.opened {
            let kept = layout.payload(payload).unwrap();
            for place in [kept, folder] {
                let other = places.insert(place.to_string_lossy().to_ascii_lowercase(), payload.sha256);
                prop_assert!(other.is_none_or(|other| other == payload.sha256), "{place:?}");
            }
        }
    }
}
