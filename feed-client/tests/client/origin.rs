//! An origin: makes releases and signs them with tough.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write as _};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use bundles::bundle::Contents;
use bundles::release::{FileRef, ReleasedComponent, ReleasedFile, Source, SourceKind};
use bundles::{Component, Digest, FileName, Manifest, Serial, signed};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tough::editor::signed::SignedRole;
use tough::key_source::KeySource;
use tough::schema::{KeyHolder, Role, Root, Snapshot, Targets};
use tough::sign::{Sign, parse_keypair};

use crate::server::Server;

const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// One repository: its keys, its newest root, and what it signs.
pub(crate) struct Origin {
    side: &'static str,
    keys: Keys,
    root: Root,
    roots: Vec<Vec<u8>>,
    targets: BTreeMap<String, Vec<u8>>,
    /// Of timestamp, snapshot and targets; each publication counts it up.
    pub(crate) version: u64,
    /// Of root, targets, snapshot and timestamp, by role.
    pub(crate) expires: BTreeMap<&'static str, Timestamp>,
}

/// A key of each role, in tough's form.
#[derive(Debug, Clone)]
pub(crate) struct Keys(BTreeMap<&'static str, Vec<u8>>);

#[derive(Debug)]
struct Key(Vec<u8>);

#[tough::async_trait]
impl KeySource for Key {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Box::new(parse_keypair(&self.0)?))
    }

    async fn write(&self, _: &str, _: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("keys of tests are not written".into())
    }
}

impl Keys {
    pub(crate) fn new() -> Self {
        let key = || Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref().to_vec();
        Self(ROLES.map(|role| (role, key())).into_iter().collect())
    }

    fn sources(&self) -> Vec<Box<dyn KeySource>> {
        self.0.values().map(|key| Box::new(Key(key.clone())) as Box<dyn KeySource>).collect()
    }

    fn root(&self, version: u64, expires: Timestamp) -> Root {
        let mut keys = serde_json::Map::new();
        let mut roles = serde_json::Map::new();
        for (role, key) in &self.0 {
            let key = parse_keypair(key).unwrap().tuf_key();
            let id = serde_json::to_value(key.key_id().unwrap()).unwrap();
            roles.insert((*role).to_owned(), json!({ "keyids": [&id], "threshold": 1 }));
            keys.insert(id.as_str().unwrap().to_owned(), serde_json::to_value(&key).unwrap());
        }
        from_json(json!({
            "_type": "root", "spec_version": "1.0.0", "consistent_snapshot": true, "version": version,
            "expires": expires, "keys": keys, "roles": roles,
        }))
    }
}

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn sign_role<T: Role + serde::Serialize>(role: T, root: &Root, keys: &[Box<dyn KeySource>]) -> SignedRole<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let holder = KeyHolder::Root(root.clone());
    runtime.block_on(SignedRole::new(role, &holder, keys, &SystemRandom::new())).unwrap()
}

/// The time of tests: the binary has no other clock than the machine's.
pub(crate) fn now() -> Timestamp {
    let now = feed_client::clock::Edge::system().now();
    Timestamp::from_second(now.as_second()).unwrap()
}

pub(crate) fn in_hours(hours: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_hours(hours)).unwrap()
}

impl Origin {
    pub(crate) fn new(side: &'static str) -> Self {
        let keys = Keys::new();
        let root = keys.root(1, in_hours(1000));
        let first = sign_role(root.clone(), &root, &keys.sources()).buffer().clone();
        let expires = ROLES.map(|role| (role, in_hours(24))).into_iter().collect();
        Self { side, keys, root, roots: vec![first], targets: BTreeMap::new(), version: 0, expires }
    }

    /// The newest root, as an operator would export it.
    pub(crate) fn root_file(&self) -> &[u8] {
        self.roots.last().unwrap()
    }

    /// The root of the first day.
    pub(crate) fn first_root(&self) -> &[u8] {
        &self.roots[0]
    }

    /// Changes all keys; the new root is signed by the old and the new ones.
    pub(crate) fn rotate(&mut self) {
        let new_keys = Keys::new();
        let version = self.roots.len() as u64 + 1;
        let root = new_keys.root(version, in_hours(1000));
        let old = sign_role(root.clone(), &self.root, &self.keys.sources()).signed().signatures.clone();
        let signed = sign_role(root.clone(), &root, &new_keys.sources()).add_old_signatures(old).unwrap();
        self.roots.push(signed.buffer().clone());
        (self.keys, self.root) = (new_keys, root);
    }

    /// A root with the same keys, as an origin makes one before the last one ends.
    pub(crate) fn renew_root(&mut self) {
        let version = self.roots.len() as u64 + 1;
        let root = self.keys.root(version, in_hours(1000));
        self.roots.push(sign_role(root.clone(), &root, &self.keys.sources()).buffer().clone());
        self.root = root;
    }

    /// A root whose validity ended.
    pub(crate) fn expire_root(&mut self) {
        let version = self.roots.len() as u64 + 1;
        let root = self.keys.root(version, in_hours(-1));
        let signed = sign_role(root.clone(), &root, &self.keys.sources());
        self.roots.push(signed.buffer().clone());
        self.root = root;
    }

    /// Signs with other keys than the root names: a thief's, or another origin's.
    pub(crate) fn forge(&mut self) {
        self.keys = Keys::new();
        self.root = self.keys.root(1, in_hours(1000));
    }

    /// Adds a release's files and points the channel at it.
    pub(crate) fn add(&mut self, release: &Release) -> Manifest {
        let manifest = release.manifest();
        for (_, _, payload) in &release.files {
            for (name, bytes) in [(payload.archive(), payload.archive_bytes()), (payload.name(), payload.tar.clone())] {
                let name = bundles::TargetName::of_content(&Digest::of(&bytes), &name).unwrap();
                self.targets.insert(name.to_string(), bytes);
            }
        }
        let json = manifest.to_json();
        self.targets.insert(format!("release-{}.json", manifest.serial), json.clone());
        self.targets.insert("stable.json".to_owned(), json);
        manifest
    }

    /// Changes what a target holds, or adds one.
    pub(crate) fn set_target(&mut self, name: &str, bytes: Vec<u8>) {
        self.targets.insert(name.to_owned(), bytes);
    }

    pub(crate) fn target(&self, name: &str) -> Vec<u8> {
        self.targets[name].clone()
    }

    pub(crate) fn remove_target(&mut self, name: &str) {
        self.targets.remove(name);
    }

    /// Signs everything anew and puts it on the server.
    pub(crate) fn publish(&mut self, server: &Server) {
        let signed = self.sign();
        let metadata = |name: String| format!("/{}/metadata/{name}", self.side);
        for (version, root) in (1..).zip(signed.roots) {
            server.put(&metadata(format!("{version}.root.json")), root.into_bytes());
        }
        server.put(&metadata(format!("{}.targets.json", self.version)), signed.targets.into_bytes());
        server.put(&metadata(format!("{}.snapshot.json", self.version)), signed.snapshot.into_bytes());
        for (name, bytes) in &self.targets {
            server.put(&format!("/{}/targets/{}.{name}", self.side, Digest::of(bytes)), bytes.clone());
        }
        server.put(&metadata("timestamp.json".to_owned()), signed.timestamp.into_bytes());
    }

    /// The bundle of a release, signed anew.
    pub(crate) fn bundle(&mut self, release: &Release) -> Vec<u8> {
        let manifest = self.add(release);
        self.bundle_of(&manifest)
    }

    /// The same for a manifest whose files are among the targets.
    pub(crate) fn bundle_of(&mut self, manifest: &Manifest) -> Vec<u8> {
        let metadata = self.sign();
        let targets = &self.targets;
        let open = |file: &FileRef| {
            let bytes = targets[file.target_name().unwrap().as_str()].clone();
            Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read>)
        };
        let manifest = manifest.to_json();
        let contents = Contents::new(&manifest, &metadata, &open).unwrap();
        bundles::bundle::write(Cursor::new(Vec::new()), &contents, &mut |_| {}).unwrap().into_inner()
    }

    /// Signs everything anew.
    pub(crate) fn sign(&mut self) -> signed::Metadata {
        self.version += 1;
        let keys = self.keys.sources();
        let hashes = |bytes: &[u8]| json!({ "sha256": Digest::of(bytes).to_string() });
        let of_target = |bytes: &Vec<u8>| json!({ "length": bytes.len(), "hashes": hashes(bytes) });
        let targets: BTreeMap<_, _> = self.targets.iter().map(|(name, bytes)| (name, of_target(bytes))).collect();
        let common = |kind: &str| json!({ "_type": kind, "spec_version": "1.0.0", "version": self.version, "expires": self.expires[kind] });
        let with = |kind: &str, key: &str, value: Value| {
            let mut role = common(kind);
            role[key] = value;
            role
        };
        let meta = |signed: &[u8]| json!({ "version": self.version, "length": signed.len(), "hashes": hashes(signed) });

        let targets: Targets = from_json(with("targets", "targets", json!(targets)));
        let targets = sign_role(targets, &self.root, &keys).buffer().clone();
        let snapshot: Snapshot = from_json(with("snapshot", "meta", json!({ "targets.json": meta(&targets) })));
        let snapshot = sign_role(snapshot, &self.root, &keys).buffer().clone();
        let timestamp = from_json(with("timestamp", "meta", json!({ "snapshot.json": meta(&snapshot) })));
        let timestamp = sign_role::<tough::schema::Timestamp>(timestamp, &self.root, &keys).buffer().clone();

        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        signed::Metadata {
            roots: self.roots.iter().cloned().map(text).collect(),
            timestamp: text(timestamp),
            snapshot: text(snapshot),
            targets: text(targets),
        }
    }
}

/// What goes into a release.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) serial: u64,
    pub(crate) created: Timestamp,
    files: Vec<(Component, String, Payload)>,
}

/// A tar and the archive that it came in.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    stem: String,
    pub(crate) tar: Vec<u8>,
}

impl Release {
    pub(crate) fn new(serial: u64) -> Self {
        Self { serial, created: now(), files: Vec::new() }
    }

    pub(crate) fn with(mut self, component: Component, version: &str, payload: Payload) -> Self {
        self.files.push((component, version.to_owned(), payload));
        self
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let reference =
            |name: FileName, bytes: &[u8]| FileRef { name, sha256: Digest::of(bytes), length: bytes.len() as u64 };
        let component = |(component, version, payload): &(Component, String, Payload)| ReleasedComponent {
            component: component.clone(),
            version: version.parse().unwrap(),
            files: vec![ReleasedFile {
                archive: reference(payload.archive(), &payload.archive_bytes()),
                payload: reference(payload.name(), &payload.tar),
            }],
        };
        Manifest {
            format: 1,
            serial: Serial::new(self.serial).unwrap(),
            created: self.created,
            source: Source { kind: SourceKind::VendorFeed, url: None, sha256: None, vouched_by: None },
            components: self.files.iter().map(component).collect(),
            index: None,
            offline_zip: None,
        }
    }
}

impl Payload {
    /// A tar of these files.
    pub(crate) fn of(stem: &str, files: &[(&str, &[u8])]) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = header(content.len() as u64, tar::EntryType::Regular);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        Self { stem: stem.to_owned(), tar: tar.into_inner().unwrap() }
    }

    /// A tar with one member of any name and kind, whatever a well-meaning library would say to it.
    pub(crate) fn evil(stem: &str, name: &[u8], kind: tar::EntryType, link: Option<&str>) -> Self {
        let content: &[u8] = if kind == tar::EntryType::Regular { b"evil" } else { b"" };
        let mut header = header(content.len() as u64, kind);
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        if let Some(link) = link {
            header.set_link_name_literal(link).unwrap();
        }
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, content).unwrap();
        Self { stem: stem.to_owned(), tar: tar.into_inner().unwrap() }
    }

    /// Bytes that are what they are.
    pub(crate) fn raw(stem: &str, bytes: &[u8]) -> Self {
        Self { stem: stem.to_owned(), tar: bytes.to_vec() }
    }

    fn name(&self) -> FileName {
        format!("{}.tar", self.stem).parse().unwrap()
    }

    fn archive(&self) -> FileName {
        format!("{}.tar.gz", self.stem).parse().unwrap()
    }

    fn archive_bytes(&self) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&self.tar).unwrap();
        gzip.finish().unwrap()
    }
}

fn header(length: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    header
}
