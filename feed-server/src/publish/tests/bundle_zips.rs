//! Bundles in the tree: of the metadata that readers see, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;

use bundles::bundle::{Bundle, CheckedBundle, Trust};
use bundles::{Digest, Limits};
use jiff::Timestamp;

use crate::publish::{Cache, Published, Repository};
use crate::testing::{World, hours, serial};

/// What whoever carries this name away finds out: served, in the tree, and beside it, one and the same.
fn checked(world: &World, name: &str, now: Timestamp) -> CheckedBundle {
    let bytes = fs::read(world.tree(&format!("offline/{name}"))).unwrap();
    let served = served(&world.publisher.published().load(), name);
    assert_eq!(served, Digest::of(&bytes), "{name}");
    let line = fs::read_to_string(world.tree(&format!("offline/{name}.sha256"))).unwrap();
    assert_eq!(line, format!("{served}  {name}\n"));
    let root = world.publisher.root_json(Repository::Offline).unwrap();
    let trust = Trust { root: &root, held: None, highest_serial: None, signed_time: None, now };
    Bundle::open(Cursor::new(bytes), &Limits::default()).unwrap().check(&trust).unwrap()
}

fn served(published: &Published, name: &str) -> Digest {
    let served = published.get(&format!("/offline/{name}")).unwrap();
    assert_eq!(served.cache, Cache::Revalidate);
    let immutable = published.get(&format!("/offline/bundles/{}.{}", served.sha256, numbered(name))).unwrap();
    assert_eq!((immutable.sha256, immutable.cache), (served.sha256, Cache::Immutable));
    served.sha256
}

fn numbered(name: &str) -> String {
    if name == "posture-bundle.zip" { "posture-bundle-1.zip".to_owned() } else { name.to_owned() }
}

fn bundles(world: &World) -> BTreeMap<String, Vec<u8>> {
    world.files().into_iter().filter(|(path, _)| path.contains("posture-bundle")).collect()
}

#[tokio::test]
async fn the_newest_releases_bundle_is_of_the_metadata_that_readers_see() {
    let mut world = World::new();
    let first = world.publish_next().await;
    for name in ["posture-bundle-1.zip", "posture-bundle.zip"] {
        let checked = checked(&world, name, world.now);
        assert_eq!(checked.manifest.manifest(), &first);
        let timestamp = fs::read_to_string(world.tree("offline/metadata/timestamp.json")).unwrap();
        assert_eq!(checked.metadata.timestamp, timestamp);
    }
}

#[tokio::test]
async fn it_is_made_anew_with_its_signatures_and_only_then() {
    let mut world = World::new();
    world.publish_next().await;
    let before = bundles(&world);
    let first = served(&world.publisher.published().load(), "posture-bundle-1.zip");
    world.publisher.publish(world.now + hours(1)).await.unwrap();
    // Only the online repository is signed anew.
    world.publisher.resign(world.now + hours(7)).await.unwrap().unwrap();
    assert_eq!(bundles(&world), before);

    let later = world.now + hours(24 * 20);
    world.publisher.resign(later).await.unwrap().unwrap();
    let checked = checked(&world, "posture-bundle.zip", later + hours(24 * 80));
    assert_eq!(checked.manifest.manifest().serial, serial(1));
    assert_ne!(served(&world.publisher.published().load(), "posture-bundle-1.zip"), first);
    // The one before is gone, with all of its names.
    assert_eq!(bundles(&world).len(), before.len());
}

#[tokio::test]
async fn bundles_of_older_releases_stay_what_they_were_and_go_with_their_release() {
    let mut world = World::new();
    world.publish_next().await;
    let first = fs::read(world.tree("offline/posture-bundle-1.zip")).unwrap();
    let second = world.publish_next().await;
    assert_eq!(fs::read(world.tree("offline/posture-bundle-1.zip")).unwrap(), first);
    let newest = fs::read(world.tree("offline/posture-bundle.zip")).unwrap();
    assert_eq!(newest, fs::read(world.tree("offline/posture-bundle-2.zip")).unwrap());
    assert_eq!(checked(&world, "posture-bundle-2.zip", world.now).manifest.manifest(), &second);

    crate::release::retain(&world.store, 1).unwrap();
    world.publisher.publish(world.now).await.unwrap();
    let left: Vec<String> = bundles(&world).into_keys().collect();
    assert!(!left.is_empty() && left.iter().all(|path| !path.contains("bundle-1.zip")), "{left:?}");
}

#[tokio::test]
async fn what_was_lost_from_the_tree_is_made_anew_from_the_same_metadata() {
    let mut world = World::new();
    world.publish_next().await;
    let before = bundles(&world);
    fs::remove_dir_all(world.tree("offline/bundles")).unwrap();
    fs::remove_file(world.tree("offline/posture-bundle.zip.sha256")).unwrap();
    let world = world.reopen();
    assert!(world.publisher.published().load().get("/offline/posture-bundle.zip").is_none());
    world.publisher.publish(world.now).await.unwrap();
    assert_eq!(bundles(&world), before);
}

#[tokio::test]
async fn a_name_never_stands_beside_anothers_digest() {
    let mut world = World::new();
    world.publish_next().await;
    // What a process leaves that died between the new zip and its digest.
    fs::write(world.tree("offline/posture-bundle.zip.sha256"), format!("{}  posture-bundle.zip\n", Digest::of(b"x")))
        .unwrap();
    let world = world.reopen();
    assert!(world.publisher.published().load().get("/offline/posture-bundle.zip").is_none());
    world.publisher.publish(world.now).await.unwrap();
    checked(&world, "posture-bundle.zip", world.now);
}
