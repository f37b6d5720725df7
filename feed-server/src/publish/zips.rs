//! `posture-offline-<serial>.zip` for ISE: the vendor's own where the release has it, else upstream's index and archives
//! under upstream's names.

use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use bundles::offline_zip::{self, Member};
use bundles::release::FileRef;
use bundles::sheet::Sheet;
use bundles::{Digest, FileName, Manifest, Serial, TargetName};

use super::error::failed;
use super::tree::Tree;
use super::{PublishError, Repository, sidecars, targets};
use crate::store::Store;

/// The name without a number: that of the newest release.
pub(super) const NEWEST: &str = "posture-offline.zip";
const FOLDER: &str = "offline";

/// In the catalog: what was built, so that nothing has to be hashed again.
const STATE: &str = "publish.zips";

/// Who made a zip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZipOrigin {
    /// The vendor, byte for byte.
    Vendor,
    /// This server, from the vendor's index and archives. ISE takes it where its content is all that ISE looks for; the
    /// vendor's own may hold more (client provisioning).
    BuiltFromFeed,
}

impl fmt::Display for ZipOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vendor => "the vendor's own",
            Self::BuiltFromFeed => "built from the feed",
        })
    }
}

pub(super) fn origin(manifest: &Manifest) -> ZipOrigin {
    if manifest.offline_zip.is_some() { ZipOrigin::Vendor } else { ZipOrigin::BuiltFromFeed }
}

/// `posture-offline-<serial>.zip`
pub(super) fn file_name(serial: Serial) -> String {
    format!("posture-offline-{serial}.zip")
}

/// The path of a zip in the tree.
pub(super) fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// The zips that are in the tree.
#[derive(Debug, Default)]
pub(super) struct Zips(BTreeMap<Serial, FileRef>);

impl Zips {
    /// Those of these releases.
    pub(super) fn read(store: &Store, tree: &Tree, manifests: &[Manifest]) -> Result<Self, PublishError> {
        let mut kept: BTreeMap<Serial, FileRef> = store.state(STATE)?.unwrap_or_default();
        let mut there = BTreeMap::new();
        for manifest in manifests {
            let zip = manifest.offline_zip.clone().or_else(|| kept.remove(&manifest.serial));
            if let Some(zip) = zip
                && tree.has(&path(&file_name(manifest.serial)), zip.length)?
            {
                there.insert(manifest.serial, zip);
            }
        }
        Ok(Self(there))
    }

    /// Those that this server built, as targets: a vendor's zip is one already, as a file of its release.
    pub(super) fn built(&self, manifests: &[Manifest]) -> impl Iterator<Item = (TargetName, &FileRef, String)> {
        manifests.iter().filter(|manifest| manifest.offline_zip.is_none()).filter_map(|manifest| {
            let zip = self.0.get(&manifest.serial)?;
            let name = FileName::parse(&file_name(manifest.serial)).ok()?;
            Some((TargetName::of_content(&zip.sha256, &name).ok()?, zip, path(name.as_str())))
        })
    }

    /// Makes those that are not there, newest first, and points the name without a number to the newest. Whether
    /// there is one more. The vendor's own are in the folder of targets of `placed`.
    pub(super) fn complete(
        &mut self,
        store: &Store,
        tree: &Tree,
        placed: Repository,
        manifests: &[Manifest],
    ) -> Result<bool, PublishError> {
        let mut grown = false;
        for manifest in manifests {
            let serial = manifest.serial;
            if let Entry::Vacant(missing) = self.0.entry(serial) {
                missing.insert(match &manifest.offline_zip {
                    Some(vendors) => place_vendors(tree, placed, serial, vendors)?,
                    None => build(store, tree, manifest)?,
                });
                // Remembered before the metadata names it; and at once, since the next one may fail.
                store.put_state(STATE, &self.0)?;
                grown = true;
            }
            self.write_sidecars(tree, manifest, &file_name(serial))?;
        }
        let newest = self.0.last_key_value().map(|(newest, _)| *newest);
        if let Some(newest) = manifests.iter().find(|manifest| Some(manifest.serial) == newest) {
            tree.link(&path(&file_name(newest.serial)), &path(NEWEST))?;
            self.write_sidecars(tree, newest, NEWEST)?;
        }
        tree.settle()?;
        Ok(grown)
    }

    fn write_sidecars(&self, tree: &Tree, manifest: &Manifest, name: &str) -> Result<(), PublishError> {
        let serial = manifest.serial;
        let Some(zip) = self.0.get(&serial) else { return Ok(()) };
        let name = FileName::parse(name).map_err(|source| PublishError::Name { serial, source })?;
        let path = path(name.as_str());
        sidecars::write(tree, &path, &Sheet::of_offline_zip(FileRef { name, ..zip.clone() }, manifest))
    }
}

fn place_vendors(tree: &Tree, placed: Repository, serial: Serial, zip: &FileRef) -> Result<FileRef, PublishError> {
    let target = zip.target_name().map_err(|source| PublishError::Name { serial, source })?;
    let placed = format!("{}/{}", targets::folder(placed), target.served_as(&zip.sha256));
    tree.link(&placed, &path(&file_name(serial)))?;
    Ok(zip.clone())
}

fn build(store: &Store, tree: &Tree, manifest: &Manifest) -> Result<FileRef, PublishError> {
    let serial = manifest.serial;
    let name = FileName::parse(&file_name(serial)).map_err(|source| PublishError::Name { serial, source })?;
    let scratch = tree.scratch();
    let (sha256, length) = write(store, manifest, scratch.path())?;
    tree.adopt(&scratch, &path(name.as_str()))?;
    Ok(FileRef { name, sha256, length })
}

/// Writes, syncs and hashes.
fn write(store: &Store, manifest: &Manifest, path: &Path) -> Result<(Digest, u64), PublishError> {
    let serial = manifest.serial;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let buffered = io::BufWriter::with_capacity(256 << 10, file.map_err(failed("write", path))?);
    let written = offline_zip::write(buffered, &members(store, manifest), &mut |_| {});
    let written = written.map_err(|source| PublishError::of_zip(serial, source))?;
    let file = written.into_inner().map_err(|error| failed("write", path)(error.into_error()))?;
    file.sync_all().map_err(failed("sync", path))?;
    // Hashed from the start again: the writer goes back to fill in sizes.
    let mut file = File::open(path).map_err(failed("read", path))?;
    Digest::of_reader(&mut file).map_err(failed("read", path))
}

/// The index and every archive once, in the release's order.
fn members<'a>(store: &'a Store, manifest: &'a Manifest) -> Vec<Member<'a>> {
    let archives = manifest.components.iter().flat_map(|released| &released.files).map(|file| &file.archive);
    let mut names = HashSet::new();
    manifest
        .index
        .iter()
        .chain(archives)
        .filter(|file| names.insert(&file.name))
        .map(|file| Member {
            name: file.name.clone().into(),
            length: file.length,
            sha256: Some(file.sha256),
            open: Box::new(|| Ok(Box::new(store.blobs.open(&file.sha256).map_err(io::Error::other)?))),
        })
        .collect()
}

/// Removes the zips of releases that are no longer retained.
pub(super) fn clean(tree: &Tree, manifests: &[Manifest]) -> Result<(), PublishError> {
    let wanted: HashSet<String> = manifests.iter().map(|manifest| file_name(manifest.serial)).collect();
    for name in tree.list(FOLDER)? {
        let zip = sidecars::zip_of(&name);
        if zip.starts_with("posture-offline-") && !wanted.contains(zip) {
            tree.remove(&path(&name))?;
        }
    }
    Ok(())
}
