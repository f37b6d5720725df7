use std::collections::BTreeMap;
use std::path::PathBuf;

use bundles::{Digest, Manifest};
use jiff::Timestamp;
use sigstore_tuf::Updater;
use sigstore_tuf::transport::{FetchFuture, Repository as Transport};

use crate::publish::{Repository, Role};
use crate::testing::{World, hours, start};

/// Reads a repository from the tree's files, as from any web server.
#[derive(Clone)]
pub(super) struct Files(pub(super) PathBuf);

impl Files {
    fn read(&self, path: &str) -> FetchFuture<'_> {
        let path = self.0.join(path);
        Box::pin(async move {
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(sigstore_tuf::Error::transport(error.to_string())),
            }
        })
    }
}

impl Transport for Files {
    fn fetch_metadata<'a>(&'a self, name: &'a str, _: u64) -> FetchFuture<'a> {
        self.read(&format!("metadata/{name}"))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, _: u64) -> FetchFuture<'a> {
        self.read(&format!("targets/{path}"))
    }
}

fn client(world: &World, repository: Repository, root: Repository) -> Updater {
    let files = Files(world.tree(repository.folder()));
    Updater::new(files, &world.publisher.root_json(root).unwrap()).unwrap()
}

async fn refreshed(world: &World, repository: Repository, now: Timestamp) -> Updater {
    let mut client = client(world, repository, repository);
    client.refresh(now).await.unwrap();
    client
}

/// The versions of timestamp, snapshot and targets.
async fn versions(world: &World, repository: Repository) -> [u64; 3] {
    let client = refreshed(world, repository, world.now).await;
    let trusted = client.trusted();
    [
        trusted.timestamp().unwrap().version,
        trusted.snapshot().unwrap().version,
        trusted.targets_role("targets").unwrap().version,
    ]
}

#[tokio::test]
async fn another_implementation_verifies_both_repositories_and_every_target() {
    let mut world = World::new();
    world.publish_next().await;
    let second = world.publish_next().await;
    for repository in Repository::ALL {
        let mut client = refreshed(&world, repository, world.now).await;
        let stable = client.get_target("stable.json", world.now).await.unwrap();
        assert_eq!(Manifest::from_json(&stable).unwrap(), second);
        let names: Vec<String> = client.trusted().targets_role("targets").unwrap().targets.keys().cloned().collect();
        for name in &names {
            client.get_target(name, world.now).await.unwrap();
        }
        for wanted in ["release-1.json", "release-2.json"] {
            assert!(names.iter().any(|name| name == wanted), "{names:?}");
        }
        for file in second.files() {
            assert!(names.contains(&file.target_name().unwrap().to_string()), "{}", file.name);
        }
        for serial in [1, 2] {
            let zip = format!("-posture-offline-{serial}.zip");
            assert_eq!(names.iter().filter(|name| name.ends_with(&zip)).count(), 1, "{names:?}");
        }
        assert_eq!(names.iter().any(|name| name == "offline-root.json"), repository == Repository::Online);
    }
    let mut online = refreshed(&world, Repository::Online, world.now).await;
    let offline_root = online.get_target("offline-root.json", world.now).await.unwrap();
    assert_eq!(offline_root, world.publisher.root_json(Repository::Offline).unwrap());
    assert_eq!(Digest::of(&offline_root), world.publisher.root_fingerprint(Repository::Offline).unwrap());
}

#[tokio::test]
async fn there_is_a_repository_before_there_is_a_release() {
    let world = World::new();
    let published = world.publisher.publish(world.now).await.unwrap();
    assert_eq!(published.serial(), None);
    let mut client = refreshed(&world, Repository::Online, world.now).await;
    assert!(client.get_target("stable.json", world.now).await.is_err());
    assert!(client.get_target("offline-root.json", world.now).await.is_ok());
}

#[tokio::test]
async fn each_root_refuses_the_other_repository() {
    let mut world = World::new();
    world.publish_next().await;
    for (repository, root) in [(Repository::Online, Repository::Offline), (Repository::Offline, Repository::Online)] {
        assert!(client(&world, repository, root).refresh(world.now).await.is_err(), "{repository}");
    }
}

#[tokio::test]
async fn metadata_ends_when_the_design_says() {
    let mut world = World::with(|config| config.bundles.valid_for = std::time::Duration::from_hours(24 * 30));
    world.publish_next().await;
    let day = hours(24);
    let signed = world.now;
    for (repository, days) in [(Repository::Online, 7), (Repository::Offline, 30)] {
        let end = signed + day * days;
        assert!(client(&world, repository, repository).refresh(end - hours(1)).await.is_ok(), "{repository}");
        assert!(client(&world, repository, repository).refresh(end + hours(1)).await.is_err(), "{repository}");
    }
    let expiries: BTreeMap<_, _> = world
        .publisher
        .metadata_expiries()
        .into_iter()
        .map(|(repository, role, expires)| ((repository, role), expires))
        .collect();
    assert_eq!(expiries.len(), 8);
    assert_eq!(expiries[&(Repository::Online, Role::Root)], start() + day * 365);
    assert_eq!(expiries[&(Repository::Online, Role::Targets)], signed + day * 90);
    assert_eq!(expiries[&(Repository::Online, Role::Snapshot)], signed + day * 14);
    assert_eq!(expiries[&(Repository::Offline, Role::Snapshot)], signed + day * 30);
}

#[tokio::test]
async fn versions_follow_the_clock_and_never_go_back() {
    let mut world = World::new();
    world.publish_next().await;
    let first = versions(&world, Repository::Online).await;
    assert!(first.iter().all(|version| *version >= world.now.as_second() as u64), "{first:?}");

    // The clock goes back by a day.
    world.now -= hours(24);
    world.publish_next().await;
    let second = versions(&world, Repository::Online).await;
    assert!(std::iter::zip(first, second).all(|(before, after)| after > before), "{first:?} {second:?}");

    // The tree is lost: the catalog remembers.
    std::fs::remove_dir_all(world.tree("")).unwrap();
    let mut world = world.reopen();
    world.publisher.publish(world.now).await.unwrap();
    let third = versions(&world, Repository::Online).await;
    assert!(std::iter::zip(second, third).all(|(before, after)| after > before), "{second:?} {third:?}");

    // The catalog is an old one: the tree remembers.
    for repository in Repository::ALL {
        let mut batch = crate::store::Batch::new();
        batch.remove(crate::store::Table::State, format!("publish.{repository}.versions"));
        world.store.commit(batch).unwrap();
    }
    world.publish_next().await;
    let fourth = versions(&world, Repository::Online).await;
    assert!(std::iter::zip(third, fourth).all(|(before, after)| after > before), "{third:?} {fourth:?}");
}

#[tokio::test]
async fn resigning_touches_the_online_timestamp_alone() {
    let mut world = World::new();
    world.publish_next().await;
    let signed = world.now;
    assert_eq!(world.publisher.next_resign(signed), Some(signed + hours(6)));
    assert!(world.publisher.resign(signed + hours(5)).await.unwrap().is_none());
    let before = world.files();
    world.now = signed + hours(6);
    let published = world.publisher.resign(world.now).await.unwrap().unwrap();
    let after = world.files();
    let changed: Vec<_> = after.iter().filter(|(name, bytes)| before.get(*name) != Some(bytes)).collect();
    assert_eq!(changed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["repo/metadata/timestamp.json"]);
    assert_eq!(before.len(), after.len());
    assert_eq!(published.get("/repo/metadata/timestamp.json").unwrap().sha256, Digest::of(changed[0].1));
    assert_eq!(world.publisher.next_resign(world.now), Some(world.now + hours(6)));
    // What is due already is due now.
    assert_eq!(world.publisher.next_resign(world.now + hours(9)), Some(world.now + hours(9)));
    refreshed(&world, Repository::Online, signed + hours(7 * 24 + 1)).await;
}

#[tokio::test]
async fn a_server_that_only_signs_keeps_everything_fresh_for_years() {
    let mut world = World::new();
    world.publish_next().await;
    let first_root = world.publisher.root_json(Repository::Online).unwrap();
    let began = world.now;
    let mut last = versions(&world, Repository::Offline).await;
    while world.now < began + hours(24 * 800) {
        world.now = world.publisher.next_resign(world.now).unwrap();
        world.publisher.resign(world.now).await.unwrap().unwrap();
        for (repository, role, expires) in world.publisher.metadata_expiries() {
            let left = expires - world.now;
            assert!(left.total(jiff::Unit::Hour).unwrap() > 24.0 * 4.0, "{repository} {role} at {}", world.now);
            if repository == Repository::Offline {
                // Whatever moment a bundle is made at, it lasts for most of `valid_for`.
                assert!(left.total(jiff::Unit::Hour).unwrap() > 24.0 * 82.0, "{role} at {}", world.now);
            }
        }
        // Skips ahead, or there would be thousands of signatures.
        world.now += hours(24 * 3);
    }
    let now = versions(&world, Repository::Offline).await;
    assert!(std::iter::zip(last, now).all(|(before, after)| after > before));
    last = now;
    assert!(last[0] > 0);
    // A headend that enrolled on the first day walks the roots.
    let mut client = Updater::new(Files(world.tree("repo")), &first_root).unwrap();
    client.refresh(world.now).await.unwrap();
    assert!(client.trusted().root().version >= 3);
    let offline = client.get_target("offline-root.json", world.now).await.unwrap();
    assert_eq!(offline, world.publisher.root_json(Repository::Offline).unwrap());
    for role in ["snapshot", "targets"] {
        let names = std::fs::read_dir(world.tree("repo/metadata")).unwrap();
        let suffix = format!(".{role}.json");
        let kept = names.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(&suffix));
        assert!(kept.count() <= 8, "{role}");
    }
}

#[tokio::test]
async fn damaged_metadata_is_signed_anew() {
    let mut world = World::new();
    world.publish_next().await;
    for damage in ["timestamp.json", "snapshot.json", "targets.json"] {
        for repository in Repository::ALL {
            let folder = world.tree(repository.folder()).join("metadata");
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.to_str().unwrap().ends_with(damage) {
                    std::fs::write(&path, b"{}").unwrap();
                }
            }
        }
        world.publisher.publish(world.now).await.unwrap();
        for repository in Repository::ALL {
            refreshed(&world, repository, world.now).await;
        }
    }
}
