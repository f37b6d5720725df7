//! A release in the making: everything happens in `.staging/`, and one rename makes it a release.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bundles::release::FileRef;
use bundles::signed::SignedManifest;
use bundles::{Limits, Manifest, Serial};

use super::{ApplyError, MANIFEST};
use crate::crash;
use crate::data::Paths;
use crate::durable::{self, StorageError};
use crate::plan::{Layout, PlanError};

/// A release in the making.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    layout: Layout,
    serial: Serial,
}

/// Removes what a killed run left in the making.
///
/// # Errors
/// It cannot be removed.
pub fn clear(paths: &Paths) -> Result<(), StorageError> {
    durable::remove_tree(&paths.staging())
}

impl Staging {
    /// An empty folder for this release's payloads.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn begin(paths: &Paths, manifest: &Manifest) -> Result<Self, ApplyError> {
        clear(paths)?;
        let layout = Layout::of(manifest)?;
        let serial = manifest.serial;
        let folder = paths.staging().join(serial.to_string());
        let payloads = folder.join("payloads");
        fs::create_dir_all(&payloads).map_err(StorageError::at("create", &payloads))?;
        Ok(Self { folder, layout, serial })
    }

    /// Where a payload belongs.
    ///
    /// # Errors
    /// It is none of this release's.
    pub fn place_of(&self, file: &FileRef) -> Result<PathBuf, ApplyError> {
        let place = self.layout.payload(file).ok_or_else(|| PlanError::Name { name: file.name.to_string() })?;
        Ok(self.folder.join(place))
    }

    /// Where an archive may lie while it is opened: gone with the staging, and no part of the release.
    #[must_use]
    pub fn aside(&self) -> PathBuf {
        self.folder.with_extension("archive")
    }

    /// Opens every payload into its folder. The bound on a run's bytes is one on what all of them open to as well: many
    /// zips, or one that many components name, must not fill the disk when each by itself is within its limit.
    ///
    /// # Errors
    /// One does not open, or holds what it must not, or there is too much.
    pub fn open(&self, limits: &Limits) -> Result<(), ApplyError> {
        let mut left = limits.run_bytes;
        for (payload, folder) in &self.layout.opened {
            let limits = Limits { payload_bytes: limits.payload_bytes.min(left), ..limits.clone() };
            let path = self.place_of(payload)?;
            let into = self.folder.join(folder);
            fs::create_dir_all(&into).map_err(StorageError::at("create", &into))?;
            let mut file = File::open(&path).map_err(StorageError::at("open", &path))?;
            let opened = bundles::archive::unpack(&mut file, &payload.name, &into, &limits);
            let opened = opened.map_err(|source| ApplyError::Archive { name: payload.name.clone(), source })?;
            for file in opened {
                let file = into.join(file);
                let length = fs::metadata(&file).map_err(StorageError::at("look at", &file))?.len();
                left = left.saturating_sub(length);
            }
            crash::point("client.stage.unpacked");
        }
        Ok(())
    }

    /// Makes it a release, which only a signed one can become: durable first, then visible, by one rename.
    ///
    /// # Errors
    /// The file system refuses; nothing is visible then.
    pub fn finish(self, paths: &Paths, signed: &SignedManifest) -> Result<(), ApplyError> {
        let manifest = self.folder.join(MANIFEST);
        fs::write(&manifest, signed.bytes()).map_err(StorageError::at("write", &manifest))?;
        durable::sync_tree(&self.folder)?;
        let releases = paths.releases();
        fs::create_dir_all(&releases).map_err(StorageError::at("create", &releases))?;
        crash::point("client.stage.before_rename");
        let release = paths.release(self.serial);
        if release.exists() {
            exchange(&self.folder, &release).map_err(StorageError::at("replace", &release))?;
            durable::sync_directory(&releases)?;
        } else {
            durable::rename(&self.folder, &release)?;
        }
        crash::point("client.stage.renamed");
        clear(paths)?;
        Ok(())
    }
}

/// Swaps two folders at once: a damaged release of the same number gives way without a moment of absence.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(test)]
mod tests {
    use bundles::release::{ReleasedComponent, ReleasedFile, Source, SourceKind};
    use bundles::{Component, Digest, FileName, Reason, Version};

    use super::*;

    #[test]
    fn what_all_payloads_open_to_is_bounded_too() {
        let mut header = tar::Header::new_gnu();
        header.set_size(600);
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, "rules.xml", &[b'x'; 600][..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let file = |name: &str| FileRef {
            name: FileName::parse(name).unwrap(),
            sha256: Digest::of(&tar),
            length: tar.len() as u64,
        };
        let released = |component| ReleasedComponent {
            component,
            version: Version::Digest(Digest::of(&tar)),
            files: vec![ReleasedFile { archive: file("rules.tar"), payload: file("rules.tar") }],
        };
        let manifest = Manifest {
            format: 1,
            serial: Serial::FIRST,
            created: jiff::Timestamp::UNIX_EPOCH,
            source: Source { kind: SourceKind::VendorFeed, url: None, sha256: None, vouched_by: None },
            components: vec![released(Component::Conditions), released(Component::SupportedOs)],
            index: None,
            offline_zip: None,
        };
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path(), None);
        for (run_bytes, fits) in [(1_200, true), (1_199, false)] {
            let staging = Staging::begin(&paths, &manifest).unwrap();
            fs::write(staging.place_of(&file("rules.tar")).unwrap(), &tar).unwrap();
            let opened = staging.open(&Limits { run_bytes, ..Limits::default() });
            assert_eq!(opened.as_ref().err().map(bundles::Reasoned::reason), (!fits).then_some(Reason::TooLarge));
        }
    }
}
