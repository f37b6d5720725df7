use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use bundles::Reasoned as _;

use crate::publish::{Key, KeyError, Keys, Passphrase, PublishError, Publisher, Quorum, Repository, Sources};
use crate::testing::{World, start};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn keys_are_made_once_and_only_their_owner_can_read_them() {
    let world = World::new();
    let path = world.config.data.directory.join("keys");
    assert_eq!(mode(&path), 0o700);
    let facts = world.publisher.keys();
    assert_eq!(facts.len(), 8);
    assert!(facts.iter().all(|fact| mode(fact.path.as_ref().unwrap()) == 0o600));
    let ids: HashSet<_> = facts.iter().map(|fact| &fact.key_id).collect();
    let fingerprints: HashSet<_> = facts.iter().map(|fact| fact.fingerprint).collect();
    assert_eq!((ids.len(), fingerprints.len()), (8, 8), "no key is used twice");

    let (_, created) = Keys::open_or_create(&path).unwrap();
    assert!(!created);
    assert_eq!(world.reopen().publisher.keys(), facts);
}

#[test]
fn keys_that_a_killed_process_left_half_made_are_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let (path, unfinished) = (directory.path().join("keys"), directory.path().join("keys.new"));
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("online-root.der"), b"half a k").unwrap();
    let (_, created) = Keys::open_or_create(&path).unwrap();
    assert!(created && !unfinished.exists());
    assert_eq!(files(&path).len(), 8);
}

#[test]
fn a_set_of_keys_is_never_mended_by_making_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    Keys::open_or_create(&path).unwrap();
    let one = files(&path)[3].clone();
    let der = fs::read(&one).unwrap();

    fs::remove_file(&one).unwrap();
    let (_, created) = Keys::open_or_create(&path).unwrap();
    assert!(!created && files(&path).len() == 7);
    fs::write(&one, b"no key").unwrap();
    fs::set_permissions(&one, Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(Keys::open_or_create(&path), Err(KeyError::NotAKey { .. })));
    fs::write(&one, &der).unwrap();
    fs::set_permissions(&one, Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Keys::open_or_create(&path), Err(KeyError::OpenToOthers { mode: 0o640, .. })));
}

#[test]
fn a_first_set_has_the_root_keys_that_were_asked_for_and_no_threshold_that_they_cannot_reach() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    for (root_keys, threshold) in [(2, 3), (1, 0), (17, 1)] {
        let refused = Keys::create(&path, Quorum { root_keys, threshold }, &Sources::default());
        assert!(matches!(refused, Err(KeyError::Quorum { .. })), "{threshold} of {root_keys}");
    }
    Keys::create(&path, Quorum { root_keys: 3, threshold: 2 }, &Sources::default()).unwrap();
    assert_eq!(files(&path).iter().filter(|path| path.extension().is_some()).count(), 12);
    assert!(matches!(Keys::create(&path, Quorum::default(), &Sources::default()), Err(KeyError::Exists { .. })));
}

#[test]
fn debug_output_shows_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, _) = Keys::open_or_create(&directory.path().join("keys")).unwrap();
    let shown = format!("{keys:?}");
    let seed = fs::read(&files(&directory.path().join("keys"))[0]).unwrap()[16..].to_vec();
    assert!(!shown.contains(&hex::encode(&seed)) && !shown.contains(&format!("{seed:?}")), "{shown}");
}

#[tokio::test]
async fn other_keys_than_those_of_the_root_are_refused_even_where_the_catalog_was_lost() {
    let mut world = World::new();
    world.publish_next().await;
    let (other, _) = Keys::open_or_create(&world.directory.path().join("other")).unwrap();
    let World { directory, config, store, publisher, .. } = world;
    drop(publisher);
    let data = config.data.directory.clone();
    let refused = Publisher::open(store.clone(), &data, &config, other.clone(), start()).unwrap_err();
    assert!(matches!(refused, PublishError::OtherKeys { repository: Repository::Online, .. }));
    assert!(refused.whole_message().contains("restore the keys"), "{refused}");

    drop(store);
    fs::remove_dir_all(data.join("catalog")).unwrap();
    let store = crate::store::Store::open(&data).unwrap();
    let refused = Publisher::open(store.clone(), &data, &config, other, start()).unwrap_err();
    assert!(matches!(refused, PublishError::OtherKeys { .. }));
    let (own, _) = Keys::open_or_create(&data.join("keys")).unwrap();
    Publisher::open(store, &data, &config, own, start()).unwrap();
    drop(directory);
}

/// A key's file, its keys' ids, and what a passphrase makes of it.
fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(zeroize::Zeroizing::new(text.to_owned()))
}

#[test]
fn a_key_is_the_same_whatever_passphrase_its_file_has() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.der");
    let none = || Err(KeyError::NoRandomness);
    let (key, _) = Key::generate(&path, Some(&passphrase("one"))).unwrap();
    assert!(matches!(Key::read(&path, none), Err(KeyError::NoRandomness)), "it is asked for");
    let wrong = Key::read(&path, || Ok(passphrase("two"))).unwrap_err();
    assert!(matches!(wrong, KeyError::WrongPassphrase { .. }), "{wrong}");
    assert_eq!(Key::read(&path, || Ok(passphrase("one"))).unwrap().id(), key.id());

    let before = fs::read(&path).unwrap();
    assert!(Key::rewrite(&path, || Ok(passphrase("two")), || Ok(None)).is_err());
    assert!(Key::rewrite(&path, || Ok(passphrase("one")), || Err(KeyError::NoRandomness)).is_err());
    assert_eq!(
        (fs::read(&path).unwrap(), files(directory.path()).len()),
        (before, 2),
        "nothing is changed, nothing left"
    );
    Key::rewrite(&path, || Ok(passphrase("one")), || Ok(Some(passphrase("three")))).unwrap();
    assert_eq!(Key::read(&path, || Ok(passphrase("three"))).unwrap().id(), key.id());
    Key::rewrite(&path, || Ok(passphrase("three")), || Ok(None)).unwrap();
    assert_eq!(Key::read(&path, none).unwrap().id(), key.id());
    assert_eq!(mode(&path), 0o600);
    assert!(!format!("{:?}", passphrase("quokka")).contains("quokka"));
}

proptest::proptest! {
    /// Files of keys are their owner's; what is in them may be anything all the same.
    #[test]
    fn any_file_is_a_key_or_none(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), pem in proptest::bool::ANY) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("any.der");
        let text = [&b"-----BEGIN PRIVATE KEY-----\n"[..], &bytes, b"\n-----END PRIVATE KEY-----\n"].concat();
        fs::write(&path, if pem { text } else { bytes }).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        proptest::prop_assert!(Key::read(&path, || Err(KeyError::NoRandomness)).is_err());
    }
}
