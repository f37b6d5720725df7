//! Reading a bundle.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use super::facts::MAX_FACTS_BYTES;
use super::part::Part;
use super::{BundleError, FACTS, Facts};
use crate::release::{FileRef, MAX_MANIFEST_BYTES};
use crate::signed::{
    MAX_ROOT_BYTES, MAX_ROOTS, MAX_SNAPSHOT_BYTES, MAX_TARGETS_BYTES, MAX_TIMESTAMP_BYTES, Metadata, SignedManifest,
    Verified, peek,
};
use crate::zip_file::{Content, Rules, ZipFile};
use crate::{Digest, Limits, TargetName};

/// Bytes of all roots together at most, since they are held in memory before any is trusted: [`MAX_ROOTS`] of real ones are
/// two million.
const MAX_ROOTS_BYTES: u64 = 16 << 20;

/// Bytes of the member for people at most, since it is read whole: a page is two thousand, and nobody reads a book there.
const MAX_README_BYTES: u64 = 64 << 10;

/// Where the first member's name begins, behind its local header (APPNOTE.TXT, section 4.3.7).
const FIRST_NAME: usize = 30;

/// Bytes that tell a bundle from any other file.
const START: usize = FIRST_NAME + 255;

/// A zip that is a bundle by its structure. Nothing of it is trusted.
#[derive(Debug)]
pub struct Bundle<F> {
    members: Members<F>,
    facts: Facts,
    /// Names that no bundle has.
    strangers: Vec<String>,
}

#[derive(Debug)]
struct Members<F> {
    zip: ZipFile<F>,
    /// Where each is among the zip's entries.
    parts: BTreeMap<Part, usize>,
}

/// Whether a file's first bytes (a few hundred) are those of a bundle, so that it can be told from the vendor's zip.
#[must_use]
pub fn is_bundle(start: &[u8]) -> bool {
    first_name(start).is_some_and(|name| name == FACTS)
}

/// The name of a zip's first member; `None` where it does not begin as a zip.
fn first_name(start: &[u8]) -> Option<String> {
    let length = start.strip_prefix(b"PK\x03\x04")?.get(22..24)?;
    let length = usize::from(u16::from_le_bytes(length.try_into().ok()?));
    let name = start.get(FIRST_NAME..FIRST_NAME + length)?;
    Some(String::from_utf8_lossy(name).into_owned())
}

impl<F: Read + Seek> Bundle<F> {
    /// Reads a zip's structure, and what it says of itself. In memory are the names of the members.
    ///
    /// # Errors
    /// It is no zip, not one of ours byte for byte, of a newer format, or past a limit; or it cannot be read.
    pub fn open(mut file: F, limits: &Limits) -> Result<Self, BundleError> {
        let mut start = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(BundleError::Medium)?;
        file.by_ref().take(START as u64).read_to_end(&mut start).map_err(BundleError::Medium)?;
        if let Some(first) = first_name(&start).filter(|name| name != FACTS) {
            // Said of somebody's honest zip only: a bundle that was tampered with is refused for that.
            ZipFile::open(&mut file, &Rules::vendors(limits)).map_err(BundleError::Zip)?;
            return Err(BundleError::NotABundle { first: first.chars().take(100).collect() });
        }
        let zip = ZipFile::open(file, &Rules::ours(limits)).map_err(BundleError::Zip)?;
        let mut parts = BTreeMap::new();
        let mut strangers = Vec::new();
        for (index, entry) in zip.entries().iter().enumerate() {
            match Part::parse(&entry.name).filter(|_| !entry.is_dir) {
                Some(part) => drop(parts.insert(part, index)),
                None => strangers.push(entry.name.clone()),
            }
        }
        let mut members = Members { zip, parts };
        let facts = Facts::from_json(&members.text(&Part::Facts, MAX_FACTS_BYTES)?)?;
        Ok(Self { members, facts, strangers })
    }

    /// The signed metadata that it carries, not verified.
    ///
    /// # Errors
    /// Some of it is not there or past its limit, or stands under another version than its own; or it cannot be read.
    pub fn metadata(&mut self) -> Result<Metadata, BundleError> {
        let is_root = |part: &&Part| matches!(part, Part::Root(_));
        let given: Vec<Part> = self.members.parts.keys().filter(is_root).cloned().collect();
        if given.len() > MAX_ROOTS {
            return Err(BundleError::TooManyRoots { count: given.len() });
        }
        let mut roots = Vec::new();
        let mut left = MAX_ROOTS_BYTES;
        for (version, part) in (1..).zip(&given) {
            if *part != Part::Root(version) {
                return Err(BundleError::Missing { name: Part::Root(version).to_string() });
            }
            let root = self.members.text(part, MAX_ROOT_BYTES.min(left))?;
            left -= root.len() as u64;
            if peek::root_version(&root).map_err(BundleError::Signed)? != version {
                return Err(BundleError::Misnamed { name: part.to_string() });
            }
            roots.push(root);
        }
        if roots.is_empty() {
            return Err(BundleError::Missing { name: Part::Root(1).to_string() });
        }
        let timestamp = self.members.text(&Part::Timestamp, MAX_TIMESTAMP_BYTES)?;
        let snapshot = Part::Snapshot(peek::snapshot_version(&timestamp).map_err(BundleError::Signed)?);
        let snapshot = self.members.text(&snapshot, MAX_SNAPSHOT_BYTES)?;
        let targets = Part::Targets(peek::targets_version(&snapshot).map_err(BundleError::Signed)?);
        let targets = self.members.text(&targets, MAX_TARGETS_BYTES)?;
        Ok(Metadata { roots, timestamp, snapshot, targets })
    }

    /// The manifest that verified metadata calls stable.
    pub(crate) fn manifest(&mut self, verified: &Verified) -> Result<SignedManifest, BundleError> {
        self.manifest_named(&TargetName::of_channel_stable(), verified)
    }

    /// The manifest of one of its two names.
    pub(super) fn manifest_named(
        &mut self,
        name: &TargetName,
        verified: &Verified,
    ) -> Result<SignedManifest, BundleError> {
        let digest = verified.target(name).map_err(BundleError::Signed)?.sha256();
        let bytes = self.members.bytes(&Part::Target(digest, name.clone()), MAX_MANIFEST_BYTES)?;
        verified.manifest(name, bytes).map_err(BundleError::Signed)
    }

    /// Reads what is there for people: nobody vouches for it, and another version of this program writes it otherwise. It is
    /// text, and its checksum tells damage.
    pub(super) fn check_readme(&mut self) -> Result<(), BundleError> {
        self.members.text(&Part::Readme, MAX_README_BYTES).map(drop)
    }

    /// The content of an archive, index or offline zip of the release. Its errors are [`crate::zip_file::ZipFileError`]s.
    /// The caller holds what comes to the digest and the length.
    ///
    /// # Errors
    /// The bundle does not have it, or cannot be read.
    pub fn open_file(&mut self, file: &FileRef) -> Result<Content<'_, F>, BundleError> {
        self.members.content(&part_of(file)?)
    }

    /// Reads a file to its end and holds it to its digest and length: for files that are carried and not taken.
    ///
    /// # Errors
    /// The bundle does not have it, it is another one, or it cannot be read.
    pub fn hash(&mut self, file: &FileRef) -> Result<(), BundleError> {
        let name = || part_of(file).map_or_else(|_| file.name.to_string(), |part| part.to_string());
        let mut content = self.open_file(file)?;
        let found = Digest::of_reader(&mut content).map_err(|source| BundleError::of_read(&name(), source))?;
        if found == (file.sha256, file.length) { Ok(()) } else { Err(BundleError::Differs { name: name() }) }
    }
}

impl<F: Read + Seek> Members<F> {
    fn content(&mut self, part: &Part) -> Result<Content<'_, F>, BundleError> {
        let index = self.parts.get(part).ok_or_else(|| BundleError::Missing { name: part.to_string() })?;
        self.zip.read(*index).map_err(BundleError::Zip)
    }

    fn bytes(&mut self, part: &Part, limit: u64) -> Result<Vec<u8>, BundleError> {
        if self.length(part).is_some_and(|length| length > limit) {
            return Err(BundleError::TooLarge { name: part.to_string(), limit });
        }
        let mut bytes = Vec::new();
        let read = self.content(part)?.read_to_end(&mut bytes);
        read.map_err(|source| BundleError::of_read(&part.to_string(), source))?;
        Ok(bytes)
    }

    fn text(&mut self, part: &Part, limit: u64) -> Result<String, BundleError> {
        let bytes = self.bytes(part, limit)?;
        String::from_utf8(bytes).map_err(|_| BundleError::NotText { name: part.to_string() })
    }

    fn length(&self, part: &Part) -> Option<u64> {
        Some(self.zip.entries().get(*self.parts.get(part)?)?.length)
    }
}

impl<F> Bundle<F> {
    /// What it says of itself.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How many members it has, and how many bytes they hold.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        let entries = self.members.zip.entries();
        (entries.len(), entries.iter().map(|entry| entry.length).sum())
    }

    /// The file back.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.members.zip.into_inner()
    }

    /// Whether every member's name is one that bundles have.
    pub(crate) fn check_names(&self) -> Result<(), BundleError> {
        match self.strangers.first() {
            Some(name) => Err(BundleError::Stranger { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Every member with a name that bundles have, and its length in bytes.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Part, u64)> {
        let entries = self.members.zip.entries();
        self.members.parts.iter().filter_map(|(part, index)| Some((part, entries.get(*index)?.length)))
    }
}

pub(crate) fn part_of(file: &FileRef) -> Result<Part, BundleError> {
    let name = file.target_name().map_err(|_| BundleError::Missing { name: file.name.to_string() })?;
    Ok(Part::Target(file.sha256, name))
}

impl BundleError {
    /// What a member's content answered with.
    fn of_read(name: &str, source: io::Error) -> Self {
        match crate::zip_file::ZipFileError::within(source) {
            Ok(source) => Self::Zip(source),
            Err(source) => Self::Read { name: name.to_owned(), source },
        }
    }
}
