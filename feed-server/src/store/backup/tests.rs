use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bundles::{Digest, Reason, Reasoned as _};
use proptest::prelude::*;

use super::*;
use crate::config::Role;
use crate::jobs::restore::{Wanted, check, restore};
use crate::store::{Repository, Store, StoreError, Table};
use crate::testing::{World, hours, serial};

/// A backup of a world with two releases.
async fn backed_up() -> (World, Vec<u8>) {
    let mut world = World::new();
    world.publish_next().await;
    world.publish_next().await;
    let keys = world.config.data.directory.join(KEYS);
    let snapshot = world.store.snapshot(Role::Origin, Some(&keys), world.now).unwrap();
    snapshot.check().unwrap();
    let mut bytes = Vec::new();
    snapshot.write(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, snapshot.length().unwrap());
    (world, bytes)
}

fn wanted(directory: &Path, bytes: &[u8]) -> Wanted {
    let file = directory.join("a.tar");
    fs::write(&file, bytes).unwrap();
    Wanted { file, ..Wanted::default() }
}

fn catalog(store: &Store) -> BTreeMap<(Table, Vec<u8>), Vec<u8>> {
    let pairs = store.catalog.snapshot(&Table::ALL).unwrap();
    pairs.into_iter().map(|(table, key, value)| ((table, key), value)).collect()
}

#[tokio::test]
async fn what_is_restored_is_what_was_there_but_for_its_number() {
    let (world, bytes) = backed_up().await;
    let scratch = tempfile::tempdir().unwrap();
    let wanted = wanted(scratch.path(), &bytes);
    let target = scratch.path().join("new/data");
    let now = world.now + hours(2);
    let restored = restore(&target, &wanted, now).unwrap();
    assert_eq!((restored.newest, restored.serial), (Some(serial(2)), Some(serial(9_001))));
    assert_eq!(restored.contents.keys(), 8);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);

    let store = Store::open(&target).unwrap();
    let (mut before, mut after) = (catalog(&world.store), catalog(&store));
    assert_eq!(store.highest_serial().unwrap(), Some(serial(9_001)));
    let again = store.newest_release().unwrap().unwrap();
    assert_eq!(again.content_of, Some(serial(2)));
    let newest = world.store.newest_release().unwrap().unwrap();
    assert_eq!(again.manifest.components, newest.manifest.components);
    after.remove(&(Table::Releases, 9_001_u64.to_be_bytes().to_vec())).unwrap();
    let mut others = vec!["highest_serial".to_owned()];
    for repository in Repository::ALL {
        let seen = world.store.versions(repository).unwrap().timestamp.max(now.as_second().unsigned_abs());
        assert!(store.versions(repository).unwrap().timestamp > seen, "signed above what may have been seen");
        others.push(format!("publish.{repository}.versions"));
    }
    for name in others {
        for of in [&mut before, &mut after] {
            of.remove(&(Table::State, name.clone().into_bytes()));
        }
    }
    assert_eq!(before, after);
    for digest in store.blobs.list().unwrap() {
        let mut blob = Vec::new();
        store.blobs.open(&digest).unwrap().read_to_end(&mut blob).unwrap();
        assert_eq!(Digest::of(&blob), digest);
    }
    let keys = |data: &Path| -> BTreeMap<_, _> {
        let entries = fs::read_dir(data.join(KEYS)).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
    };
    assert_eq!(keys(&target), keys(&world.config.data.directory));
    for entry in fs::read_dir(target.join(KEYS)).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_to_string(target.join("role")).unwrap(), "origin\n");
    assert_eq!(fs::read_dir(world.store.staging.directory()).unwrap().count(), 0, "a backup leaves nothing behind");
}

#[tokio::test]
async fn a_restore_changes_nothing_that_is_there() {
    let (world, bytes) = backed_up().await;
    let scratch = tempfile::tempdir().unwrap();
    let wanted = wanted(scratch.path(), &bytes);
    let target = scratch.path().join("data");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("role"), "origin\n").unwrap();
    let error = restore(&target, &wanted, world.now).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    let error = restore(&world.config.data.directory, &wanted, world.now).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");

    fs::remove_file(target.join("role")).unwrap();
    let held = Store::open(&scratch.path().join("other")).unwrap();
    drop(held);
    let checked = check(&wanted, world.now).unwrap();
    assert_eq!(checked.serial, Some(serial(2_001)));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "only looked at");
    let raised = Wanted { serial_floor: Some(serial(77_777)), ..wanted };
    assert_eq!(restore(&target, &raised, world.now).unwrap().serial, Some(serial(77_778)));
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_no_data_directory_and_can_be_begun_anew() {
    let (world, bytes) = backed_up().await;
    let scratch = tempfile::tempdir().unwrap();
    let wanted = wanted(scratch.path(), &bytes);
    let target = scratch.path().join("data");
    let mut place = Place::begin(&target).unwrap();
    read(&bytes[..], bytes.len() as u64, &mut place).unwrap();
    drop(place);
    fs::rename(target.join("restoring/blobs"), target.join("blobs")).unwrap();
    assert!(matches!(Store::open(&target), Err(StoreError::HalfRestored { .. })));
    restore(&target, &wanted, world.now).unwrap();
    assert!(Store::open(&target).unwrap().newest_release().unwrap().is_some());
}

#[tokio::test]
async fn keys_are_left_out_where_that_is_asked_for_and_none_are_made_in_their_place() {
    let (world, _) = backed_up().await;
    let snapshot = world.store.snapshot(Role::Origin, None, world.now).unwrap();
    let mut bytes = Vec::new();
    snapshot.write(&mut bytes).unwrap();
    let key = fs::read_dir(world.config.data.directory.join(KEYS)).unwrap().next().unwrap().unwrap();
    let seed = fs::read(key.path()).unwrap()[16..].to_vec();
    assert!(!bytes.windows(seed.len()).any(|window| window == seed));
    let scratch = tempfile::tempdir().unwrap();
    let wanted = wanted(scratch.path(), &bytes);
    let target = scratch.path().join("data");
    restore(&target, &wanted, world.now).unwrap();
    assert_eq!(fs::read_dir(target.join(KEYS)).unwrap().count(), 0, "an empty one, so that a start makes none");
}

#[tokio::test]
async fn content_that_has_rotted_is_told_before_anything_is_written() {
    let (world, _) = backed_up().await;
    let digest = world.store.newest_release().unwrap().unwrap().manifest.files()[0].sha256;
    let name = digest.to_string();
    let blob = world.config.data.directory.join("blobs").join(&name[..2]).join(&name);
    fs::write(&blob, b"rotten").unwrap();
    let snapshot = world.store.snapshot(Role::Origin, None, world.now).unwrap();
    let error = snapshot.check().unwrap_err();
    assert!(matches!(error, BackupError::Rotten { digest: found, .. } if found == digest), "{error}");
}

#[tokio::test]
async fn a_root_that_is_newer_than_the_backup_shows_that_it_is_from_before_a_rotation() {
    let (mut world, bytes) = backed_up().await;
    let scratch = tempfile::tempdir().unwrap();
    let root = |world: &World, name: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, world.publisher.root_json(crate::store::Repository::Online).unwrap()).unwrap();
        path
    };
    let with = |roots| Wanted { roots, ..wanted(scratch.path(), &bytes) };
    let same = with(vec![root(&world, "same")]);
    check(&same, world.now).unwrap();
    for _ in 0..2 {
        let change = crate::publish::Change { roles: vec![crate::publish::Role::Root], ..Default::default() };
        world.now += hours(1);
        world.publisher.change_keys(vec![crate::store::Repository::Online], change, world.now).await.unwrap();
    }
    let newer = with(vec![root(&world, "newer")]);
    let error = check(&newer, world.now).unwrap_err();
    assert!(matches!(error, BackupError::OlderRoot { found: 1, given: 3, .. }), "{error}");
    assert_eq!(error.reason(), Reason::Rollback);
    let other = World::new();
    let another = with(vec![root(&other, "another")]);
    assert!(matches!(check(&another, world.now), Err(BackupError::OtherRoot)));
}

/// What [`Checked`] gets of a backup.
#[derive(Debug, Default, PartialEq, Eq)]
struct All(Vec<Line>, Vec<(String, Vec<u8>)>);

impl Checked for All {
    fn line(&mut self, line: Line) -> Result<(), BackupError> {
        self.0.push(line);
        Ok(())
    }

    fn file(&mut self, file: &Member, bytes: &mut dyn Read) -> Result<(), BackupError> {
        let mut all = Vec::new();
        bytes.read_to_end(&mut all).map_err(BackupError::Unreadable)?;
        self.1.push((file.name.to_string(), all));
        Ok(())
    }
}

fn all(bytes: &[u8]) -> Result<(Contents, All), BackupError> {
    let mut all = All::default();
    read(bytes, bytes.len() as u64, &mut all).map(|contents| (contents, all))
}

/// Name, kind and bytes.
type Part<'a> = (&'a str, tar::EntryType, &'a [u8]);

/// A tar with these members, each after the one before.
fn tar_of(members: &[Part<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn what_is_no_backup_is_refused_whatever_it_is() {
    let (_, bytes) = backed_up().await;
    let (contents, parts) = all(&bytes).unwrap();
    let of = |json: &str, rest: &[Part<'_>]| {
        let digest = format!("{}\n", Digest::of(json.as_bytes()));
        let head: [Part<'_>; 2] = [
            (CONTENTS, tar::EntryType::Regular, json.as_bytes()),
            (CONTENTS_DIGEST, tar::EntryType::Regular, digest.as_bytes()),
        ];
        tar_of(&[&head, rest].concat())
    };
    let json = serde_json::to_string(&contents).unwrap();
    let catalog = lines::write(&parts.0);
    let mut files = vec![("catalog", tar::EntryType::Regular, &catalog[..])];
    files.extend(parts.1.iter().map(|(name, bytes)| (name.as_str(), tar::EntryType::Regular, &bytes[..])));
    all(&of(&json, &files)).unwrap();

    let reason = |bytes: &[u8]| all(bytes).unwrap_err().reason();
    assert_eq!(reason(&[]), Reason::BadArchive);
    assert_eq!(reason(b"PK\x03\x04 is a zip"), Reason::BadArchive);
    assert_eq!(reason(&bytes[..bytes.len() - 1]), Reason::Truncated);
    assert_eq!(reason(&bytes[..bytes.len() / 2]), Reason::Truncated);
    assert_eq!(reason(&[&bytes[..], b"more"].concat()), Reason::BadArchive);
    let newer = |from: &str, to: &str| of(&json.replacen(from, to, 1), &files);
    assert_eq!(reason(&newer("\"format\":1", "\"format\":2")), Reason::BadRequest);
    assert_eq!(reason(&newer("\"schema\":1", "\"schema\":99")), Reason::Storage);
    for name in ["keys/../role", "/etc/passwd", "keys/a/b", "tree/index", "catalog/db", "blobs/xyz", "role"] {
        assert_eq!(reason(&newer("keys/offline-root.der", name)), Reason::BadArchive, "{name}");
    }
    // What the contents say and what stands there are two things.
    let with = |at: usize, name: &str, kind: tar::EntryType| {
        let mut files = files.clone();
        (files[at].0, files[at].1) = (name, kind);
        of(&json, &files)
    };
    let mut other = parts.1[3].1.clone();
    other[0] ^= 1;
    assert_eq!(reason(&with(4, "../role", tar::EntryType::Regular)), Reason::BadArchive);
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::GNULongName, tar::EntryType::XHeader] {
        assert_eq!(reason(&with(4, &parts.1[3].0, kind)), Reason::BadArchive, "{kind:?}");
    }
    let mut changed = files.clone();
    changed[4].2 = &other;
    assert_eq!(reason(&of(&json, &changed)), Reason::DigestMismatch);
    changed.swap(4, 5);
    assert_eq!(reason(&of(&json, &changed)), Reason::BadArchive);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Padding means nothing; every other byte is held to something.
    #[test]
    fn damage_anywhere_is_refused_or_means_nothing(places in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4)) {
        static MADE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(backed_up()).1
        });
        let whole = all(&MADE).unwrap();
        let mut bytes = MADE.clone();
        for (place, change) in places {
            let at = place.index(bytes.len());
            bytes[at] ^= change;
        }
        if let Ok(read) = all(&bytes) {
            prop_assert_eq!(read, whole);
        }
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..4_096)) {
        prop_assert!(all(&bytes).is_err());
    }
}
