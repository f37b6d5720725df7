//! `posture-offline-<serial>.zip` for ISE: the vendor's own where the release has it, else upstream's index and archives
//! under upstream's names.

use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bundles::offline_zip::{self, Member, ZipError};
use bundles::release::FileRef;
use bundles::{Digest, FileName, Manifest, Serial, TargetName};

use super::error::failed;
use super::tree::Tree;
use super::{PublishError, Repository, targets};
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

/// A zip that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltZip {
    /// Where it is; `<path>.sha256` is beside it.
    pub path: PathBuf,
    /// Of its bytes.
    pub sha256: Digest,
    /// In bytes.
    pub length: u64,
    /// Who made it.
    pub origin: ZipOrigin,
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
    /// there is one more.
    pub(super) fn complete(
        &mut self,
        store: &Store,
        tree: &Tree,
        manifests: &[Manifest],
    ) -> Result<bool, PublishError> {
        let mut grown = false;
        for manifest in manifests {
            let serial = manifest.serial;
            if let Entry::Vacant(missing) = self.0.entry(serial) {
                missing.insert(match &manifest.offline_zip {
                    Some(vendors) => place_vendors(tree, serial, vendors)?,
                    None => build(store, tree, manifest)?,
                });
                // Remembered before the metadata names it; and at once, since the next one may fail.
                store.put_state(STATE, &self.0)?;
                grown = true;
            }
            self.write_digest(tree, serial, &file_name(serial))?;
        }
        if let Some((newest, _)) = self.0.last_key_value() {
            tree.link(&path(&file_name(*newest)), &path(NEWEST))?;
            self.write_digest(tree, *newest, NEWEST)?;
        }
        tree.settle()?;
        Ok(grown)
    }

    fn write_digest(&self, tree: &Tree, serial: Serial, name: &str) -> Result<(), PublishError> {
        match (self.0.get(&serial), FileName::parse(name)) {
            (Some(zip), Ok(name)) => {
                let line = offline_zip::sha256_line(&zip.sha256, &name);
                tree.write(&format!("{}.sha256", path(name.as_str())), line.as_bytes())
            }
            (None, _) | (_, Err(_)) => Ok(()),
        }
    }
}

fn place_vendors(tree: &Tree, serial: Serial, zip: &FileRef) -> Result<FileRef, PublishError> {
    let target = zip.target_name().map_err(|source| PublishError::Name { serial, source })?;
    let placed = format!("{}/{}", targets::folder(Repository::Online), target.served_as(&zip.sha256));
    tree.link(&placed, &path(&file_name(serial)))?;
    Ok(zip.clone())
}

fn build(store: &Store, tree: &Tree, manifest: &Manifest) -> Result<FileRef, PublishError> {
    let serial = manifest.serial;
    let name = FileName::parse(&file_name(serial)).map_err(|source| PublishError::Name { serial, source })?;
    let scratch = tree.scratch();
    let (sha256, length) = write(store, manifest, scratch.path(), &mut |_| {})?;
    tree.adopt(&scratch, &path(name.as_str()))?;
    Ok(FileRef { name, sha256, length })
}

/// Writes a release's zip to a file for somebody to carry away, with its digest beside it. `out` is the file, or a
/// directory to put it in.
pub(super) fn build_at(
    store: &Store,
    manifest: &Manifest,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<BuiltZip, PublishError> {
    let serial = manifest.serial;
    let path = if out.is_dir() { out.join(file_name(serial)) } else { out.to_owned() };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let partial = path.with_file_name(format!("{name}.partial"));
    let (sha256, length) = write(store, manifest, &partial, progress).inspect_err(|_| {
        // A zip that was cut off by a full disk keeps it full.
        let _ = fs::remove_file(&partial);
    })?;
    fs::rename(&partial, &path).map_err(failed("rename a file to", &path))?;
    let digest = path.with_file_name(format!("{name}.sha256"));
    fs::write(&digest, format!("{sha256}  {name}\n")).map_err(failed("write", &digest))?;
    Ok(BuiltZip { path, sha256, length, origin: origin(manifest) })
}

/// Writes, syncs and hashes.
fn write(
    store: &Store,
    manifest: &Manifest,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(Digest, u64), PublishError> {
    let serial = manifest.serial;
    let mut file =
        File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(failed("write", path))?;
    if let Some(vendors) = &manifest.offline_zip {
        let mut blob = store.blobs.open(&vendors.sha256)?;
        let length = io::copy(&mut blob, &mut file).map_err(failed("write", path))?;
        progress(length);
    } else {
        let members = members(store, manifest);
        let buffered = io::BufWriter::with_capacity(256 << 10, file);
        let written = offline_zip::write(buffered, &members, progress);
        let written = written.map_err(|source| PublishError::Zip { serial, source })?;
        let unwritten = |error: io::IntoInnerError<_>| PublishError::Zip {
            serial,
            source: ZipError::Write { source: error.into_error() },
        };
        file = written.into_inner().map_err(unwritten)?;
    }
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
            name: file.name.clone(),
            length: file.length,
            open: Box::new(|| Ok(Box::new(store.blobs.open(&file.sha256).map_err(io::Error::other)?))),
        })
        .collect()
}

/// Removes the zips of releases that are no longer retained.
pub(super) fn clean(tree: &Tree, manifests: &[Manifest]) -> Result<(), PublishError> {
    let wanted: HashSet<String> = manifests.iter().map(|manifest| file_name(manifest.serial)).collect();
    for name in tree.list(FOLDER)? {
        let zip = name.strip_suffix(".sha256").unwrap_or(&name);
        if zip.starts_with("posture-offline-") && !wanted.contains(zip) {
            tree.remove(&path(&name))?;
        }
    }
    Ok(())
}
