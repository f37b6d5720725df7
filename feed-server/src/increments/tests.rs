//! What is prepared opens to what is signed, is made once, heals, and goes with what it is a form of.

use std::collections::HashSet;
use std::io::Read as _;

use bundles::Manifest;
use bundles::increment::Unpacking;

use super::*;
use crate::publish::{Repository, Role};
use crate::store::Coding;
use crate::testing::{World, hours};

fn bytes(world: &World, variant: &Variant) -> Vec<u8> {
    match &variant.body {
        Body::Memory(bytes) => bytes.to_vec(),
        Body::Stored => {
            let mut bytes = Vec::new();
            world.prepared().load().opener(variant)().unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        }
    }
}

fn contents(world: &World) -> std::collections::HashMap<bundles::Digest, Vec<u8>> {
    world.files().into_values().map(|bytes| (bundles::Digest::of(&bytes), bytes)).collect()
}

/// Opens every form of what is served; how many there are.
fn all_open(world: &World, older: &std::collections::HashMap<bundles::Digest, Vec<u8>>) -> usize {
    let mut opened = 0;
    for (digest, content) in contents(world) {
        for variant in world.prepared().load().of(&digest) {
            let packed = bytes(world, variant);
            assert_eq!(packed.len() as u64, variant.length);
            let limit = content.len() as u64;
            let found = match variant.coding {
                Coding::Dcz { base } => {
                    let mut unpacking = Unpacking::increment(&older[&base], limit, Vec::new()).unwrap();
                    unpacking.push(&packed).unwrap();
                    unpacking.finish().unwrap()
                }
                Coding::Zstd => {
                    let mut unpacking = Unpacking::zstd(limit, Vec::new()).unwrap();
                    unpacking.push(&packed).unwrap();
                    unpacking.finish().unwrap()
                }
                Coding::Gzip => {
                    let mut found = Vec::new();
                    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut found).unwrap();
                    found
                }
            };
            assert!(found == content, "{variant:?} of {digest}");
            assert!(packed.len() * 10 <= content.len() * 9, "{variant:?} saves little");
            opened += 1;
        }
    }
    opened
}

fn payloads(manifest: &Manifest) -> Vec<bundles::Digest> {
    manifest.components.iter().flat_map(|released| &released.files).map(|file| file.payload.sha256).collect()
}

fn bases(world: &World, content: &bundles::Digest) -> HashSet<bundles::Digest> {
    let prepared = world.prepared().load_full();
    let base = |variant: &Variant| match variant.coding {
        Coding::Dcz { base } => Some(base),
        Coding::Zstd | Coding::Gzip => None,
    };
    prepared.of(content).iter().filter_map(base).collect()
}

#[tokio::test]
async fn what_is_prepared_opens_to_what_is_signed_and_is_made_once() {
    let mut world = World::new();
    let first = world.publish_next().await;
    let mut seen = contents(&world);
    assert!(world.prepare().made > 0);
    assert!(payloads(&first).iter().all(|payload| bases(&world, payload).is_empty()), "there is no earlier one");
    let second = world.publish_next().await;
    seen.extend(contents(&world));
    assert!(world.prepare().complete);
    let third = world.publish_next().await;
    seen.extend(contents(&world));
    let summary = world.prepare();
    assert!(summary.complete && summary.failed == 0 && summary.made > 0, "{summary:?}");

    assert_eq!(all_open(&world, &seen), world.prepared().load().count());
    let changed = payloads(&third).into_iter().zip(payloads(&second)).zip(payloads(&first));
    let changed: Vec<_> = changed.filter(|((third, second), first)| third != second && second != first).collect();
    assert!(!changed.is_empty());
    for ((third, second), first) in changed {
        assert_eq!(bases(&world, &third), HashSet::from([second, first]));
    }
    let published = world.publisher.published().load_full();
    for role in [Role::Snapshot, Role::Targets] {
        let served = published.metadata(Repository::Online, role).unwrap();
        assert!(bases(&world, &served.sha256).len() >= 2, "{role}");
    }
    let timestamp = published.metadata(Repository::Online, Role::Timestamp).unwrap();
    assert!(bases(&world, &timestamp.sha256).is_empty(), "nobody names an earlier one");
    let stable = bundles::Digest::of(&third.to_json());
    assert_eq!(bases(&world, &stable).len(), 2);

    assert_eq!(world.prepare(), Summary { complete: true, ..Summary::default() });
    let count = world.prepared().load().count();
    let world = world.reopen();
    assert_eq!(world.prepared().load().count(), count, "a restart has them at once");
    assert_eq!(world.prepare(), Summary { complete: true, ..Summary::default() });
}

#[tokio::test]
async fn what_was_cut_off_or_lost_is_made_by_the_next_call() {
    let mut world = World::new();
    world.publish_next().await;
    let published = world.publisher.published().load_full();
    let left = std::cell::Cell::new(3);
    let stop = || left.replace(left.get() - 1) == 0;
    let cut = world.preparer().prepare(&published, stop).unwrap();
    assert_eq!((cut.made + cut.not_worth, cut.complete), (3, false));
    world.prepare();
    let count = world.prepared().load().count();

    // Some are gone, some are others.
    let mut blobs = world.store.prepared.list().unwrap();
    blobs.sort();
    world.store.prepared.remove(&blobs[0]).unwrap();
    let name = blobs[1].to_string();
    let path = world.config.data.directory.join("prepared").join(&name[..2]).join(&name);
    std::fs::write(path, b"other bytes").unwrap();
    let seen = contents(&world);
    let world = world.reopen();
    assert!(world.prepared().load().count() < count, "nothing is offered that is not there");
    world.prepare();
    assert_eq!(world.prepared().load().count(), count);
    all_open(&world, &seen);
}

#[tokio::test]
async fn forms_go_with_what_they_are_forms_of() {
    let mut world = World::new();
    let first = world.publish_next().await;
    world.prepare();
    for _ in 0..2 {
        world.publish_next().await;
        crate::release::retain(&world.store, 1).unwrap();
        world.publisher.publish(world.now + hours(1)).await.unwrap();
        crate::release::collect(&world.store, &world.publisher.in_use()).unwrap();
        world.prepare();
    }
    let newest = payloads(world.publisher.published().load().newest().unwrap());
    let gone: Vec<_> = payloads(&first).into_iter().filter(|payload| !newest.contains(payload)).collect();
    assert!(!gone.is_empty());
    let records = world.store.variants().unwrap();
    assert!(records.iter().all(|record| !gone.contains(&record.form.of)));
    let history = world.store.metadata_history().unwrap();
    let named: HashSet<_> = records.iter().filter_map(|record| record.packed).map(|packed| packed.sha256).collect();
    let history: HashSet<_> = history.values().flatten().copied().collect();
    for blob in world.store.prepared.list().unwrap() {
        assert!(named.contains(&blob) || history.contains(&blob), "{blob} is named by nothing");
    }
}

#[tokio::test]
async fn what_is_switched_off_or_too_large_is_not_prepared() {
    let mut world = World::with(|config| config.increments.from_last = 0);
    world.publish_next().await;
    world.publish_next().await;
    world.prepare();
    let codings = |world: &World| -> HashSet<&'static str> {
        world.store.variants().unwrap().iter().map(|record| record.form.coding.as_str()).collect()
    };
    assert_eq!(codings(&world), HashSet::from(["zstd", "gzip"]));
    assert!(!world.prepared().load().is_base(1));

    let mut world = World::with(|config| config.increments.max_payload = 1);
    world.publish_next().await;
    assert_eq!(world.prepare(), Summary { complete: true, ..Summary::default() });
    assert!(codings(&world).is_empty());
}

#[tokio::test]
async fn nothing_is_made_of_archives() {
    let mut world = World::new();
    let release = world.publish_next().await;
    world.prepare();
    for file in release.components.iter().flat_map(|released| &released.files) {
        assert!(world.prepared().load().of(&file.archive.sha256).is_empty(), "{}", file.archive.name);
        assert!(!world.prepared().load().of(&file.payload.sha256).is_empty(), "{}", file.payload.name);
    }
}

#[tokio::test]
async fn a_relay_prepares_as_an_origin_does() {
    let mut origin = World::new();
    origin.publish_next().await;
    let relay = World::relay();
    relay.take(&origin.tree(""), &Repository::ALL).unwrap();
    relay.publisher.publish(relay.now).await.unwrap();
    relay.prepare();
    let mut seen = contents(&relay);
    let newest = origin.publish_next().await;
    relay.take(&origin.tree(""), &Repository::ALL).unwrap();
    relay.publisher.publish(relay.now).await.unwrap();
    relay.prepare();
    seen.extend(contents(&relay));
    assert!(payloads(&newest).iter().any(|payload| bases(&relay, payload).len() == 1));
    assert_eq!(bases(&relay, &bundles::Digest::of(&newest.to_json())).len(), 1);
    assert_eq!(all_open(&relay, &seen), relay.prepared().load().count());
}
