//! The vendor's zip, brought by hand: what it holds becomes a [`CheckedFeed`] as an online run would give.
//!
//! With an index, the index says what the feed is: its entries are found in the zip by their file names, and held to
//! what it promises of them. Without one, every archive whose name the patterns know is an entry. What else the zip holds
//! becomes no component, unless it is an archive of a known name (see `layout`): headends would fetch and open it in
//! vain. None of it is lost, since the zip itself is carried byte for byte.

mod layout;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs::File;

use bundles::index::{Index, Patterns};
use bundles::release::{FileRef, ReleasedComponent, Source, SourceKind};
use bundles::zip_file::ZipFile;
use bundles::{Component, Digest, FileName, Limits, Version};
use url::Url;

use self::layout::Layout;
use super::archive::{Fetched, Opening, publishable};
use super::checked::{CheckedFile, Staging};
use super::intake::ReceivedZip;
use super::look::{Part, StopOnDrop, UNKNOWN_DIALECT, components};
use super::stage::{Promise, Stop, stage_member};
use super::{CheckedFeed, Known, SyncError, offline_zip};
use crate::config;
use crate::upstream::UpstreamError;

/// Members that make no component and are named in the log; the rest is counted.
const NAMED_LEFT: usize = 20;

/// By what a zip is read.
#[derive(Debug, Clone)]
pub struct Reading {
    staging: Staging,
    limits: Limits,
    patterns: Patterns,
    /// What relative locators are relative to. Nothing is fetched from there.
    base: Url,
}

impl Reading {
    /// As configured.
    ///
    /// # Errors
    /// A pattern of the configuration is none.
    pub fn new(config: &config::Config, staging: &Staging) -> Result<Self, SyncError> {
        let patterns = Patterns::with_overrides(config.upstream.components.clone());
        Ok(Self {
            staging: staging.clone(),
            limits: config.limits.clone(),
            patterns: patterns.map_err(UpstreamError::Patterns)?,
            base: config.upstream.url.clone(),
        })
    }

    /// Reads a zip, all of it. `vouched_by` says who brought it. What is known of upstream's answers stays known.
    ///
    /// # Errors
    /// The first thing that is wrong with it; then nothing is kept.
    pub async fn read(self, zip: ReceivedZip, known: Known, vouched_by: String) -> Result<CheckedFeed, SyncError> {
        let stop = Stop::default();
        let _stop = StopOnDrop(stop.clone());
        let read = move || self.read_all(zip, known, vouched_by, stop);
        tokio::task::spawn_blocking(read).await.map_err(SyncError::Task)?
    }

    fn read_all(
        self,
        received: ReceivedZip,
        known: Known,
        vouched_by: String,
        stop: Stop,
    ) -> Result<CheckedFeed, SyncError> {
        let Content { index, reading, archives } = self.content(&received, &known, stop)?;
        let file = FileRef { name: offline_zip::name()?, sha256: received.sha256(), length: received.length() };
        publishable(&file)?;
        let received_bytes = file.length;
        let components = archives.components();
        // The same content under two names comes once.
        let mut seen = HashSet::new();
        let new_files = archives.taken.into_values().flat_map(|fetched| fetched.new_files);
        let mut new_files: Vec<CheckedFile> = new_files.filter(|file| seen.insert(file.file().sha256)).collect();
        let index = index.map(|(file, new_file)| {
            new_files.extend(new_file);
            file
        });
        if !(known.blobs)(&file.sha256) {
            new_files.push(CheckedFile::new(file.clone(), received.into_file().into_temp_path()));
        }
        Ok(CheckedFeed {
            source: Source {
                kind: SourceKind::VendorZip,
                url: None,
                sha256: Some(file.sha256),
                vouched_by: Some(vouched_by),
            },
            components,
            index,
            offline_zip: Some(file),
            reading,
            new_files,
            validators: known.validators,
            received_bytes,
            clock_offset: None,
        })
    }

    /// Reads a zip, all of it, and keeps nothing: what it would make of each component. Takes as long as [`Self::read`], on this
    /// thread.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn look(&self, zip: &ReceivedZip, known: &Known) -> Result<Vec<ReleasedComponent>, SyncError> {
        let content = self.content(zip, known, Stop::default())?;
        Ok(content.archives.components())
    }

    /// Opens everything that is in a zip.
    fn content(&self, received: &ReceivedZip, known: &Known, stop: Stop) -> Result<Content, SyncError> {
        let mut zip = offline_zip::open(received.file(), received.length(), &self.limits)?;
        let layout = Layout::of(&mut zip, &self.base, &self.patterns, &self.limits)?;
        let opening =
            Opening { staging: self.staging.clone(), limits: self.limits.clone(), stop, is_known: known.blobs.clone() };
        let (index, reading, archives) = match layout.index {
            Some(number) => {
                let (file, index, new_file) = self.index(&mut zip, number, &layout, &opening)?;
                let archives = self.archives(&mut zip, layout.wanted(&index)?, &opening)?;
                (Some((file, new_file)), Some(index.reading), archives)
            }
            None => (None, None, self.archives(&mut zip, layout.unnamed(), &opening)?),
        };
        // What is carried has to be whole too, though nothing is made of it.
        for number in (0..zip.entries().len()).filter(|number| !archives.taken.contains_key(number)) {
            offline_zip::drain(&mut zip, number, &opening.stop)?;
        }
        layout.tell_left(&zip, &archives.taken);
        Ok(Content { index, reading, archives })
    }

    fn index(
        &self,
        zip: &mut ZipFile<&File>,
        number: usize,
        layout: &Layout,
        opening: &Opening,
    ) -> Result<(FileRef, Index, Option<CheckedFile>), SyncError> {
        let name = layout.name_of(number)?;
        let bytes = layout::whole_member(zip, number, &self.limits)?;
        let base = layout::base(&self.base, &name);
        let index = Index::read(&bytes, &base, &self.patterns, &self.limits)
            .map_err(|source| SyncError::Index { url: format!("the zip's {name}"), source })?;
        tracing::info!(%name, entries = index.entries.len(), bytes = bytes.len(), "read the zip's index");
        if index.reading.is_unknown_dialect() {
            tracing::warn!(%name, reading = index.reading.as_str(), root = index.root, "{UNKNOWN_DIALECT}");
        }
        let file = FileRef { name, sha256: Digest::of(&bytes), length: bytes.len() as u64 };
        publishable(&file)?;
        let new_file = if (opening.is_known)(&file.sha256) {
            None
        } else {
            let checked = CheckedFile::check(&self.staging, file.clone(), &mut bytes.as_slice());
            Some(checked.map_err(SyncError::Staging)?)
        };
        Ok((file, index, new_file))
    }

    /// Takes archives out of the zip, each once.
    fn archives(
        &self,
        zip: &mut ZipFile<&File>,
        wanted: Vec<WantedMember>,
        opening: &Opening,
    ) -> Result<Archives, SyncError> {
        let mut archives = Archives { parts: Vec::new(), taken: BTreeMap::new() };
        let mut total = 0_u64;
        for WantedMember { number, name, size, checksum, component, version } in wanted {
            if let Entry::Vacant(place) = archives.taken.entry(number) {
                opening.stop.check()?;
                let length = zip.entries().get(number).map_or(0, |entry| entry.length);
                total = total.saturating_add(length);
                if total > self.limits.run_bytes {
                    return Err(SyncError::RunTooLarge { limit: self.limits.run_bytes });
                }
                let promise = Promise { name: &name, size, checksum: checksum.as_ref() };
                promise.has_size(length)?;
                let mut content = zip.read(number).map_err(SyncError::Zip)?;
                let staged = stage_member(&self.staging, &promise, &mut content, &opening.stop)?;
                let fetched = opening.open(&name, staged)?;
                let FileRef { sha256, length, .. } = &fetched.file.archive;
                tracing::info!(%name, bytes = length, %sha256, "took an archive out of the zip");
                place.insert(fetched);
            }
            archives.parts.push(TakenPart { number, component, version });
        }
        Ok(archives)
    }
}

/// An archive that is to be taken out of the zip.
#[derive(Debug)]
struct WantedMember {
    /// Where it stands in the zip's directory.
    number: usize,
    name: FileName,
    size: Option<u64>,
    checksum: Option<bundles::Checksum>,
    component: Component,
    version: Option<Version>,
}

/// What is in a zip.
struct Content {
    index: Option<(FileRef, Option<CheckedFile>)>,
    reading: Option<bundles::index::Reading>,
    archives: Archives,
}

/// What was taken, and what it is of: one file may be of several components.
struct Archives {
    parts: Vec<TakenPart>,
    taken: BTreeMap<usize, Fetched>,
}

impl Archives {
    fn components(&self) -> Vec<ReleasedComponent> {
        let parts = self.parts.iter().filter_map(|part| {
            let fetched = self.taken.get(&part.number)?;
            Some(Part { component: &part.component, version: part.version.as_ref(), fetched })
        });
        components(parts)
    }
}

struct TakenPart {
    number: usize,
    component: Component,
    version: Option<Version>,
}
