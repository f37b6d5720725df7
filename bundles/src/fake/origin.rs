//! An origin that signs: releases, metadata and bundles, the same bytes on every machine. Its keys are made from a number,
//! so nobody must ever trust it with anything else than a test.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Cursor};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Feed;
use crate::archive;
use crate::bundle::{self, Contents};
use crate::release::{self, FileRef, ReleasedComponent, ReleasedFile, Source, SourceKind};
use crate::signed::Metadata;
use crate::{Digest, FileName, Limits, Manifest, Serial, TargetName};

/// A release, with the bytes of its files.
#[derive(Debug, Clone)]
pub struct Release {
    /// What it is made of.
    pub manifest: Manifest,
    /// Archives, payloads and index, by digest.
    pub files: HashMap<Digest, Vec<u8>>,
}

impl Release {
    /// Of a feed, as a server makes it: archives opened, the index's URL in its source.
    #[must_use]
    pub fn of(feed: &Feed, serial: Serial, created: Timestamp) -> Self {
        let mut files = HashMap::new();
        let mut components: BTreeMap<_, ReleasedComponent> = BTreeMap::new();
        let mut put = |name: &FileName, bytes: Vec<u8>| {
            let file = FileRef { name: name.clone(), sha256: Digest::of(&bytes), length: bytes.len() as u64 };
            files.insert(file.sha256, bytes);
            file
        };
        for (name, component) in &feed.components {
            let bytes = feed.files[name].clone();
            let mut payload = Vec::new();
            let limits = Limits::default();
            archive::open(&mut Cursor::new(&bytes), name, &limits, &mut payload).expect("made in this module");
            let file = ReleasedFile { archive: put(name, bytes), payload: put(&name.payload(), payload) };
            let version = feed.edition.versions[component].clone();
            let empty = ReleasedComponent { component: component.clone(), version, files: Vec::new() };
            components.entry(component.clone()).or_insert(empty).files.push(file);
        }
        let url = url::Url::parse("https://feed.example/posture-update.xml").expect("a URL");
        let index = put(&feed.index_name, feed.index(&url));
        let source = Source {
            kind: SourceKind::VendorFeed,
            url: Some(url.to_string()),
            sha256: Some(index.sha256),
            vouched_by: None,
        };
        let components = components.into_values().collect();
        let format = release::FORMAT;
        let manifest = Manifest { format, serial, created, source, components, index: Some(index), offline_zip: None };
        Self { manifest, files }
    }

    /// Its files as targets, and its manifest under both names.
    #[must_use]
    pub fn targets(&self) -> BTreeMap<TargetName, (Digest, u64)> {
        let files = self.manifest.files().into_iter();
        let named = files.map(|file| (file.target_name().expect("a short name"), (file.sha256, file.length)));
        let json = self.manifest.to_json();
        let signed = (Digest::of(&json), json.len() as u64);
        let manifests = [TargetName::of_channel_stable(), TargetName::of_manifest(self.manifest.serial)];
        named.chain(manifests.map(|name| (name, signed))).collect()
    }

    /// Opens a file, as [`Contents::new`] wants it.
    ///
    /// # Errors
    /// It is none of the release's.
    pub fn open(&self, file: &FileRef) -> io::Result<Box<dyn io::Read>> {
        let bytes = self.files.get(&file.sha256).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    }
}

/// Signs: one key for all roles, another one after each rotation.
#[derive(Debug)]
pub struct Origin {
    number: u8,
    started: Timestamp,
    keys: Vec<Ed25519KeyPair>,
    roots: Vec<String>,
}

impl Origin {
    /// The same number and time give the same origin. Its first root lasts for three years from `started`, whole seconds.
    #[must_use]
    pub fn new(number: u8, started: Timestamp) -> Self {
        let mut origin = Self { number, started, keys: Vec::new(), roots: Vec::new() };
        origin.rotate();
        origin
    }

    /// The first root.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.roots[0]
    }

    /// Every root, from version 1.
    #[must_use]
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// Another key for all roles, in another root that the old key signs too.
    pub fn rotate(&mut self) {
        let version = self.roots.len() + 1;
        let seed = Digest::of(&[self.number, u8::try_from(version).expect("few rotations")]);
        let key = Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).expect("32 bytes are a seed");
        let role = json!({ "keyids": [key_id(&key)], "threshold": 1 });
        let root = json!({
            "_type": "root",
            "spec_version": "1.0.0",
            "consistent_snapshot": true,
            "version": version,
            "expires": self.started + SignedDuration::from_hours(3 * 365 * 24),
            "keys": { key_id(&key): public(&key) },
            "roles": { "root": role, "timestamp": role, "snapshot": role, "targets": role },
        });
        self.keys.push(key);
        let signers = &self.keys[self.keys.len().saturating_sub(2)..];
        self.roots.push(sign(&root, signers));
    }

    /// A first root that somebody made up: beside a key of their own it names that of the second, which fits it so.
    #[must_use]
    pub fn made_up_first_root(&self) -> String {
        let seed = Digest::of(b"somebody");
        let key = Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).expect("32 bytes are a seed");
        let mut root: Value = serde_json::from_str(self.root()).expect("made in this module");
        let mut root = root["signed"].take();
        for named in [&key, &self.keys[1]] {
            root["keys"][key_id(named)] = public(named);
            root["roles"]["root"]["keyids"].as_array_mut().expect("made in this module").push(key_id(named).into());
        }
        sign(&root, &[key])
    }

    /// Metadata of this version over these targets, that ends at `expires` (whole seconds).
    #[must_use]
    pub fn metadata(
        &self,
        version: u64,
        expires: Timestamp,
        targets: &BTreeMap<TargetName, (Digest, u64)>,
    ) -> Metadata {
        let keys = &self.keys[self.keys.len() - 1..];
        let role = |of: &str| json!({ "_type": of, "spec_version": "1.0.0", "version": version, "expires": expires });
        let named = targets.iter().map(|(name, (sha256, length))| {
            (name.to_string(), json!({ "length": length, "hashes": { "sha256": sha256 } }))
        });
        let meta = |text: &str| json!({ "version": version, "length": text.len(), "hashes": { "sha256": Digest::of(text.as_bytes()) } });
        let mut signed = role("targets");
        signed["targets"] = named.collect::<serde_json::Map<_, _>>().into();
        let targets = sign(&signed, keys);
        let mut signed = role("snapshot");
        signed["meta"] = json!({ "targets.json": meta(&targets) });
        let snapshot = sign(&signed, keys);
        let mut signed = role("timestamp");
        signed["meta"] = json!({ "snapshot.json": meta(&snapshot) });
        Metadata { roots: self.roots.clone(), timestamp: sign(&signed, keys), snapshot, targets }
    }

    /// The bundle of a release whose signatures end at `expires`, under metadata of its serial as its version.
    #[must_use]
    pub fn bundle(&self, release: &Release, expires: Timestamp) -> Vec<u8> {
        let metadata = self.metadata(release.manifest.serial.get(), expires, &release.targets());
        bundle_of(release, &metadata)
    }
}

/// The bundle of a release and metadata that vouches for it.
#[must_use]
pub fn bundle_of(release: &Release, metadata: &Metadata) -> Vec<u8> {
    let json = release.manifest.to_json();
    let open = |file: &FileRef| release.open(file);
    let contents = Contents::new(&json, metadata, &open).expect("signed in this module");
    let out = bundle::write(Cursor::new(Vec::new()), &contents, &mut |_| {});
    out.expect("everything is in memory").into_inner()
}

fn public(key: &Ed25519KeyPair) -> Value {
    let public = hex::encode(key.public_key().as_ref());
    json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } })
}

fn key_id(key: &Ed25519KeyPair) -> String {
    Digest::of(&canonical(&public(key))).to_string()
}

fn sign(signed: &Value, keys: &[Ed25519KeyPair]) -> String {
    let message = canonical(signed);
    let signature = |key: &Ed25519KeyPair| json!({ "keyid": key_id(key), "sig": hex::encode(key.sign(&message)) });
    let signatures: Vec<Value> = keys.iter().rev().map(signature).collect();
    json!({ "signed": signed, "signatures": signatures }).to_string()
}

fn canonical(value: &Value) -> Vec<u8> {
    sigstore_tuf::canonical_json::to_canonical_bytes(value).expect("whole numbers and text only")
}
