use std::fs::{self, File};
use std::io::Read as _;

use bundles::release::FileRef;
use bundles::{Digest, Manifest};
use zip::ZipArchive;

use crate::publish::{PublishError, ZipOrigin};
use crate::testing::{World, serial};

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
async fn a_zip_to_carry_away_has_the_bytes_of_the_published_one() {
    let mut world = World::new();
    world.publish_next().await;
    let mut told = 0;
    let built = world.publisher.build_ise_zip(serial(1), world.directory.path(), &mut |bytes| told += bytes).unwrap();
    assert_eq!(built.path, world.directory.path().join("posture-offline-1.zip"));
    assert_eq!(built.origin, ZipOrigin::BuiltFromFeed);
    let bytes = fs::read(&built.path).unwrap();
    assert_eq!((built.sha256, built.length), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!(bytes, fs::read(world.tree("offline/posture-offline-1.zip")).unwrap());
    let beside = fs::read_to_string(world.directory.path().join("posture-offline-1.zip.sha256")).unwrap();
    assert_eq!(beside, format!("{}  posture-offline-1.zip\n", built.sha256));
    assert!(told > 0);

    let named = world.directory.path().join("for-ise.zip");
    assert_eq!(world.publisher.build_ise_zip(serial(1), &named, &mut |_| {}).unwrap().path, named);
    let missing = world.publisher.build_ise_zip(serial(9), &named, &mut |_| {}).unwrap_err();
    assert!(matches!(missing, PublishError::NoRelease { .. }));
}
