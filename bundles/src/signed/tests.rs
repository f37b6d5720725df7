//! Against a repository that tough signs: another implementation than the one that verifies.

use std::collections::HashMap;
use std::num::NonZeroU64;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jiff::SignedDuration;
use tough::schema as tuf;
use tough::schema::Signed;
use tough::sign::Sign as _;

use super::*;
use crate::{Reason, Reasoned as _};

/// One key for all roles of an origin.
struct Origin {
    keys: Vec<Ed25519KeyPair>,
    roots: Vec<String>,
}

fn start() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn sign<T: tuf::Role + serde::Serialize>(role: T, keys: &[&Ed25519KeyPair]) -> String {
    let message = role.canonical_form().unwrap();
    let signature = |key: &&Ed25519KeyPair| tuf::Signature {
        keyid: key.tuf_key().key_id().unwrap(),
        sig: key.try_sign(&message).unwrap().as_ref().to_vec().into(),
    };
    let signatures = keys.iter().map(signature).collect();
    serde_json::to_string(&Signed { signed: role, signatures }).unwrap()
}

impl Origin {
    fn new() -> Self {
        let mut origin = Self { keys: Vec::new(), roots: Vec::new() };
        origin.rotate();
        origin
    }

    /// Another key for all roles, in another root.
    fn rotate(&mut self) {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        assert!(!key.public_key().as_ref().is_empty());
        self.keys.push(key);
        let public = self.key().tuf_key();
        let id = public.key_id().unwrap();
        let role = tuf::RoleKeys { keyids: vec![id.clone()], threshold: NonZeroU64::MIN, _extra: HashMap::new() };
        let types = [tuf::RoleType::Root, tuf::RoleType::Timestamp, tuf::RoleType::Snapshot, tuf::RoleType::Targets];
        let root = tuf::Root {
            spec_version: "1.0.0".to_owned(),
            consistent_snapshot: true,
            version: NonZeroU64::new(self.roots.len() as u64 + 1).unwrap(),
            expires: start() + days(365),
            keys: HashMap::from([(id, public)]),
            roles: types.into_iter().map(|of| (of, role.clone())).collect(),
            _extra: HashMap::new(),
        };
        let signers: Vec<_> = self.keys.iter().rev().take(2).collect();
        self.roots.push(sign(root, &signers));
    }

    fn key(&self) -> &Ed25519KeyPair {
        self.keys.last().unwrap()
    }

    /// Metadata of this version that lasts for ninety days and names one file.
    fn metadata(&self, version: u64) -> Metadata {
        self.metadata_for(version, days(90))
    }

    fn metadata_for(&self, version: u64, lasting: SignedDuration) -> Metadata {
        let keys = [self.key()];
        let (spec_version, expires) = ("1.0.0".to_owned(), start() + lasting);
        let version = NonZeroU64::new(version).unwrap();
        let meta = |text: &str| tuf::Metafile {
            length: Some(text.len() as u64),
            hashes: Some(hashes(text.as_bytes())),
            version,
            _extra: HashMap::new(),
        };
        let mut targets = tuf::Targets::new(spec_version.clone(), version, expires + days(1));
        let file = tuf::Target { length: 4, hashes: hashes(b"file"), custom: HashMap::new(), _extra: HashMap::new() };
        targets.targets.insert(tough::TargetName::new("stable.json").unwrap(), file);
        let targets = sign(targets, &keys);
        let mut snapshot = tuf::Snapshot::new(spec_version.clone(), version, expires);
        snapshot.meta.insert("targets.json".to_owned(), meta(&targets));
        let snapshot = sign(snapshot, &keys);
        let mut timestamp = tuf::Timestamp::new(spec_version, version, expires);
        timestamp.meta.insert("snapshot.json".to_owned(), meta(&snapshot));
        Metadata { roots: self.roots.clone(), timestamp: sign(timestamp, &keys), snapshot, targets }
    }
}

fn hashes(bytes: &[u8]) -> tuf::Hashes {
    tuf::Hashes { sha256: Digest::of(bytes).as_bytes().to_vec().into(), _extra: HashMap::new() }
}

fn reason(result: Result<Verified, SignedError>) -> Reason {
    result.unwrap_err().reason()
}

#[test]
fn what_the_origin_signed_is_vouched_for_and_nothing_else() {
    let origin = Origin::new();
    let given = origin.metadata(5);
    let pinned = origin.roots[0].as_bytes();
    let verified = verify(pinned, &given, None, start()).unwrap();
    assert_eq!(verified.valid_until(), start() + days(90));
    assert_eq!(verified.root().fingerprint, Digest::of(pinned));
    let stable = TargetName::of_channel_stable();
    assert_eq!(verified.target(&stable).unwrap().sha256(), Digest::of(b"file"));
    assert_eq!(verified.target(&TargetName::of_offline_root()).unwrap_err().reason(), Reason::Signature);
    assert_eq!(verified.manifest(&stable, b"fila".to_vec()).unwrap_err().reason(), Reason::DigestMismatch);

    let other = Origin::new();
    assert_eq!(reason(verify(other.roots[0].as_bytes(), &given, None, start())), Reason::Signature);
    // Parts of two, each signed.
    let mixed = Metadata { targets: origin.metadata(6).targets, ..given.clone() };
    assert_eq!(reason(verify(pinned, &mixed, None, start())), Reason::Signature);
    assert_eq!(reason(verify(pinned, &given, None, start() + days(90))), Reason::Expired);
}

#[test]
fn older_metadata_and_a_fork_are_refused_whatever_has_expired() {
    let origin = Origin::new();
    let pinned = origin.roots[0].as_bytes();
    let (before, held, after) = (origin.metadata(5), origin.metadata(6), origin.metadata(7));
    assert_eq!(reason(verify(pinned, &before, Some(&held), start())), Reason::Rollback);
    assert_eq!(reason(verify(pinned, &before, Some(&held), start() + days(400))), Reason::Rollback);
    verify(pinned, &held, Some(&held), start()).unwrap();
    verify(pinned, &after, Some(&held), start()).unwrap();
    let fork = origin.metadata_for(6, days(91));
    let error = verify(pinned, &fork, Some(&held), start()).unwrap_err();
    assert!(matches!(error, SignedError::OtherOfSameVersion { role: "timestamp", version: 6 }), "{error}");
}

#[test]
fn whoever_was_killed_while_keeping_it_can_take_the_same_again() {
    let origin = Origin::new();
    let pinned = origin.roots[0].as_bytes();
    let (before, given) = (origin.metadata(5), origin.metadata(6));
    let none = String::new;
    for held in [
        Metadata { timestamp: given.timestamp.clone(), ..before.clone() },
        Metadata { targets: before.targets.clone(), ..given.clone() },
        Metadata { timestamp: before.timestamp.clone(), ..given.clone() },
        Metadata { timestamp: given.timestamp.clone(), snapshot: none(), targets: none(), ..before.clone() },
        Metadata { timestamp: none(), snapshot: none(), targets: none(), ..given.clone() },
    ] {
        verify(pinned, &given, Some(&held), start()).unwrap();
    }
    // The floor is there from the first file on.
    let held = Metadata { timestamp: given.timestamp, ..before.clone() };
    assert_eq!(reason(verify(pinned, &before, Some(&held), start())), Reason::Rollback);
}

#[test]
fn roots_rotate_step_by_step() {
    let mut origin = Origin::new();
    let first = origin.roots[0].clone();
    let old = origin.metadata(9);
    origin.rotate();
    origin.rotate();
    let given = origin.metadata(3);
    // The keys that signed what was held are revoked: its versions are no floor any more.
    let verified = verify(first.as_bytes(), &given, Some(&old), start()).unwrap();
    assert_eq!((verified.root().version, verified.roots()), (3, &origin.roots[..]));
    // Whoever holds a later root is given those before it all the same, to hand on.
    assert_eq!(verify(origin.roots[2].as_bytes(), &given, None, start()).unwrap().roots(), &origin.roots[..]);
    // What the old keys sign after their time is refused, also where the pinned root is the old one.
    let held = Some(&given);
    assert_eq!(reason(verify(first.as_bytes(), &old, held, start())), Reason::Signature);

    let gap = Metadata { roots: vec![first.clone(), origin.roots[2].clone()], ..given.clone() };
    let error = verify(first.as_bytes(), &gap, None, start()).unwrap_err();
    assert!(matches!(error, SignedError::RootMissing { version: 2 }), "{error}");
    let mut other = Origin::new();
    other.rotate();
    let forged = Metadata { roots: vec![first.clone(), other.roots[1].clone()], ..other.metadata(4) };
    assert_eq!(reason(verify(first.as_bytes(), &forged, None, start())), Reason::Signature);
    // A root under the pinned one's version that is not it.
    let forked = Metadata { roots: other.roots.clone(), ..given };
    assert_eq!(reason(verify(first.as_bytes(), &forked, None, start())), Reason::Signature);
}

#[test]
fn what_says_the_same_in_other_bytes_is_no_fork_and_keeps_nobody_out() {
    let mut origin = Origin::new();
    origin.rotate();
    let pinned = origin.roots[0].as_bytes();
    let genuine = origin.metadata(5);
    // Signatures do not cover spaces, nor each other: anybody can do this to a bundle on its way.
    let mut touched = genuine.clone();
    touched.timestamp.push('\n');
    touched.roots.iter_mut().for_each(|root| root.push(' '));
    let held = verify(pinned, &touched, None, start()).unwrap();
    let held = Metadata { roots: held.roots().to_vec(), ..touched.clone() };
    let verified = verify(pinned, &genuine, Some(&held), start()).unwrap();
    assert_eq!(verified.roots(), &origin.roots[..], "and the origin's own bytes are handed on again");
    verify(pinned, &touched, Some(&genuine), start()).unwrap();
    verify(pinned, &origin.metadata(6), Some(&held), start()).unwrap();

    // The signature of the key before is what the next one is known by, and cannot be left out.
    let mut parsed: serde_json::Value = serde_json::from_str(&origin.roots[1]).unwrap();
    parsed["signatures"].as_array_mut().unwrap().truncate(1);
    let stripped = Metadata { roots: vec![origin.roots[0].clone(), parsed.to_string()], ..genuine.clone() };
    assert_eq!(reason(verify(pinned, &stripped, Some(&genuine), start())), Reason::Signature);
    assert_eq!(reason(verify(origin.roots[1].as_bytes(), &stripped, Some(&genuine), start())), Reason::Signature);
}

#[test]
fn what_has_to_be_fetched_next_can_be_told_before_it_is_verified() {
    let given = Origin::new().metadata(7);
    assert_eq!(peek::root_version(&given.roots[0]).unwrap(), 1);
    assert_eq!(peek::snapshot_version(&given.timestamp).unwrap(), 7);
    assert_eq!(peek::targets_version(&given.snapshot).unwrap(), 7);
    assert_eq!(peek::targets_version("<html>").unwrap_err().reason(), Reason::Signature);
}
