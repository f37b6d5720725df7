//! `posture-bundle-<serial>.zip`: what goes to relays and headends by hand. The newest release's is made from what readers
//! see, after they see it: its metadata, and so its bytes, are the offline repository's as it was switched, whoever signed
//! it. A relay makes the origin's bytes this way. That of an older release stays what it was while that was the newest.
//!
//! The names change what they stand for when the metadata is signed anew. So each zip lies under its digest in
//! `offline/bundles`, where the server reads it; the names are links to it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};

use bundles::bundle::{self, Contents};
use bundles::release::FileRef;
use bundles::sheet::Sheet;
use bundles::signed::{Metadata, RootFacts, peek};
use bundles::{Digest, FileName, Manifest, Serial, TargetName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::failed;
use super::tree::Tree;
use super::{PublishError, Repository, metadata, sidecars, targets};
use crate::crash;
use crate::store::Store;

const FOLDER: &str = "offline";

/// Where the zips are, by their digest.
const BY_DIGEST: &str = "offline/bundles";

/// In the catalog: what was built of what, so that nothing is built or hashed again.
const STATE: &str = "publish.bundles";

/// The path of a bundle in the tree, by the name that people know.
pub(super) fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// A bundle in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Built {
    zip: FileRef,
    /// Of the metadata that it was made of.
    of: Digest,
    /// The root that it is signed under.
    root: RootFacts,
    /// When it ends.
    valid_until: Timestamp,
}

impl Built {
    /// Where the zip is.
    fn path(&self) -> String {
        format!("{BY_DIGEST}/{}.{}", self.zip.sha256, self.zip.name)
    }

    fn sheet(&self, name: FileName, manifest: &Manifest) -> Sheet {
        Sheet::of_bundle(FileRef { name, ..self.zip.clone() }, self.root, self.valid_until, manifest)
    }
}

/// Makes the newest release's bundle unless it is there, and gives all of them their names. Whether anything changed for
/// readers.
pub(super) fn complete(store: &Store, tree: &Tree, manifests: &[Manifest]) -> Result<bool, PublishError> {
    let kept: BTreeMap<Serial, Built> = store.state(STATE)?.unwrap_or_default();
    let mut there = BTreeMap::new();
    for manifest in manifests {
        if let Some(built) = kept.get(&manifest.serial)
            && tree.has(&built.path(), built.zip.length)?
        {
            there.insert(manifest.serial, built.clone());
        }
    }
    if let Some(signed) = Signed::read(tree)?
        && manifests.iter().any(|manifest| manifest.serial == signed.serial)
        && there.get(&signed.serial).is_none_or(|built| built.of != signed.digest())
    {
        there.insert(signed.serial, build(store, tree, &signed)?);
    }
    if there != kept {
        store.put_state(STATE, &there)?;
        crash::point("tree.bundle_built");
    }
    let mut changed = false;
    for manifest in manifests {
        let Some(built) = there.get(&manifest.serial) else { continue };
        changed |= name(tree, built, &bundle::file_name(manifest.serial), manifest)?;
        if there.last_key_value().is_some_and(|(newest, _)| *newest == manifest.serial) {
            changed |= name(tree, built, bundle::NEWEST, manifest)?;
        }
    }
    tree.settle()?;
    Ok(changed)
}

/// Has a name stand for a bundle, with its companions beside it; whether it stood for another.
fn name(tree: &Tree, built: &Built, name: &str, manifest: &Manifest) -> Result<bool, PublishError> {
    let path = path(name);
    let name = FileName::parse(name).map_err(|source| PublishError::Name { serial: manifest.serial, source })?;
    let sheet = built.sheet(name, manifest);
    let is_same = sidecars::is_digest_there(tree, &path, &sheet)?;
    if is_same {
        tree.link(&built.path(), &path)?;
    } else {
        sidecars::remove(tree, &path)?;
        crash::point("tree.bundle_unnamed");
        tree.relink(&built.path(), &path)?;
        tree.settle()?;
    }
    sidecars::write(tree, &path, &sheet)?;
    Ok(!is_same)
}

/// What the offline repository is to readers, whoever signed it.
struct Signed {
    serial: Serial,
    metadata: Metadata,
    manifest: Vec<u8>,
}

impl Signed {
    /// `None` where there is no such repository yet, or something of it is missing: publishing puts that right first.
    fn read(tree: &Tree) -> Result<Option<Self>, PublishError> {
        let folder = metadata::folder(Repository::Offline);
        let text = |name: String| -> Result<Option<String>, PublishError> {
            let bytes = tree.read(&format!("{folder}/{name}"))?;
            Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
        };
        let mut roots = Vec::new();
        while let Some(root) = text(format!("{}.root.json", roots.len() + 1))? {
            roots.push(root);
        }
        let Some(timestamp) = text("timestamp.json".to_owned())? else { return Ok(None) };
        let Ok(version) = peek::snapshot_version(&timestamp) else { return Ok(None) };
        let Some(snapshot) = text(format!("{version}.snapshot.json"))? else { return Ok(None) };
        let Ok(version) = peek::targets_version(&snapshot) else { return Ok(None) };
        let Some(targets) = text(format!("{version}.targets.json"))? else { return Ok(None) };
        let metadata = Metadata { roots, timestamp, snapshot, targets };
        let Some(first) = metadata.roots.first() else { return Ok(None) };
        let Ok(verified) = bundles::signed::authenticate(first.as_bytes(), &metadata, None) else { return Ok(None) };
        let stable = TargetName::of_channel_stable();
        // Before the first release, nothing is called stable.
        let Ok(target) = verified.target(&stable) else { return Ok(None) };
        let folder = targets::folder(Repository::Offline);
        let manifest = tree.read(&format!("{folder}/{}", stable.served_as(&target.sha256())))?;
        let Some(manifest) = manifest.and_then(|bytes| verified.manifest(&stable, bytes).ok()) else { return Ok(None) };
        Ok(Some(Self { serial: manifest.manifest().serial, metadata, manifest: manifest.bytes().to_vec() }))
    }

    /// Of all that a bundle is made of: the timestamp vouches for the rest of it, but for the roots.
    fn digest(&self) -> Digest {
        let parts = self.metadata.roots.iter().chain([&self.metadata.timestamp]);
        Digest::of(parts.map(|part| Digest::of(part.as_bytes()).to_string()).collect::<String>().as_bytes())
    }
}

fn build(store: &Store, tree: &Tree, signed: &Signed) -> Result<Built, PublishError> {
    let serial = signed.serial;
    let name = FileName::parse(&bundle::file_name(serial)).map_err(|source| PublishError::Name { serial, source })?;
    let open = |file: &FileRef| -> io::Result<Box<dyn Read>> {
        Ok(Box::new(store.blobs.open(&file.sha256).map_err(io::Error::other)?))
    };
    let contents = Contents::new(&signed.manifest, &signed.metadata, &open);
    let contents = contents.map_err(|source| PublishError::Bundle { serial, source })?;
    let scratch = tree.scratch();
    let path = scratch.path();
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let file = io::BufWriter::with_capacity(256 << 10, file.map_err(failed("write", path))?);
    let written = bundle::write(file, &contents, &mut |_| {});
    let written = written.map_err(|source| PublishError::of_zip(serial, source))?;
    let file = written.into_inner().map_err(|error| failed("write", path)(error.into_error()))?;
    file.sync_all().map_err(failed("sync", path))?;
    // Hashed from the start again: the writer goes back to fill in checksums.
    let mut file = File::open(path).map_err(failed("read", path))?;
    let (sha256, length) = Digest::of_reader(&mut file).map_err(failed("read", path))?;
    let built = Built {
        zip: FileRef { name, sha256, length },
        of: signed.digest(),
        root: *contents.root(),
        valid_until: contents.facts().valid_until,
    };
    tree.adopt(&scratch, &built.path())?;
    tree.settle()?;
    Ok(built)
}

/// Removes the bundles of releases that are no longer retained, and those whose place another has taken.
pub(super) fn clean(store: &Store, tree: &Tree, manifests: &[Manifest]) -> Result<(), PublishError> {
    let built: BTreeMap<Serial, Built> = store.state(STATE)?.unwrap_or_default();
    let retained: HashSet<Serial> = manifests.iter().map(|manifest| manifest.serial).collect();
    let built: Vec<_> = built.into_iter().filter(|(serial, _)| retained.contains(serial)).collect();
    let wanted: HashSet<String> = built.iter().map(|(_, built)| built.path()).collect();
    for name in tree.list(BY_DIGEST)? {
        let path = format!("{BY_DIGEST}/{name}");
        if !wanted.contains(&path) {
            tree.remove(&path)?;
        }
    }
    let names: HashSet<String> = built.iter().map(|(serial, _)| bundle::file_name(*serial)).collect();
    for name in tree.list(FOLDER)? {
        let zip = sidecars::zip_of(&name);
        if zip.starts_with("posture-bundle-") && !names.contains(zip) {
            tree.remove(&path(&name))?;
        }
    }
    Ok(())
}

/// A bundle as the tree has it under a name.
pub(super) struct Named {
    /// The path of the name.
    pub(super) path: String,
    /// Where the zip is.
    pub(super) zip: String,
    /// Of its bytes.
    pub(super) sha256: Digest,
    /// In bytes.
    pub(super) length: u64,
}

/// Every name that stands for a bundle, by what is in the tree alone: the digest file beside it says which. Where there is
/// none, publishing was cut off, and will be completed.
pub(super) fn named(tree: &Tree) -> Result<Vec<Named>, PublishError> {
    let mut zips = BTreeMap::new();
    for name in tree.list(BY_DIGEST)? {
        let path = format!("{BY_DIGEST}/{name}");
        let digest = name.split('.').next().and_then(|digest| digest.parse::<Digest>().ok());
        if let Some((sha256, metadata)) = digest.zip(tree.metadata(&path)?) {
            zips.insert(sha256, (path, metadata.len()));
        }
    }
    let mut named = Vec::new();
    for name in tree.list(FOLDER)? {
        let Some(zip) = name.strip_suffix(sidecars::DIGEST) else { continue };
        let Some(line) = tree.read(&path(&name))?.filter(|_| zip.starts_with("posture-bundle")) else { continue };
        let line = String::from_utf8_lossy(&line);
        let Some(sha256) = line.split(' ').next().and_then(|digest| digest.parse().ok()) else { continue };
        let Some((place, length)) = zips.get(&sha256) else { continue };
        named.push(Named { path: path(zip), zip: place.clone(), sha256, length: *length });
    }
    Ok(named)
}
