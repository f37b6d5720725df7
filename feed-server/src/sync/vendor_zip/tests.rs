use std::sync::Arc;

use bundles::fake::{Edition, Feed, Options, ZipShape};
use bundles::{Component, Digest, Limits, Reason, Reasoned as _};

use super::*;
use crate::sync::intake::{Intake, IntakeError};
use crate::testing::{UPSTREAM, World};

fn feed() -> Feed {
    Feed::make(&Edition::before(), &Options::small())
}

fn zip(feed: &Feed, shape: &ZipShape) -> Vec<u8> {
    feed.offline_zip(&UPSTREAM.parse().unwrap(), shape)
}

fn received(world: &World, bytes: &[u8]) -> Result<ReceivedZip, IntakeError> {
    let mut intake = Intake::begin(&world.store.staging, u64::MAX)?;
    intake.take(bytes)?;
    intake.end(None)
}

async fn read(world: &World, bytes: &[u8]) -> Result<CheckedFeed, SyncError> {
    let blobs = Arc::clone(&world.store.blobs);
    let known = Known { blobs: Arc::new(move |digest| blobs.contains(digest).unwrap()), ..Known::nothing() };
    let reading = Reading::new(&world.config, &world.store.staging).unwrap();
    reading.read(received(world, bytes).unwrap(), known, "operator carol".to_owned()).await
}

fn names(feed: &CheckedFeed) -> Vec<String> {
    let files = feed.components.iter().flat_map(|released| {
        released.files.iter().map(move |file| format!("{} {}", released.component, file.archive.name))
    });
    files.collect()
}

const FEED: [&str; 6] = [
    "conditions conditions.tar.gz",
    "av-as-chart-windows avchart-win.tar.gz",
    "av-as-chart-macosx avchart-macosx.tar.gz",
    "av-as-chart-linux avchart-linux.tar.gz",
    "supported-os osgroups.tar.gz",
    "supported-os osgroupsV2.tar.gz",
];

fn is_emptied(world: &World) -> bool {
    std::fs::read_dir(world.config.data.directory.join("staging")).unwrap().next().is_none()
}

#[tokio::test]
async fn a_zip_is_read_flat_or_in_a_folder_and_whatever_its_index_is_called() {
    let (world, feed) = (World::new(), feed());
    for shape in [
        ZipShape::flat(),
        ZipShape::default(),
        ZipShape { index: Some("Posture-Update.XML".to_owned()), ..ZipShape::default() },
        ZipShape { index: Some("feed-2026.xml".to_owned()), ..ZipShape::flat() },
    ] {
        let bytes = zip(&feed, &shape);
        let read = read(&world, &bytes).await.unwrap();
        assert_eq!(names(&read), FEED, "{shape:?}");
        for released in &read.components {
            assert_eq!(Some(&released.version), feed.edition.versions.get(&released.component), "by the index");
        }
        let index = read.index.clone().unwrap();
        assert_eq!(Some(index.name.as_str()), shape.index.as_deref());
        assert_eq!(index.sha256, Digest::of(&feed.index(&UPSTREAM.parse().unwrap())));
        assert_eq!(read.reading, Some(bundles::index::Reading::Entries));
        let carried = read.offline_zip.clone().unwrap();
        assert_eq!((carried.name.as_str(), carried.sha256), ("posture-offline.zip", Digest::of(&bytes)));
        assert_eq!((read.source.kind, read.source.sha256), (SourceKind::VendorZip, Some(Digest::of(&bytes))));
        assert_eq!((read.source.vouched_by.as_deref(), read.source.url.as_deref()), (Some("operator carol"), None));
        for file in &read.new_files {
            let bytes = std::fs::read(file.path()).unwrap();
            assert_eq!((Digest::of(&bytes), bytes.len() as u64), (file.file().sha256, file.file().length));
        }
        // Six archives with a payload each, the index and the zip.
        assert_eq!(read.new_files.len(), 14);
        drop(read);
        assert!(is_emptied(&world));
    }
}

#[tokio::test]
async fn without_an_index_every_archive_of_a_known_name_is_an_entry() {
    let (world, feed) = (World::new(), feed());
    for shape in [ZipShape::flat(), ZipShape::default()] {
        let read = read(&world, &zip(&feed, &shape.without_index())).await.unwrap();
        assert_eq!(names(&read), FEED);
        assert_eq!((read.index, read.reading), (None, None));
        let version = |component| read.components.iter().find(|c| c.component == component).unwrap().version.clone();
        let chart = version(Component::AvAsChartWindows);
        assert!(matches!(chart, Version::Dotted(_)), "{chart}: by what is inside");
    }
}

#[tokio::test]
async fn what_the_index_does_not_name_is_carried_as_other_or_left_in_the_zip() {
    let (world, feed) = (World::new(), feed());
    let extra = feed.files.iter().find(|(name, _)| name.as_str() == "avchart-win.tar.gz").unwrap().1.clone();
    let shape = ZipShape::default()
        .with("avchart-win-legacy-2.1.tar.gz", extra.clone())
        .with("anyconnect-win-webdeploy.zip", zip(&feed, &ZipShape::flat()))
        .with("nobody-knows.tar.gz", extra.clone())
        .with("provisioning/avchart-win-elsewhere.tar.gz", extra.clone());
    let read_so = read(&world, &zip(&feed, &shape)).await.unwrap();
    let other = "other-avchart-win-legacy avchart-win-legacy-2.1.tar.gz";
    assert_eq!(names(&read_so), FEED.into_iter().chain([other]).collect::<Vec<_>>());

    // An operator's own pattern goes before all that.
    let world = World::with(|config| {
        let pair = |pattern: &str, component: &str| (pattern.to_owned(), component.to_owned());
        config.upstream.components = vec![pair("anyconnect-*", "other-anyconnect"), pair("nobody-*", "conditions")];
    });
    let read_so = read(&world, &zip(&feed, &shape)).await.unwrap();
    let names = names(&read_so);
    assert!(names.contains(&"other-anyconnect anyconnect-win-webdeploy.zip".to_owned()), "{names:?}");
    assert!(names.contains(&"conditions nobody-knows.tar.gz".to_owned()), "{names:?}");
}

#[tokio::test]
async fn shadows_that_macos_adds_are_no_second_feed() {
    let (world, feed) = (World::new(), feed());
    let flat = ZipShape::flat().with("__MACOSX/._conditions.tar.gz", b"shadow".as_slice());
    for shape in [flat.clone(), flat.without_index()] {
        assert_eq!(names(&read(&world, &zip(&feed, &shape)).await.unwrap()), FEED);
    }
}

#[tokio::test]
async fn an_archive_may_lie_below_the_index_where_it_is_the_only_one_of_its_name() {
    let (world, mut feed) = (World::new(), feed());
    let moved = FileName::parse("osgroups.tar.gz").unwrap();
    let base = UPSTREAM.parse().unwrap();
    let index = feed.index(&base);
    let bytes = feed.files.remove(&moved).unwrap();
    let shape =
        ZipShape::flat().without_index().with("posture-update.xml", index).with("os/osgroups.tar.gz", bytes.clone());
    assert_eq!(names(&read(&world, &zip(&feed, &shape)).await.unwrap()), FEED);
    let twice = shape.with("os2/osgroups.tar.gz", bytes);
    let error = read(&world, &zip(&feed, &twice)).await.unwrap_err();
    assert!(matches!(&error, SyncError::TwiceInZip { name } if name == "osgroups.tar.gz"), "{error}");
}

#[tokio::test]
async fn whatever_is_wrong_has_its_reason_and_leaves_nothing_behind() {
    let (world, sound) = (World::new(), feed());
    let base = UPSTREAM.parse().unwrap();
    let conditions = FileName::parse("conditions.tar.gz").unwrap();
    let mut lacking = sound.clone();
    lacking.files.remove(&conditions);
    let with_index = |feed: &Feed| {
        let shape = ZipShape::flat().without_index().with("posture-update.xml", sound.index(&base));
        zip(feed, &shape)
    };
    let mut other = sound.clone();
    other.files.insert(conditions.clone(), Feed::make(&Edition::after(), &Options::small()).files[&conditions].clone());
    let mut damaged = sound.clone();
    let middle = damaged.files[&conditions].len() / 2;
    damaged.files.get_mut(&conditions).unwrap()[middle] ^= 1;
    let mut page = sound.clone();
    page.files.insert(conditions.clone(), b"<!DOCTYPE html><title>Log in</title>".to_vec());
    let whole = zip(&sound, &ZipShape::default());
    let bomb = vec![0; 8 << 20];
    let mut none = sound.clone();
    none.files.clear();
    for (what, bytes, reason) in [
        ("an archive is missing", with_index(&lacking), Reason::BadArchive),
        ("an archive is another one", with_index(&other), Reason::DigestMismatch),
        ("an archive is damaged", zip(&damaged, &ZipShape::flat().without_index()), Reason::BadArchive),
        ("an archive is a page", zip(&page, &ZipShape::flat().without_index()), Reason::NotAFeed),
        ("no feed", zip(&none, &ZipShape::default().without_index()), Reason::NotAFeed),
        ("cut short", whole[..whole.len() / 2].to_vec(), Reason::Truncated),
        ("a bomb", zip(&sound, &ZipShape::default().with("zeros.bin", bomb)), Reason::TooLarge),
        ("a way out", zip(&sound, &ZipShape::flat().with("../../outside", b"x".as_slice())), Reason::BadArchive),
        (
            "two feeds",
            zip(
                &none,
                &ZipShape::flat()
                    .without_index()
                    .with("a/conditions.tar.gz", sound.files[&conditions].clone())
                    .with("b/conditions.tar.gz", sound.files[&conditions].clone()),
            ),
            Reason::BadArchive,
        ),
    ] {
        let error = read(&world, &bytes).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{what}: {}", error.whole_message());
        assert!(is_emptied(&world), "{what}");
    }
}

#[tokio::test]
async fn a_zip_past_the_limit_names_the_setting() {
    let bytes = zip(&feed(), &ZipShape::flat());
    let world = World::with(|config| {
        config.limits = Limits { offline_zip_bytes: bytes.len() as u64 - 1, ..Limits::default() };
    });
    let error = read(&world, &bytes).await.unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge);
    assert!(error.to_string().contains("offline_zip_bytes"), "{error}");
}

#[tokio::test]
async fn what_the_store_holds_is_not_brought_again() {
    let (mut world, feed) = (World::new(), feed());
    world.release();
    let bytes = zip(&feed, &ZipShape::flat());
    let read = read(&world, &bytes).await.unwrap();
    let new: Vec<&str> = read.new_files.iter().map(|file| file.file().name.as_str()).collect();
    assert_eq!(new, ["posture-offline.zip"]);
}
