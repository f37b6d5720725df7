//! A relay: what its origin signed, byte for byte, and around it what an origin makes too.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::crash::{whole_layout, whole_release, whole_zips};
use crate::crash;
use crate::publish::{Publisher, Repository};
use crate::release;
use crate::testing::{World, hours, serial};

const DIRECTORY: &str = "POSTURE_FEED_TEST_DIRECTORY";
const ORIGIN: &str = "POSTURE_FEED_TEST_ORIGIN";

/// Brings what a tree serves to a relay, and publishes it there.
async fn bring(relay: &World, tree: &Path, repositories: &[Repository]) {
    relay.take(tree, repositories).unwrap();
    relay.publisher.publish(relay.now).await.unwrap();
}

/// Everything that a relay has is what its origin has, and under the same path.
fn same_as(relay: &World, origin: &World, folders: &[&str]) -> usize {
    let of_origin = origin.files();
    let of_relay = relay.files();
    let compared = of_relay.iter().filter(|(path, _)| folders.iter().any(|folder| path.starts_with(folder)));
    compared.inspect(|(path, bytes)| assert!(of_origin.get(*path) == Some(*bytes), "{path}")).count()
}

#[tokio::test]
async fn a_relay_serves_the_bytes_that_its_origin_signed() {
    let mut origin = World::new();
    let relay = World::relay();
    for number in 1..=2 {
        origin.publish_next().await;
        bring(&relay, &origin.tree(""), &Repository::ALL).await;
        let everything = ["repo/", "offline/", "web/"];
        assert!(same_as(&relay, &origin, &everything) > 40);
        for repository in Repository::ALL {
            let root = origin.publisher.root_json(repository).unwrap();
            assert_eq!(relay.publisher.root_json(repository).as_ref(), Some(&root));
            let release = whole_release(&relay.tree(""), repository, &root, origin.now).await;
            assert_eq!(release.serial, serial(number));
        }
        whole_layout(&relay.tree(""));
    }
    // Both releases, with their zips, and every path that the origin has.
    let (of_relay, of_origin) = (relay.publisher.published().load_full(), origin.publisher.published().load_full());
    let old = |path: &&str| path.ends_with(".snapshot.json") || path.ends_with(".targets.json");
    let mut wanted: Vec<_> = of_origin.paths().filter(|path| !old(path)).collect();
    let mut found: Vec<_> = of_relay.paths().filter(|path| !old(path)).collect();
    wanted.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, wanted);
    for zip in ["/offline/posture-offline-1.zip", "/offline/posture-bundle-1.zip", "/offline/posture-bundle.zip"] {
        assert!(found.contains(&zip), "{zip}");
    }
    assert_eq!(of_relay.serial(), Some(serial(2)));
}

#[tokio::test]
async fn what_was_carried_by_hand_is_the_offline_repository_alone() {
    let mut origin = World::new();
    origin.publish_next().await;
    let relay = World::relay();
    let before = relay.publisher.published().load_full();
    assert!(!before.has(Repository::Online) && !before.has(Repository::Offline));
    assert!(before.lacks(Repository::Online).contains("no release yet"));

    // What earlier programs left there, which nothing named.
    std::fs::create_dir_all(relay.tree("repo/targets")).unwrap();
    std::fs::write(relay.tree("repo/targets/left-behind"), b"x").unwrap();
    bring(&relay, &origin.tree(""), &[Repository::Offline]).await;
    assert!(same_as(&relay, &origin, &["offline/", "web/"]) > 20);
    assert!(!relay.files().keys().any(|path| path.starts_with("repo/")), "nothing would name it");
    let published = relay.publisher.published().load_full();
    assert_eq!(published.serial(), Some(serial(1)));
    assert_eq!(relay.publisher.root_json(Repository::Online), None);
    assert_eq!(relay.publisher.root_fingerprint(Repository::Online), None);
    assert!(published.lacks(Repository::Online).contains("enroll with the root"));
    assert!(!published.paths().any(|path| path.starts_with("/repo/")));
    let of_origin = origin.publisher.published().load_full();
    for zip in ["/offline/posture-offline-1.zip", "/offline/posture-bundle-1.zip", "/offline/posture-bundle.zip"] {
        assert_eq!(published.get(zip).unwrap().sha256, of_origin.get(zip).unwrap().sha256, "{zip}");
    }

    // And on to the next one.
    let next = World::relay();
    bring(&next, &relay.tree(""), &[Repository::Offline]).await;
    assert_eq!(next.files(), relay.files());
}

#[tokio::test]
async fn a_restart_serves_at_once_and_an_end_takes_nothing_away() {
    let mut origin = World::new();
    origin.publish_next().await;
    let mut relay = World::relay();
    bring(&relay, &origin.tree(""), &Repository::ALL).await;
    drop(origin);
    let files = relay.files();
    let paths = |world: &World| {
        let mut paths: Vec<_> = world.publisher.published().load().paths().map(str::to_owned).collect();
        paths.sort();
        paths
    };
    let served = paths(&relay);

    // Ten years on, everything has ended.
    relay.now += hours(10 * 365 * 24);
    let relay = relay.reopen();
    assert_eq!(paths(&relay), served);
    assert_eq!(relay.publisher.next_resign(relay.now), None);
    assert!(relay.publisher.resign(relay.now).await.unwrap().is_none());
    relay.publisher.publish(relay.now).await.unwrap();
    assert_eq!((relay.files(), paths(&relay)), (files, served));
    let ends = relay.publisher.metadata_expiries();
    assert_eq!(ends.len(), 8);
    assert!(ends.iter().all(|(.., ends)| *ends < relay.now), "{ends:?}");
    assert!(!relay.config.data.directory.join("keys").exists());
}

#[tokio::test]
async fn a_tree_that_was_lost_or_damaged_is_made_anew() {
    let mut origin = World::new();
    origin.publish_next().await;
    let relay = World::relay();
    bring(&relay, &origin.tree(""), &Repository::ALL).await;
    let files = relay.files();
    std::fs::write(relay.tree("offline/metadata/timestamp.json"), "{}").unwrap();
    std::fs::remove_dir_all(relay.tree("repo")).unwrap();
    let relay = relay.reopen();
    relay.publisher.publish(relay.now).await.unwrap();
    assert_eq!(relay.files(), files);
}

#[tokio::test]
async fn older_releases_stay_as_long_as_they_are_retained() {
    let mut origin = World::new();
    let relay = World::relay();
    for _ in 0..3 {
        origin.publish_next().await;
        bring(&relay, &origin.tree(""), &[Repository::Offline]).await;
    }
    release::retain(&relay.store, 2).unwrap();
    relay.publisher.publish(relay.now).await.unwrap();
    release::collect(&relay.store, &relay.publisher.in_use()).unwrap();
    let published = relay.publisher.published().load_full();
    let has = |path: &str| published.get(path).is_some();
    assert!(!has("/offline/posture-offline-1.zip"));
    assert!(has("/offline/posture-offline-2.zip") && has("/offline/posture-offline-3.zip"));
    assert!(same_as(&relay, &origin, &["offline/", "web/"]) > 20);
    let root = origin.publisher.root_json(Repository::Offline).unwrap();
    assert_eq!(whole_release(&relay.tree(""), Repository::Offline, &root, origin.now).await.serial, serial(3));
}

#[tokio::test]
async fn a_repository_that_comes_later_than_the_other_is_whole_all_the_while() {
    let mut origin = World::new();
    let relay = World::relay();
    origin.publish_next().await;
    bring(&relay, &origin.tree(""), &Repository::ALL).await;
    let early = origin.now;
    for _ in 0..2 {
        origin.publish_next().await;
        relay.take(&origin.tree(""), &[Repository::Offline]).unwrap();
        release::retain(&relay.store, 1).unwrap();
        relay.publisher.publish(relay.now).await.unwrap();
        release::collect(&relay.store, &relay.publisher.in_use()).unwrap();
    }
    let stable = async |repository, now| {
        let root = origin.publisher.root_json(repository).unwrap();
        whole_release(&relay.tree(""), repository, &root, now).await.serial
    };
    assert_eq!(stable(Repository::Online, early).await, serial(1));
    assert_eq!(stable(Repository::Offline, origin.now).await, serial(3));
    assert_eq!(relay.publisher.published().load().serial(), Some(serial(3)));
    let kept: Vec<_> = relay.store.releases(9).unwrap().iter().map(|release| release.manifest.serial).collect();
    assert_eq!(kept, [serial(3), serial(1)]);
}

/// What the killed process does: it takes a second release, under a new root, with one retained.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn child() {
    let path = |name| PathBuf::from(std::env::var_os(name).unwrap());
    let relay = World::relay_at(path(DIRECTORY));
    relay.take(&path(ORIGIN), &Repository::ALL).unwrap();
    release::retain(&relay.store, 1).unwrap();
    relay.publisher.publish(relay.now).await.unwrap();
    release::collect(&relay.store, &relay.publisher.in_use()).unwrap();
}

#[tokio::test]
async fn whatever_the_moment_readers_see_one_release_whole() {
    let mut origin = World::new();
    origin.publish_next().await;
    let roots = Repository::ALL.map(|repository| origin.publisher.root_json(repository).unwrap());
    let early = origin.now;
    // Copied, for the origin goes on.
    let first = tempfile::tempdir().unwrap();
    for (name, bytes) in origin.files() {
        let path = first.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    origin.now += hours(24 * 300);
    origin.publish_next().await;

    let points = crash::POINTS.iter().filter(|point| {
        ["blob.", "blobs.", "catalog.", "tree.", "collect."].iter().any(|prefix| point.starts_with(prefix))
    });
    for point in points {
        let relay = World::relay();
        bring(&relay, first.path(), &Repository::ALL).await;
        let World { directory, config, store, publisher, .. } = relay;
        drop((publisher, store));

        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "publish::tests::relay::child", "--include-ignored", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .env(ORIGIN, origin.tree(""))
            .env("POSTURE_FEED_CRASH_AT", point)
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(6), "{point}: {}", String::from_utf8_lossy(&killed.stdout));

        let tree = config.data.directory.join("tree");
        let mut serials = Vec::new();
        for (repository, root) in std::iter::zip(Repository::ALL, &roots) {
            serials.push(whole_release(&tree, repository, root, early).await.serial);
        }
        whole_layout(&tree);

        // A restarted relay serves just that, whatever became of its origin, until it has published.
        let relay = World::relay_at(directory.path().to_owned());
        whole_zips(&relay.publisher.published().load());
        assert_eq!(relay.publisher.published().load().serial(), serials.iter().max().copied(), "{point}");
        let has_taken = relay.store.newest_release().unwrap().unwrap().manifest.serial == serial(2);
        assert_eq!(has_taken, !point.starts_with("blob") && *point != "catalog.before_commit", "{point}");
        release::retain(&relay.store, 1).unwrap();
        assert_eq!(heal(&relay.publisher, early).await == serial(2), has_taken, "{point}");
        relay.take(&origin.tree(""), &Repository::ALL).unwrap();
        release::retain(&relay.store, 1).unwrap();
        assert_eq!(heal(&relay.publisher, early).await, serial(2), "{point}");
        assert_eq!(whole_zips(&relay.publisher.published().load()).len(), 4, "{point}");
        release::collect(&relay.store, &relay.publisher.in_use()).unwrap();
        for (repository, root) in std::iter::zip(Repository::ALL, &roots) {
            assert_eq!(whole_release(&tree, repository, root, early).await.serial, serial(2), "{point}");
        }
        whole_layout(&tree);
        assert_eq!(std::fs::read_dir(tree.join("web/secure/spa/r")).unwrap().count(), 1, "{point}");
    }
}

async fn heal(publisher: &Publisher, now: jiff::Timestamp) -> bundles::Serial {
    publisher.publish(now).await.unwrap().serial().unwrap()
}
