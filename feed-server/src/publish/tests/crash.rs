//! The process is killed at every point of making and publishing a release. Readers see one release or the other, whole,
//! and the next start completes it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bundles::index::{Index, Patterns};
use bundles::{Digest, Limits, Manifest};
use sigstore_tuf::Updater;
use url::Url;

use super::metadata::Files;
use crate::crash;
use crate::publish::{Body, Published, Publisher, Repository};
use crate::release;
use crate::testing::{World, hours, serial};

const DIRECTORY: &str = "POSTURE_FEED_TEST_DIRECTORY";

/// What the killed process does: a second release, with one retained.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn child() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let mut world = World::at(directory);
    world.release();
    release::retain(&world.store, 1).unwrap();
    world.publisher.publish(world.now).await.unwrap();
    release::collect(&world.store, &world.publisher.in_use()).unwrap();
}

#[tokio::test]
async fn whatever_the_moment_readers_see_one_release_whole() {
    let points = crash::POINTS.iter().filter(|point| {
        ["blob.", "blobs.", "catalog.", "tree.", "collect."].iter().any(|prefix| point.starts_with(prefix))
    });
    for point in points {
        let mut world = World::new();
        world.publish_next().await;
        let World { directory, config, store, publisher, now, .. } = world;
        let roots = Repository::ALL.map(|repository| publisher.root_json(repository).unwrap());
        drop((publisher, store));

        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "publish::tests::crash::child", "--include-ignored", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .env("POSTURE_FEED_CRASH_AT", point)
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(6), "{point}: {}", String::from_utf8_lossy(&killed.stdout));

        let tree = config.data.directory.join("tree");
        let mut serials = Vec::new();
        for (repository, root) in std::iter::zip(Repository::ALL, &roots) {
            serials.push(whole_release(&tree, repository, root, now + hours(2)).await);
        }
        whole_layout(&tree);

        // A restarted server serves just that until it has published.
        let world = World::at(directory.path().to_owned());
        let published = world.publisher.published().load_full();
        assert_eq!(published.serial(), Some(serials[0].serial), "{point}");
        whole_zips(&published);
        let has_committed = world.store.newest_release().unwrap().unwrap().manifest.serial == serial(2);
        assert_eq!(has_committed, !point.starts_with("blob") && *point != "catalog.before_commit", "{point}");
        release::retain(&world.store, 1).unwrap();
        let published = heal(&world.publisher, now).await;
        assert_eq!(published == serial(2), has_committed, "{point}");
        let zips = whole_zips(&world.publisher.published().load());
        let wanted = ["offline", "bundle"].map(|kind| format!("/offline/posture-{kind}-{published}.zip"));
        assert!(wanted.iter().all(|zip| zips.contains(zip)) && zips.len() == 4, "{point}: {zips:?}");
        release::collect(&world.store, &world.publisher.in_use()).unwrap();
        for (repository, root) in std::iter::zip(Repository::ALL, &roots) {
            assert_eq!(whole_release(&tree, repository, root, now + hours(2)).await.serial, published, "{point}");
        }
        whole_layout(&tree);
        assert_eq!(std::fs::read_dir(tree.join("web/secure/spa/r")).unwrap().count(), 1, "{point}");
    }
}

async fn heal(publisher: &Publisher, now: jiff::Timestamp) -> bundles::Serial {
    publisher.publish(now + hours(2)).await.unwrap().serial().unwrap()
}

/// The release that a repository gives, with every file of it.
pub(super) async fn whole_release(tree: &Path, repository: Repository, root: &[u8], now: jiff::Timestamp) -> Manifest {
    let mut client = Updater::new(Files(tree.join(repository.folder())), root).unwrap();
    client.refresh(now).await.unwrap();
    let stable = client.get_target("stable.json", now).await.unwrap();
    let manifest = Manifest::from_json(&stable).unwrap();
    for file in manifest.files() {
        client.get_target(file.target_name().unwrap().as_str(), now).await.unwrap();
    }
    manifest
}

/// Every zip that is served has the bytes that it is said to have, and beside it stands its own digest and sheet or none.
/// Their names, but for those by digest.
pub(super) fn whole_zips(published: &Published) -> Vec<String> {
    let mut zips: Vec<_> =
        published.paths().filter(|path| path.ends_with(".zip") && !path.contains("/targets/")).collect();
    zips.sort_unstable();
    for zip in &zips {
        let served = published.get(zip).unwrap();
        let Body::File(path) = &served.body else { panic!("{zip} is held in memory") };
        assert_eq!(Digest::of(&std::fs::read(path).unwrap()), served.sha256, "{zip}");
        let beside = |suffix| published.get(&format!("{zip}{suffix}"));
        for companion in [".sha256", ".sheet.txt"].into_iter().filter_map(beside) {
            let Body::Memory(text) = &companion.body else { panic!("beside {zip} is something large") };
            let text: String = String::from_utf8(text.to_vec()).unwrap().split_whitespace().collect();
            assert!(text.contains(&served.sha256.to_string()), "{zip}: {text}");
        }
    }
    zips.into_iter().filter(|zip| !zip.contains("/bundles/")).map(str::to_owned).collect()
}

/// Every archive that the index names is there with its checksum.
pub(super) fn whole_layout(tree: &Path) {
    let index = std::fs::read(tree.join("web/secure/spa/posture-update.xml")).unwrap();
    let base = Url::parse("https://mirror.example/").unwrap();
    let index = Index::read(&index, &base, &Patterns::default(), &Limits::default()).unwrap();
    for entry in index.entries {
        let path = entry.locator.strip_prefix("https://mirror.example/base/").unwrap();
        let mut checksum = entry.checksum.unwrap().verifier();
        checksum.update(&std::fs::read(tree.join(path)).unwrap());
        checksum.finish().unwrap();
    }
}
