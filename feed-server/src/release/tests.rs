use std::collections::HashSet;

use bundles::fake::Edition;
use bundles::{Component, Manifest, Reason, Reasoned as _};

use super::*;
use crate::store::StoreError;
use crate::sync::CheckedFeed;
use crate::sync::checked::Validator;
use crate::testing::{World, checked, file_ref, serial, start};

fn planned(world: &World, edition: &Edition, newest: Option<&Manifest>, accept: bool) -> Result<u64, ReleaseError> {
    let feed = checked(&world.store, edition);
    let manifest = plan(&feed, newest, newest.map(|newest| newest.serial), start(), accept)?;
    Ok(manifest.map_or(0, |manifest| manifest.serial.get()))
}

#[test]
fn the_same_content_makes_no_release() {
    let mut world = World::new();
    let first = world.release();
    assert_eq!(first.serial, serial(1));
    assert_eq!(planned(&world, &Edition::before(), Some(&first), false).unwrap(), 0);
    assert_eq!(planned(&world, &Edition::after(), Some(&first), false).unwrap(), 2);
}

#[test]
fn components_stand_in_their_order_and_times_are_whole_seconds() {
    let world = World::new();
    let mut feed = checked(&world.store, &Edition::before());
    feed.components.reverse();
    let now = start() + jiff::SignedDuration::from_millis(700);
    let manifest = plan(&feed, None, None, now, false).unwrap().unwrap();
    let components: Vec<_> = manifest.components.iter().map(|released| released.component.clone()).collect();
    assert_eq!(components, Component::KNOWN);
    assert_eq!(manifest.created, start());
}

#[test]
fn a_version_that_goes_back_is_refused_until_it_is_accepted() {
    let mut world = World::new();
    world.release();
    let second = world.release();
    let error = planned(&world, &Edition::before(), Some(&second), false).unwrap_err();
    assert_eq!(error.reason(), Reason::VersionRollback);
    let message = error.to_string();
    for part in ["conditions", "300418.0.0.0", "280052.0.0.0", "--accept-version-rollback"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(planned(&world, &Edition::before(), Some(&second), true).unwrap(), 3);
}

#[test]
fn numbers_are_never_used_again() {
    let mut world = World::new();
    world.release();
    let second = world.release();
    // Numbers of releases that are gone count, and so does the newest release where the counter was lost.
    let feed = world.next_feed();
    let number = |highest| plan(&feed, Some(&second), highest, start(), false).unwrap().unwrap().serial;
    assert_eq!(number(Some(serial(9))), serial(10));
    assert_eq!(number(None), serial(3));
    assert_eq!(number(Some(serial(1))), serial(3));
    let used_up = plan(&feed, Some(&second), Some(serial(u64::MAX)), start(), false);
    assert!(matches!(used_up, Err(ReleaseError::NumbersUsedUp)));
}

#[test]
fn a_feed_that_its_readers_would_refuse_is_refused() {
    let world = World::new();
    let feed = || checked(&world.store, &Edition::before());
    let mut twice = feed();
    twice.components.push(twice.components[0].clone());
    assert!(matches!(plan(&twice, None, None, start(), false), Err(ReleaseError::Manifest(_))));

    let mut as_index = feed();
    as_index.components[0].files[0].archive.name = "Posture-Update.XML".parse().unwrap();
    assert!(matches!(plan(&as_index, None, None, start(), false), Err(ReleaseError::ArchiveNamedAsIndex { .. })));

    let mut long = feed();
    long.components[0].files[0].archive.name = format!("{}.tar.gz", "x".repeat(150)).parse().unwrap();
    assert!(matches!(plan(&long, None, None, start(), false), Err(ReleaseError::Name { .. })));
}

#[test]
fn a_release_whose_content_is_missing_is_not_committed() {
    let world = World::new();
    let mut feed = checked(&world.store, &Edition::before());
    let manifest = plan(&feed, None, None, start(), false).unwrap().unwrap();
    let missing = feed.new_files.pop().unwrap().file().sha256;
    let error = commit(&world.store, feed, &manifest).unwrap_err();
    assert!(matches!(error, StoreError::Missing { digest } if digest == missing));
    assert_eq!(world.store.newest_release().unwrap(), None);
    // The whole feed heals it, though most of its content is here already.
    commit(&world.store, checked(&world.store, &Edition::before()), &manifest).unwrap();
    assert_eq!(world.store.newest_release().unwrap().unwrap().manifest, manifest);
    assert_eq!(world.store.highest_serial().unwrap(), Some(serial(1)));
}

#[test]
fn what_upstream_said_is_remembered_also_where_nothing_is_new() {
    let mut world = World::new();
    world.release();
    let mut feed = checked(&world.store, &Edition::before());
    let file = feed.index.clone().unwrap();
    feed.validators.push(Validator {
        url: "https://upstream.example/a".to_owned(),
        etag: Some("\"1\"".to_owned()),
        last_modified: None,
        archive: file.clone(),
        payload: file,
        inner_version: None,
    });
    let validators = feed.validators.clone();
    unchanged(&world.store, feed).unwrap();
    assert_eq!(world.store.validators().unwrap(), validators);
}

#[test]
fn old_releases_are_forgotten_and_their_content_collected_unless_something_names_it() {
    let mut world = World::new();
    let first = world.release();
    let second = world.release();
    let third = world.release();
    assert_eq!(retain(&world.store, 5).unwrap(), []);
    assert_eq!(retain(&world.store, 0).unwrap(), [second.serial, first.serial], "the newest one always stays");

    let digests = |manifest: &Manifest| -> HashSet<_> { manifest.files().iter().map(|file| file.sha256).collect() };
    let in_use = first.index.as_ref().unwrap().sha256;
    collect(&world.store, &HashSet::from([in_use])).unwrap();
    let left: HashSet<_> = world.store.blobs.list().unwrap().into_iter().collect();
    assert_eq!(left, &digests(&third) | &HashSet::from([in_use]));

    assert_eq!(collect(&world.store, &HashSet::new()).unwrap(), 1);
    assert_eq!(collect(&world.store, &HashSet::new()).unwrap(), 0);
    assert_eq!(world.store.highest_serial().unwrap(), Some(third.serial));
}

#[test]
fn the_vendors_zip_is_content_and_who_vouched_is_not() {
    let mut world = World::new();
    let first = world.release();
    let with_zip = |bytes: &[u8]| {
        let mut feed = checked(&world.store, &Edition::before());
        feed.offline_zip = Some(file_ref("posture-offline.zip", bytes));
        feed.source.vouched_by = Some("operator carol".to_owned());
        feed
    };
    let plan = |feed: &CheckedFeed, newest: &Manifest| plan(feed, Some(newest), None, start(), false).unwrap();
    let second = plan(&with_zip(b"one"), &first).unwrap();
    assert_eq!(second.offline_zip, Some(file_ref("posture-offline.zip", b"one")));
    assert_eq!(second.source.vouched_by.as_deref(), Some("operator carol"));
    assert_eq!(plan(&with_zip(b"one"), &second), None);
    assert!(plan(&with_zip(b"two"), &second).is_some(), "another zip alone makes a release");

    // A feed that came without it says nothing of it, until the feed is another one.
    let mut without = checked(&world.store, &Edition::before());
    assert_eq!(plan(&without, &second), None);
    without = checked(&world.store, &Edition::after());
    assert_eq!(plan(&without, &second).unwrap().offline_zip, None);
}
