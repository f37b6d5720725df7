//! Whether a feed makes a release, and which.

use bundles::name::BadName;
use bundles::release::{FORMAT, ManifestError, SourceKind};
use bundles::{Component, FileName, Manifest, Reason, Reasoned, Serial, Version};
use jiff::Timestamp;

use crate::sync::CheckedFeed;

/// The manifest of the release that this feed makes; `None` where it has the content of the newest release.
///
/// `highest` is the highest number that was ever used: numbers of releases that are no longer here stay used. Nothing is
/// written.
///
/// # Errors
/// A component's dotted version goes backwards from `newest` and that is not accepted; or the feed cannot be carried.
pub fn plan(
    feed: &CheckedFeed,
    newest: Option<&Manifest>,
    highest: Option<Serial>,
    now: Timestamp,
    accept_version_rollback: bool,
) -> Result<Option<Manifest>, ReleaseError> {
    let last = highest.max(newest.map(|newest| newest.serial));
    let serial = last.map_or(Some(Serial::FIRST), Serial::next).ok_or(ReleaseError::NumbersUsedUp)?;
    let mut components = feed.components.clone();
    components.sort_by(|a, b| a.component.cmp(&b.component));
    let manifest = Manifest {
        format: FORMAT,
        serial,
        // Manifests hold whole seconds.
        created: Timestamp::from_second(now.as_second()).unwrap_or(now),
        source: feed.source.clone(),
        components,
        index: feed.index.clone(),
        offline_zip: feed.offline_zip.clone(),
    };
    if newest.is_some_and(|newest| is_content_of(newest, &manifest)) {
        return Ok(None);
    }
    if let Some(newest) = newest.filter(|_| !accept_version_rollback) {
        refuse_rollback(newest, &manifest)?;
    }
    carriable(&manifest)?;
    Ok(Some(manifest))
}

/// Whether the newest release has it all. A feed that came without the vendor's zip says nothing about it: one that is
/// carried beside the very same content stays.
fn is_content_of(newest: &Manifest, manifest: &Manifest) -> bool {
    let offline_zip = manifest.offline_zip.as_ref().or(newest.offline_zip.as_ref()).cloned();
    newest.same_content(&Manifest { offline_zip, ..manifest.clone() })
}

fn refuse_rollback(newest: &Manifest, manifest: &Manifest) -> Result<(), ReleaseError> {
    for released in &manifest.components {
        let before = newest.version_of(&released.component);
        if let Some(before) = before.filter(|before| released.version.is_rollback_from(before)) {
            return Err(ReleaseError::VersionRollback {
                component: released.component.clone(),
                before: Box::new(before.clone()),
                found: Box::new(released.version.clone()),
                from: manifest.source.kind,
                counted_otherwise: newest.index.is_some() != manifest.index.is_some(),
            });
        }
    }
    Ok(())
}

/// What every reader will hold the manifest to is held to here, before anything is stored.
fn carriable(manifest: &Manifest) -> Result<(), ReleaseError> {
    Manifest::from_json(&manifest.to_json()).map_err(ReleaseError::Manifest)?;
    for file in manifest.files() {
        file.target_name().map_err(|source| ReleaseError::Name { name: file.name.clone(), source })?;
    }
    // Index and archives share a folder in the offline zip, on file systems that may not tell letter case apart.
    if let Some(index) = &manifest.index {
        let clash = manifest
            .components
            .iter()
            .flat_map(|released| &released.files)
            .find(|file| file.archive.name.as_str().eq_ignore_ascii_case(index.name.as_str()));
        if clash.is_some() {
            return Err(ReleaseError::ArchiveNamedAsIndex { name: index.name.clone() });
        }
    }
    Ok(())
}

/// Why no release was made.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Upstream offers an older version than the newest release has.
    #[error(
        "{component} would go back from version {before} to {found}{}; {}",
        counts(*.counted_otherwise), accepting(*.from)
    )]
    VersionRollback {
        /// Of which component.
        component: Component,
        /// The version in the newest release.
        before: Box<Version>,
        /// The version that upstream offers.
        found: Box<Version>,
        /// Where it was found, and so how it is accepted.
        from: SourceKind,
        /// Whether only one of the two came with an index: then one is the index's word and the other stands inside of an
        /// archive, and those may count otherwise. Refused all the same, since nothing else tells an old zip.
        counted_otherwise: bool,
    },
    /// The manifest breaks a rule that its readers hold it to.
    #[error("the feed cannot be made a release; look at it with `feed-server inspect`")]
    Manifest(#[source] ManifestError),
    /// A file's name does not fit into signed metadata.
    #[error("the file {name} cannot be published under that name; look at the feed with `feed-server inspect`")]
    Name {
        /// The name.
        name: FileName,
        /// What is wrong with it.
        #[source]
        source: BadName,
    },
    /// An archive has the index's own name.
    #[error("the feed has an archive of the index's own name, {name}; look at it with `feed-server inspect`")]
    ArchiveNamedAsIndex {
        /// The name.
        name: FileName,
    },
    /// The last number was used.
    #[error("all release numbers are used; this data directory cannot make another release")]
    NumbersUsedUp,
}

fn accepting(from: SourceKind) -> &'static str {
    match from {
        SourceKind::VendorFeed => {
            "if upstream means it, run `feed-server sync --accept-version-rollback`, else ask who serves an old feed"
        }
        SourceKind::VendorZip => {
            "it is an older zip: get the vendor's newest; if this one is meant, run `feed-server bundle import --vendor \
             --accept-version-rollback ZIP`"
        }
    }
}

fn counts(otherwise: bool) -> &'static str {
    if otherwise {
        " (only one of the two came with an index, and versions inside of archives may count otherwise than an index does)"
    } else {
        ""
    }
}

impl Reasoned for ReleaseError {
    fn reason(&self) -> Reason {
        match self {
            Self::VersionRollback { .. } => Reason::VersionRollback,
            Self::Manifest(source) => source.reason(),
            Self::Name { .. } | Self::ArchiveNamedAsIndex { .. } => Reason::NotAFeed,
            Self::NumbersUsedUp => Reason::Internal,
        }
    }
}
