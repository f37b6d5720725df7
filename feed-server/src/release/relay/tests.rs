use std::collections::HashSet;

use super::*;
use crate::release::{collect, retain};
use crate::testing::{World, hours, received, serial};

const OFFLINE: &[Repository] = &[Repository::Offline];

/// What is kept, to see that it does not change.
fn kept(relay: &World) -> (Vec<ReleaseRecord>, Vec<Option<Held>>, crate::store::Floors) {
    let held = Repository::ALL.map(|repository| relay.store.held(repository).unwrap()).to_vec();
    (relay.store.releases(9).unwrap(), held, relay.store.floors(Repository::Offline).unwrap())
}

#[tokio::test]
async fn a_release_is_taken_once_and_its_metadata_as_often_as_it_is_newer() {
    let mut origin = World::new();
    let relay = World::relay();
    let first = origin.publish_next().await;
    assert_eq!(relay.take(&origin.tree(""), OFFLINE).unwrap(), Took::New);
    assert_eq!(relay.take(&origin.tree(""), OFFLINE).unwrap(), Took::UpToDate);
    assert_eq!(relay.store.newest_release().unwrap().unwrap().manifest, first);
    assert_eq!(relay.store.held(Repository::Online).unwrap(), None);

    // Signed anew, and by then under a new root.
    origin.now += hours(24 * 300);
    origin.publisher.publish(origin.now).await.unwrap();
    assert_eq!(relay.take(&origin.tree(""), OFFLINE).unwrap(), Took::Refreshed);
    let held = relay.store.held(Repository::Offline).unwrap().unwrap();
    assert_eq!((held.serial, held.metadata.roots.len()), (serial(1), 2));

    // The other repository may come later.
    assert_eq!(relay.take(&origin.tree(""), &Repository::ALL).unwrap(), Took::Refreshed);

    let second = origin.publish_next().await;
    let arrived = origin.now + hours(24 * 9);
    let carried = Received { now: arrived, ..received(&relay.store, &origin.tree(""), &Repository::ALL) };
    assert_eq!(take(&relay.store, carried).unwrap(), Took::New);
    // Nobody is behind for want of what was still being carried.
    assert_eq!(relay.store.newest_release().unwrap().unwrap().since(), arrived);
    let floors = relay.store.floors(Repository::Online).unwrap();
    assert_eq!((floors.highest_serial, floors.signed_time), (Some(serial(2)), Some(second.created)));
    let signed = relay.store.release(serial(2)).unwrap().unwrap().signed.unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut relay.store.blobs.open(&signed).unwrap(), &mut bytes).unwrap();
    assert_eq!(bytes, second.to_json());
}

#[tokio::test]
async fn roots_that_are_known_need_not_come_again() {
    let mut origin = World::new();
    let relay = World::relay();
    origin.publish_next().await;
    relay.take(&origin.tree(""), OFFLINE).unwrap();
    origin.now += hours(24 * 300);
    origin.publish_next().await;
    let mut newest = received(&relay.store, &origin.tree(""), OFFLINE);
    newest.metadata[0].1.roots.remove(0);
    assert_eq!(take(&relay.store, newest).unwrap(), Took::New);
    assert_eq!(relay.store.held(Repository::Offline).unwrap().unwrap().metadata.roots.len(), 2);
}

#[tokio::test]
async fn floors_never_go_back() {
    let mut origin = World::new();
    let relay = World::relay();
    origin.publish_next().await;
    let older = received(&relay.store, &origin.tree(""), OFFLINE);
    let older_metadata = older.metadata.clone();
    origin.publish_next().await;
    relay.take(&origin.tree(""), OFFLINE).unwrap();
    let before = kept(&relay);

    let error = take(&relay.store, older).unwrap_err();
    assert!(matches!(error, TakeError::Older { serial: older, highest } if (older, highest) == (serial(1), serial(2))));
    assert_eq!(error.reason(), Reason::Rollback);

    // The newest release, under metadata that another release was called stable by.
    let mut mixed = received(&relay.store, &origin.tree(""), OFFLINE);
    mixed.metadata = older_metadata;
    assert_eq!(take(&relay.store, mixed).unwrap_err().reason(), Reason::Rollback);
    assert_eq!(kept(&relay), before);
}

#[tokio::test]
async fn another_origin_takes_no_place() {
    let (mut origin, mut other) = (World::new(), World::new());
    let relay = World::relay();
    origin.publish_next().await;
    relay.take(&origin.tree(""), OFFLINE).unwrap();
    let before = kept(&relay);
    other.publish_next().await;
    other.publish_next().await;
    let error = relay.take(&other.tree(""), OFFLINE).unwrap_err();
    assert_eq!(error.reason(), Reason::Signature, "{error:?}");
    assert_eq!(kept(&relay), before);
}

#[tokio::test]
async fn two_releases_of_one_number_are_told_apart() {
    let mut origin = World::new();
    let relay = World::relay();
    origin.publish_next().await;
    relay.take(&origin.tree(""), OFFLINE).unwrap();

    // The same keys, and a catalog that was lost.
    let copy = tempfile::tempdir().unwrap();
    let keys = copy.path().join("data/keys");
    std::fs::create_dir_all(&keys).unwrap();
    for key in std::fs::read_dir(origin.config.data.directory.join("keys")).unwrap() {
        let key = key.unwrap();
        std::fs::copy(key.path(), keys.join(key.file_name())).unwrap();
    }
    let mut copy = World::at(copy.path().to_owned());
    assert_eq!(copy.publish_next().await.serial, serial(1));
    let before = kept(&relay);
    let error = relay.take(&copy.tree(""), OFFLINE).unwrap_err();
    assert!(matches!(error, TakeError::OtherOfSameNumber { serial: number } if number == serial(1)));
    assert_eq!(kept(&relay), before);
}

#[tokio::test]
async fn content_that_did_not_come_is_missed_and_what_is_brought_again_heals() {
    let mut origin = World::new();
    let relay = World::relay();
    let release = origin.publish_next().await;
    let mut lacking = received(&relay.store, &origin.tree(""), OFFLINE);
    let missing = lacking.files.pop().unwrap().file().sha256;
    let error = take(&relay.store, lacking).unwrap_err();
    assert!(matches!(error, TakeError::Store(StoreError::Missing { digest }) if digest == missing));
    assert_eq!(relay.store.newest_release().unwrap(), None);
    assert_eq!(relay.store.floors(Repository::Offline).unwrap(), crate::store::Floors::default());

    assert_eq!(relay.take(&origin.tree(""), OFFLINE).unwrap(), Took::New);
    let lost = release.files()[0].sha256;
    relay.store.blobs.remove(&lost).unwrap();
    assert_eq!(relay.take(&origin.tree(""), OFFLINE).unwrap(), Took::UpToDate);
    assert!(relay.store.blobs.contains(&lost).unwrap());
}

#[tokio::test]
async fn what_a_retained_release_needs_is_never_collected() {
    let mut origin = World::new();
    let relay = World::relay();
    let mut signed = Vec::new();
    for _ in 0..3 {
        origin.publish_next().await;
        relay.take(&origin.tree(""), OFFLINE).unwrap();
        signed.extend(relay.store.newest_release().unwrap().unwrap().signed);
    }
    retain(&relay.store, 2).unwrap();
    assert!(collect(&relay.store, &HashSet::new()).unwrap() > 0);
    let here: Vec<bool> = signed.iter().map(|digest| relay.store.blobs.contains(digest).unwrap()).collect();
    assert_eq!(here, [false, true, true]);
    for release in relay.store.releases(9).unwrap() {
        for file in release.manifest.files() {
            assert!(relay.store.blobs.contains(&file.sha256).unwrap(), "{}", file.name);
        }
    }
}
