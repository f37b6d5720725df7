//! Where things lie in a vendor's zip: flat or in one folder, with an index or without, and what else there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;

use bundles::index::{Hints, Index, Patterns, stem};
use bundles::zip_file::{ZipEntry, ZipFile};
use bundles::{Component, FileName, Limits};
use url::Url;

use super::super::archive::Fetched;
use super::{NAMED_LEFT, SyncError, WantedMember};

/// The index's name in the vendor's directory, and so in its zip.
const INDEX: &str = "posture-update.xml";

/// Files that are read to see whether they are the index, where none has its name: each costs as much as an index may.
const MAX_CANDIDATES: usize = 16;

/// How posture content is packed. Client provisioning comes in `.zip`, `.pkg`, `.msi` and `.dmg`, and some of it has a
/// platform in its name as charts do: what is packed so is taken only where an operator's own pattern names it.
const POSTURE_PACKING: [&str; 5] = [".tar.gz", ".tgz", ".tar", ".gz", ".xml"];

/// What macOS adds to zips: a shadow of every file.
const SHADOWS: &str = "__MACOSX";

/// What lies where.
pub(super) struct Layout {
    /// The folder that the feed lies in, with `/` at its end; empty where it lies at the top.
    folder: String,
    /// The index's place in the zip's directory.
    pub(super) index: Option<usize>,
    /// Files whose names could be a release's, by their place.
    files: BTreeMap<usize, Member>,
    known: BTreeMap<usize, Component>,
}

struct Member {
    path: String,
    name: FileName,
}

impl Member {
    fn of(entry: &ZipEntry) -> Option<Self> {
        let last = entry.name.rsplit('/').next()?;
        let is_shadow = entry.name.split('/').next() == Some(SHADOWS) || last.starts_with("._");
        (!entry.is_dir && !is_shadow)
            .then(|| FileName::from_locator(last).ok())
            .flatten()
            .map(|name| Self { path: entry.name.clone(), name })
    }

    /// The folder that it lies in, with `/` at its end.
    fn folder(&self) -> &str {
        self.path.rfind('/').map_or("", |at| &self.path[..=at])
    }

    /// Whether it lies at the top, or in a folder there.
    fn is_shallow(&self) -> bool {
        self.path.matches('/').count() <= 1
    }

    fn is_named(&self, name: &str) -> bool {
        self.name.as_str().eq_ignore_ascii_case(name)
    }
}

impl Layout {
    /// Finds out.
    ///
    /// # Errors
    /// There is no feed in the zip, or more than one; or it cannot be read.
    pub(super) fn of(
        zip: &mut ZipFile<&File>,
        base: &Url,
        patterns: &Patterns,
        limits: &Limits,
    ) -> Result<Self, SyncError> {
        let members = zip.entries().iter().enumerate();
        let files: BTreeMap<usize, Member> =
            members.filter_map(|(number, entry)| Some((number, Member::of(entry)?))).collect();
        let index = match by_name(&files)? {
            Some(index) => Some(index),
            None => by_content(zip, &files, base, patterns, limits)?,
        };
        let known = |member: &Member| component(&member.name, patterns, index.is_some());
        let folder = match index.and_then(|index| files.get(&index)) {
            Some(index) => index.folder().to_owned(),
            None => {
                let holding = files.values().filter(|member| member.is_shallow() && known(member).is_some());
                let folders: BTreeSet<&str> = holding.map(Member::folder).collect();
                match folders.first() {
                    None => return Err(SyncError::NoFeedInZip),
                    // At the top, whatever else lies in folders.
                    Some(&"") => String::new(),
                    Some(first) if folders.len() == 1 => (*first).to_owned(),
                    Some(_) => return Err(SyncError::TwiceInZip { name: "posture archives".to_owned() }),
                }
            }
        };
        let beside = files.iter().filter(|(number, member)| member.folder() == folder && index != Some(**number));
        let known = beside.filter_map(|(number, member)| Some((*number, known(member)?))).collect();
        Ok(Self { folder, index, files, known })
    }

    /// A member's name as a release has it.
    pub(super) fn name_of(&self, number: usize) -> Result<FileName, SyncError> {
        self.files.get(&number).map(|member| member.name.clone()).ok_or(SyncError::NoFeedInZip)
    }

    /// What an index names, and what lies beside it under names that are known.
    pub(super) fn wanted(&self, index: &Index) -> Result<Vec<WantedMember>, SyncError> {
        let mut wanted = Vec::new();
        for entry in &index.entries {
            wanted.push(WantedMember {
                number: self.find(&entry.name)?,
                name: entry.name.clone(),
                size: entry.size,
                checksum: entry.checksum.clone(),
                component: entry.component.clone(),
                version: entry.version.clone(),
            });
        }
        let named: BTreeSet<usize> = wanted.iter().map(|member| member.number).collect();
        let taken = |member: &WantedMember| {
            index.entries.iter().any(|entry| entry.name.as_str().eq_ignore_ascii_case(member.name.as_str()))
        };
        wanted.extend(self.unnamed().into_iter().filter(|member| !named.contains(&member.number) && !taken(member)));
        Ok(wanted)
    }

    /// Archives of known names in the feed's folder, in their order.
    pub(super) fn unnamed(&self) -> Vec<WantedMember> {
        let known = self.known.iter().filter_map(|(number, component)| {
            let (name, component) = (self.files.get(number)?.name.clone(), component.clone());
            Some(WantedMember { number: *number, name, size: None, checksum: None, component, version: None })
        });
        known.collect()
    }

    /// Where a file lies that the index names: beside it, else wherever there is one of its name.
    fn find(&self, name: &FileName) -> Result<usize, SyncError> {
        let named = || self.files.iter().filter(|(_, member)| member.is_named(name.as_str()));
        if let Some((number, _)) = named().find(|(_, member)| member.folder() == self.folder) {
            return Ok(*number);
        }
        let mut elsewhere = named();
        match (elsewhere.next(), elsewhere.next()) {
            (Some((number, _)), None) => Ok(*number),
            (Some(_), Some(_)) => Err(SyncError::TwiceInZip { name: name.to_string() }),
            (None, _) => Err(SyncError::NotInZip { name: name.clone() }),
        }
    }

    /// Says what of the zip is in no component.
    pub(super) fn tell_left(&self, zip: &ZipFile<&File>, taken: &BTreeMap<usize, Fetched>) {
        let members = zip.entries().iter().enumerate();
        let left: Vec<&ZipEntry> = members
            .filter(|(number, entry)| !entry.is_dir && !taken.contains_key(number) && self.index != Some(*number))
            .map(|(_, entry)| entry)
            .collect();
        for entry in left.iter().take(NAMED_LEFT) {
            tracing::info!(member = entry.name, bytes = entry.length, "carried in the vendor's zip alone");
        }
        if left.len() > NAMED_LEFT {
            tracing::info!(members = left.len() - NAMED_LEFT, "more are carried in the vendor's zip alone");
        }
    }
}

/// The component of a file that no index names; `None` where it is left in the zip. Beside an index, a pattern of ours
/// says that it is posture content, and not that it belongs with what the index names: it is carried as `other-<name>`.
fn component(name: &FileName, patterns: &Patterns, beside_index: bool) -> Option<Component> {
    let (component, decision) = patterns.decide(name, &Hints::default());
    let decision = decision?;
    let folded = name.as_str().to_ascii_lowercase();
    match (decision.is_own, POSTURE_PACKING.iter().any(|ending| folded.ends_with(ending)), beside_index) {
        (true, _, _) | (false, true, false) => Some(component),
        (false, true, true) => Some(Component::other(stem(name.as_str()))),
        (false, false, _) => None,
    }
}

/// The file of the index's own name; the one at the top goes first.
fn by_name(files: &BTreeMap<usize, Member>) -> Result<Option<usize>, SyncError> {
    let mut named = files.iter().filter(|(_, member)| member.is_shallow() && member.is_named(INDEX));
    let at_top = |(_, member): &(&usize, &Member)| member.folder().is_empty();
    if let Some((number, _)) = named.clone().find(at_top) {
        return Ok(Some(*number));
    }
    match (named.next(), named.next()) {
        (Some(_), Some(_)) => Err(SyncError::TwiceInZip { name: INDEX.to_owned() }),
        (Some((number, _)), None) => Ok(Some(*number)),
        (None, _) => Ok(None),
    }
}

/// The first file that reads as an index and names a file beside it.
fn by_content(
    zip: &mut ZipFile<&File>,
    files: &BTreeMap<usize, Member>,
    base_url: &Url,
    patterns: &Patterns,
    limits: &Limits,
) -> Result<Option<usize>, SyncError> {
    let is_small = |number: &usize| zip.entries().get(*number).is_some_and(|entry| entry.length <= limits.index_bytes);
    let is_xml = |member: &Member| member.name.as_str().to_ascii_lowercase().ends_with(".xml");
    let candidates: Vec<usize> = files
        .iter()
        .filter(|(number, member)| member.is_shallow() && is_xml(member) && is_small(number))
        .map(|(number, _)| *number)
        .take(MAX_CANDIDATES)
        .collect();
    for number in candidates {
        let Some(member) = files.get(&number) else { continue };
        let bytes = whole_member(zip, number, limits)?;
        let Ok(index) = Index::read(&bytes, &base(base_url, &member.name), patterns, limits) else { continue };
        let is_beside = |name: &FileName| {
            files.values().any(|other| other.folder() == member.folder() && other.is_named(name.as_str()))
        };
        if index.entries.iter().any(|entry| is_beside(&entry.name)) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// What an index of that name is relative to.
pub(super) fn base(configured: &Url, name: &FileName) -> Url {
    configured.join(name.as_str()).unwrap_or_else(|_| configured.clone())
}

/// As much of a member as an index may have, and one byte more where there is more: the reader says so.
pub(super) fn whole_member(zip: &mut ZipFile<&File>, number: usize, limits: &Limits) -> Result<Vec<u8>, SyncError> {
    let mut bytes = Vec::new();
    let content = zip.read(number).map_err(SyncError::Zip)?;
    content.take(limits.index_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(SyncError::member)?;
    Ok(bytes)
}
