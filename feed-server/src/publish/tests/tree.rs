use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bundles::{Digest, Manifest};

use crate::publish::{Body, Cache};
use crate::release;
use crate::testing::{World, hours, serial};

fn vendor_files(manifest: &Manifest) -> Vec<String> {
    let archives = manifest.components.iter().flat_map(|released| &released.files).map(|file| &file.archive);
    archives.map(|archive| format!("web/secure/spa/r/{}/{}", manifest.serial, archive.name)).collect()
}

fn target_files(manifest: &Manifest) -> Vec<String> {
    let file = |file: &&bundles::release::FileRef| file.target_name().unwrap().served_as(&file.sha256);
    let names: Vec<_> = manifest.files().iter().map(file).collect();
    let manifest_digest = Digest::of(&manifest.to_json());
    let of_manifest =
        [format!("{manifest_digest}.release-{}.json", manifest.serial), format!("{manifest_digest}.stable.json")];
    let names = names.into_iter().chain(of_manifest);
    names.flat_map(|name| [format!("repo/targets/{name}"), format!("offline/targets/{name}")]).collect()
}

#[tokio::test]
async fn publishing_again_changes_nothing() {
    let mut world = World::new();
    world.publish_next().await;
    let before = world.files();
    world.now += hours(1);
    world.publisher.publish(world.now).await.unwrap();
    assert_eq!(world.files(), before);
    let world = world.reopen();
    world.publisher.publish(world.now).await.unwrap();
    assert_eq!(world.files(), before);
}

#[tokio::test]
async fn retained_releases_stay_beside_the_new_one_and_the_others_go() {
    let mut world = World::new();
    let first = world.publish_next().await;
    let second = world.publish_next().await;
    let files = world.files();
    for path in [&first, &second].into_iter().flat_map(|manifest| [vendor_files(manifest), target_files(manifest)]) {
        for path in path {
            assert!(files.contains_key(&path), "{path}");
        }
    }

    release::retain(&world.store, 1).unwrap();
    world.publisher.publish(world.now).await.unwrap();
    release::collect(&world.store, &world.publisher.in_use()).unwrap();
    let files = world.files();
    let kept: BTreeSet<_> = [vendor_files(&second), target_files(&second)].concat().into_iter().collect();
    for path in &kept {
        assert!(files.contains_key(path), "{path}");
    }
    for path in [vendor_files(&first), target_files(&first)].concat() {
        assert!(kept.contains(&path) || !files.contains_key(&path), "{path}");
    }
    assert!(!files.keys().any(|path| path.contains("posture-offline-1.zip")));
    assert!(!world.tree("web/secure/spa/r/1").exists());

    // Everything is there again after a restart, from what is left.
    let world = world.reopen();
    world.publisher.publish(world.now).await.unwrap();
    assert_eq!(world.files(), files);
}

#[tokio::test]
async fn what_is_served_is_what_the_tree_holds() {
    let mut world = World::new();
    world.publish_next().await;
    world.publish_next().await;
    let published = world.publisher.published().load_full();
    assert_eq!(published.serial(), Some(serial(2)));
    let files = world.files();
    let served: BTreeSet<_> = published.paths().map(|path| path.trim_start_matches('/').to_owned()).collect();
    assert_eq!(served, files.keys().cloned().collect(), "all of the tree, and nothing else");
    for path in published.paths() {
        let served = published.get(path).unwrap();
        let bytes = match &served.body {
            Body::Memory(bytes) => bytes.to_vec(),
            Body::File(path) => fs::read(path).unwrap(),
        };
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (served.sha256, served.length), "{path}");
        assert_eq!(served.etag, format!("\"{}\"", served.sha256));
        let polled = ["timestamp.json", "posture-update.xml", "posture-offline.zip", "posture-offline.zip.sha256"];
        let is_polled = polled.iter().any(|name| path.ends_with(&format!("/{name}")))
            || path.starts_with("/offline/posture-bundle")
            || path.ends_with(".sheet.txt");
        assert_eq!(served.cache == Cache::Revalidate, is_polled, "{path}");
    }
    for path in ["/repo/metadata/timestamp.json", "/web/secure/spa/posture-update.xml"] {
        assert!(matches!(published.get(path).unwrap().body, Body::Memory(_)), "{path} is polled");
    }
}

#[tokio::test]
async fn any_web_server_may_read_the_tree_and_nothing_else() {
    let mut world = World::new();
    world.publish_next().await;
    fn modes(directory: &Path, found: &mut BTreeSet<(bool, u32)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let metadata = entry.as_ref().unwrap().metadata().unwrap();
            found.insert((metadata.is_dir(), metadata.permissions().mode() & 0o7777));
            if metadata.is_dir() {
                modes(&entry.unwrap().path(), found);
            }
        }
    }
    let mut found = BTreeSet::new();
    modes(&world.tree(""), &mut found);
    assert_eq!(found, BTreeSet::from([(false, 0o644), (true, 0o755)]));
    assert_eq!(fs::metadata(&world.config.data.directory).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[tokio::test]
async fn a_restarted_server_serves_what_was_published_before_it_publishes() {
    let mut world = World::new();
    world.publish_next().await;
    let before: BTreeSet<String> = world.publisher.published().load().paths().map(str::to_owned).collect();
    // Committed, and then the process died.
    world.release();
    let world = world.reopen();
    let published = world.publisher.published().load_full();
    assert_eq!(published.serial(), Some(serial(1)));
    assert_eq!(published.paths().map(str::to_owned).collect::<BTreeSet<_>>(), before);
    assert_eq!(world.publisher.publish(world.now).await.unwrap().serial(), Some(serial(2)));
}

#[tokio::test]
async fn damage_to_the_tree_is_mended() {
    let mut world = World::new();
    let first = world.publish_next().await;
    let whole = world.files();
    let (cut, other, gone) = (&target_files(&first)[0], &vendor_files(&first)[1], &vendor_files(&first)[2]);
    let replace = |path: &str, bytes: &[u8]| {
        // Not written into: the file shares its bytes with the store.
        fs::remove_file(world.tree(path)).unwrap();
        fs::write(world.tree(path), bytes).unwrap();
        fs::set_permissions(world.tree(path), fs::Permissions::from_mode(0o644)).unwrap();
    };
    replace(cut, &whole[cut][..10]);
    replace(other, &vec![b'x'; whole[other].len()]);
    fs::remove_file(world.tree(gone)).unwrap();
    fs::write(world.tree("web/secure/spa/posture-update.xml"), b"<half").unwrap();
    fs::write(world.tree(".scratch/7"), b"left behind").unwrap();
    fs::write(world.tree("repo/targets/left-behind"), b"of an older release").unwrap();
    let world = world.reopen();
    world.publisher.publish(world.now).await.unwrap();
    assert_eq!(world.files(), whole);
}

#[tokio::test]
async fn publishing_and_signing_at_once_wait_for_each_other() {
    let mut world = World::new();
    world.publish_next().await;
    world.release();
    let now = world.now + hours(7);
    let publisher = &world.publisher;
    let (a, b, c, d) =
        tokio::join!(publisher.publish(now), publisher.resign(now), publisher.publish(now), publisher.resign(now));
    b.unwrap();
    d.unwrap();
    assert_eq!(a.unwrap().serial(), Some(serial(2)));
    assert_eq!(c.unwrap().serial(), Some(serial(2)));
    let before = world.files();
    publisher.publish(now).await.unwrap();
    assert_eq!(world.files(), before);
}
