use bundles::index::{Index, Patterns};
use bundles::release::FileRef;
use bundles::{Digest, Limits, Manifest, Reason, Reasoned as _};
use url::Url;

use crate::testing::{World, serial};

const INDEX: &str = "web/secure/spa/posture-update.xml";

fn archives(manifest: &Manifest) -> Vec<&FileRef> {
    manifest.components.iter().flat_map(|released| &released.files).map(|file| &file.archive).collect()
}

fn index(world: &World) -> Index {
    let bytes = std::fs::read(world.tree(INDEX)).unwrap();
    let base = Url::parse("https://elsewhere.example/x.xml").unwrap();
    Index::read(&bytes, &base, &Patterns::default(), &Limits::default()).unwrap()
}

#[tokio::test]
async fn every_locator_leads_to_the_archive_of_its_own_release() {
    let mut world = World::new();
    let first = world.publish_next().await;
    let before = index(&world);
    let second = world.publish_next().await;
    for (index, manifest) in [(before, first), (index(&world), second)] {
        assert_eq!(index.entries.len(), archives(&manifest).len());
        for entry in &index.entries {
            let prefix = format!("https://mirror.example/base/web/secure/spa/r/{}/", manifest.serial);
            assert_eq!(entry.locator, format!("{prefix}{}", entry.name));
            let wanted = archives(&manifest).into_iter().find(|archive| archive.name == entry.name).unwrap();
            let path = format!("web/secure/spa/r/{}/{}", manifest.serial, entry.name);
            assert_eq!(Digest::of(&std::fs::read(world.tree(&path)).unwrap()), wanted.sha256);
        }
    }
}

#[tokio::test]
async fn the_listening_address_stands_in_for_a_public_url_and_a_wildcard_does_not() {
    let mut world = World::with(|config| config.serve.public_url = None);
    world.publish_next().await;
    assert!(index(&world).entries[0].locator.starts_with("http://127.0.0.1:8080/web/secure/spa/r/1/"));

    world.publisher.set_public_url(Url::parse("http://127.0.0.1:4711").unwrap());
    world.publisher.publish(world.now).await.unwrap();
    assert!(index(&world).entries[0].locator.starts_with("http://127.0.0.1:4711/web/secure/spa/r/1/"));

    world.publisher.set_public_url(None);
    let published = world.publisher.publish(world.now).await.unwrap();
    assert!(published.get(&format!("/{INDEX}")).is_none() && !world.tree(INDEX).exists());
    assert_eq!(published.serial(), Some(serial(1)));
}

#[tokio::test]
async fn an_index_that_is_not_to_be_rewritten_is_upstreams() {
    let mut world = World::with(|config| config.serve.rewrite_index = false);
    let first = world.publish_next().await;
    assert_eq!(Digest::of(&std::fs::read(world.tree(INDEX)).unwrap()), first.index.unwrap().sha256);
}

#[tokio::test]
async fn an_index_that_does_not_fit_its_release_stops_the_vendor_layout_alone() {
    let mut world = World::new();
    world.publish_next().await;
    let old = std::fs::read(world.tree(INDEX)).unwrap();
    let mut feed = world.next_feed();
    feed.components.pop();
    let newest = world.store.newest_release().unwrap().unwrap().manifest;
    let manifest = crate::release::plan(&feed, Some(&newest), None, world.now, false).unwrap().unwrap();
    crate::release::commit(&world.store, feed, &manifest).unwrap();

    let error = world.publisher.publish(world.now).await.unwrap_err();
    assert_eq!(error.reason(), Reason::NotAFeed);
    assert!(error.to_string().contains("osgroups"), "{error}");
    assert_eq!(std::fs::read(world.tree(INDEX)).unwrap(), old);
    assert_eq!(world.publisher.published().load().serial(), Some(serial(2)), "headends get it all the same");
}

#[tokio::test]
async fn a_release_without_an_index_is_not_given_out_under_an_older_one() {
    let mut world = World::new();
    world.publish_next().await;
    let mut feed = world.next_feed();
    (feed.index, feed.new_files) =
        (None, feed.new_files.into_iter().filter(|file| file.file().name.as_str() != "posture-update.xml").collect());
    let newest = world.store.newest_release().unwrap().unwrap().manifest;
    let manifest = crate::release::plan(&feed, Some(&newest), None, world.now, false).unwrap().unwrap();
    crate::release::commit(&world.store, feed, &manifest).unwrap();

    let published = world.publisher.publish(world.now).await.unwrap();
    assert!(published.get(&format!("/{INDEX}")).is_none() && !world.tree(INDEX).exists());
    assert_eq!(published.newest().unwrap().serial, serial(2));
    let archive = format!("web/secure/spa/r/1/{}", archives(&newest)[0].name);
    assert!(world.tree(&archive).exists(), "runs that began with the older index end with its archives");

    world.publish_next().await;
    assert!(index(&world).entries[0].locator.contains("/web/secure/spa/r/3/"));
}
