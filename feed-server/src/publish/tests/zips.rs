use std::fs::{self, File};
use std::io::Read as _;

use bundles::release::FileRef;
use bundles::{Digest, Manifest};
use zip::ZipArchive;

use crate::publish::{Cache, ZipOrigin};
use crate::testing::World;

fn members(path: &std::path::Path) -> Vec<(String, Digest)> {
    let mut archive = ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut members = Vec::new();
    for number in 0..archive.len() {
        let mut file = archive.by_index(number).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        members.push((file.name().unwrap().into_owned(), Digest::of(&bytes)));
    }
    members
}

fn upstreams(manifest: &Manifest) -> Vec<(String, Digest)> {
    let named = |file: &FileRef| (file.name.to_string(), file.sha256);
    let archives = manifest.components.iter().flat_map(|released| &released.files).map(|file| named(&file.archive));
    manifest.index.iter().map(named).chain(archives).collect()
}

#[tokio::test]
async fn each_retained_release_has_a_zip_of_upstreams_exact_files() {
    let mut world = World::new();
    let first = world.publish_next().await;
    let second = world.publish_next().await;
    for (name, manifest) in
        [("posture-offline-1.zip", &first), ("posture-offline-2.zip", &second), ("posture-offline.zip", &second)]
    {
        let path = world.tree("offline").join(name);
        assert_eq!(members(&path), upstreams(manifest), "{name}");
        let digest = Digest::of(&fs::read(&path).unwrap());
        let beside = fs::read_to_string(world.tree("offline").join(format!("{name}.sha256"))).unwrap();
        assert_eq!(beside, format!("{digest}  {name}\n"));
        let served = world.publisher.published().load().get(&format!("/offline/{name}")).cloned().unwrap();
        assert_eq!((served.sha256, served.zip_origin), (digest, Some(ZipOrigin::BuiltFromFeed)));
    }
}

#[tokio::test]
async fn the_page_to_print_stands_beside_each_zip() {
    let mut world = World::new();
    world.publish_next().await;
    for name in ["posture-offline-1.zip", "posture-offline.zip", "posture-bundle-1.zip", "posture-bundle.zip"] {
        let sheet = world.publisher.published().load().get(&format!("/offline/{name}.sheet.txt")).cloned().unwrap();
        assert_eq!((sheet.content_type, sheet.cache), ("text/plain; charset=utf-8", Cache::Revalidate), "{name}");
        let text = fs::read_to_string(world.tree(&format!("offline/{name}.sheet.txt"))).unwrap();
        let digest = Digest::of(&fs::read(world.tree("offline").join(name)).unwrap()).to_string();
        assert!(text.split_whitespace().collect::<String>().contains(&digest), "{text}");
        assert!(text.contains(&format!("sha256sum {name}\n")), "{text}");
    }
}
