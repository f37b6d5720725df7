//! What has to be brought here. Pure: from a manifest and what is here already.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use bundles::increment::base_of;
use bundles::release::{FileRef, ReleasedFile};
use bundles::{Digest, Limits, Manifest, Reason, Reasoned};

/// Payloads that earlier releases left here, by digest.
pub type Kept = HashMap<Digest, PathBuf>;

/// How a release's payloads come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Every payload of the release once, in the manifest's order.
    pub payloads: Vec<Payload>,
}

/// One payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Name, digest and length, and the archive that opens to it.
    pub file: ReleasedFile,
    /// Where it comes from.
    pub from: From,
}

/// Where a payload comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// A release that is here holds the same bytes (to be verified: disks rot).
    Kept(PathBuf),
    /// Wherever the release comes from: the server, or a bundle.
    Source,
}

impl Plan {
    /// What has to be brought here.
    pub fn lacking(&self) -> impl Iterator<Item = &ReleasedFile> {
        self.payloads.iter().filter(|payload| payload.from == From::Source).map(|payload| &payload.file)
    }
}

/// Plans the release: payloads that are kept here are not fetched again.
///
/// # Errors
/// The release is larger than the limits allow: nothing is fetched then.
pub fn plan(manifest: &Manifest, kept: &Kept, limits: &Limits) -> Result<Plan, PlanError> {
    let mut seen = BTreeSet::new();
    let files = manifest.components.iter().flat_map(|released| &released.files);
    let mut payloads = Vec::new();
    let mut sum = 0_u64;
    for file in files.filter(|file| seen.insert((file.payload.sha256, file.payload.name.clone()))) {
        let payload = &file.payload;
        if payload.length > limits.payload_bytes {
            let (name, length) = (payload.name.to_string(), payload.length);
            return Err(PlanError::Payload { name, length, limit: limits.payload_bytes });
        }
        sum = sum.saturating_add(payload.length);
        let from = kept.get(&payload.sha256).map_or(From::Source, |path| From::Kept(path.clone()));
        payloads.push(Payload { file: file.clone(), from });
    }
    // Kept ones count too: the bound is on what a release may take of this disk.
    if sum > limits.run_bytes {
        return Err(PlanError::Release { length: sum, limit: limits.run_bytes });
    }
    Ok(Plan { payloads })
}

/// The payload of the release that runs that a new one of `manifest` can be told by, and where it is kept below that
/// release's folder.
#[must_use]
pub fn base(file: &ReleasedFile, manifest: &Manifest, running: &Manifest) -> Option<(FileRef, PathBuf)> {
    let now = manifest.components.iter().find(|released| released.files.contains(file))?;
    let then = running.components.iter().find(|released| released.component == now.component)?;
    let base = base_of(&file.payload, &now.files, &then.files)?;
    // What is asked for although it is here is damaged here.
    if base.sha256 == file.payload.sha256 {
        return None;
    }
    Some((base.clone(), Layout::of(running).ok()?.payload(base)?.clone()))
}

/// Where everything of a release lies below its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The kept payload of each file: `payloads/<name>`.
    payloads: BTreeMap<(Digest, bundles::FileName), PathBuf>,
    /// What is opened to where: payload and folder, `<component>/<payload's stem>`.
    pub opened: Vec<(FileRef, PathBuf)>,
}

impl Layout {
    /// The layout of a release: the same manifest gives the same one. Two payloads of one name (`a.tgz` and `a.tar.gz`
    /// both hold `a.tar`), or of one stem in one component, are kept apart: the later takes its name with the digest.
    ///
    /// # Errors
    /// A name is too long for that.
    pub fn of(manifest: &Manifest) -> Result<Self, PlanError> {
        let mut names = BTreeSet::new();
        let mut folders = BTreeSet::new();
        let mut layout = Self { payloads: BTreeMap::new(), opened: Vec::new() };
        for released in &manifest.components {
            let component = released.component.to_string();
            for file in &released.files {
                let payload = &file.payload;
                let long = payload.target_name().map_err(|_| PlanError::Name { name: payload.name.to_string() })?;
                let key = (payload.sha256, payload.name.clone());
                layout
                    .payloads
                    .entry(key)
                    .or_insert_with(|| first_free(&mut names, "payloads", [payload.name.as_str(), long.as_str()]));
                if layout.opened.iter().any(|(other, folder)| other == payload && folder.starts_with(&component)) {
                    continue;
                }
                let name = payload.name.as_str();
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                let folder = first_free(&mut folders, &component, [stem, name, long.as_str()]);
                layout.opened.push((payload.clone(), folder));
            }
        }
        Ok(layout)
    }

    /// Where a payload is kept.
    #[must_use]
    pub fn payload(&self, file: &FileRef) -> Option<&PathBuf> {
        self.payloads.get(&(file.sha256, file.name.clone()))
    }

    /// Every kept payload with its place.
    pub fn payloads(&self) -> impl Iterator<Item = (Digest, &PathBuf)> {
        self.payloads.iter().map(|((digest, _), path)| (*digest, path))
    }
}

/// Letter case is ignored: a headend's data may be carried to a file system that ignores it. The last candidate holds
/// the digest and is taken in any case; only the very same bytes could have taken it before.
fn first_free<const N: usize>(taken: &mut BTreeSet<String>, folder: &str, candidates: [&str; N]) -> PathBuf {
    let mut chosen = PathBuf::new();
    for candidate in candidates {
        chosen = PathBuf::from(folder).join(candidate);
        if taken.insert(format!("{folder}/{}", candidate.to_ascii_lowercase())) {
            break;
        }
    }
    chosen
}

/// Why a release is not fetched.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// One payload is too large.
    #[error("the payload {name} has {length} bytes, more than the limit of {limit}; ask the origin what it published")]
    Payload {
        /// Which one.
        name: String,
        /// Its length.
        length: u64,
        /// The bound.
        limit: u64,
    },
    /// All together are too large.
    #[error("the release has {length} bytes, more than the limit of {limit}; ask the origin what it published")]
    Release {
        /// The sum.
        length: u64,
        /// The bound.
        limit: u64,
    },
    /// A name that makes no target.
    #[error("the payload name {name} is too long")]
    Name {
        /// Which one.
        name: String,
    },
}

impl Reasoned for PlanError {
    fn reason(&self) -> Reason {
        match self {
            Self::Payload { .. } | Self::Release { .. } => Reason::TooLarge,
            Self::Name { .. } => Reason::BadArchive,
        }
    }
}

#[cfg(test)]
mod tests;
