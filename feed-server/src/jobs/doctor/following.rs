//! What a relay follows, looked at as a run would, and thrown away.

use std::time::Instant;

use bundles::report::Failure;
use bundles::signed::Verified;
use bundles::{Component, Serial};
use jiff::Timestamp;
use serde::Serialize;

use super::Need;
use super::feed::{ArchivesFacts, Looked, Row, TemporaryError, temporary_directory};
use crate::config::Config;
use crate::jobs::follow::{Found, Offer, RelayError, Standing, look_at_metadata};
use crate::jobs::sources::Heeded as _;
use crate::store::Repository;
use crate::sync::checked::{CheckedFile, Staging};
use crate::sync::signed::SignedFileError;
use crate::sync::{self, FollowError, Known, Progress, SyncError};
use crate::upstream::doctor::{Check, Line, Mark, Network, Notes};
use crate::upstream::mirror::Mirror;
use crate::upstream::{Vendor, trusted_root};

/// What a repository's signed metadata says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetadataFacts {
    /// The repositories that name the release: the trusted root's, and the offline one where that vouches for it.
    pub repositories: Vec<Repository>,
    /// The version of the newest root.
    pub root_version: u64,
    /// SHA-256 of the newest root, to compare over the telephone.
    pub root_sha256: String,
    /// When the first of its parts ends.
    pub valid_until: Timestamp,
}

/// The release that the metadata calls stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseFacts {
    /// Its number.
    pub serial: Serial,
    /// When its origin made it.
    pub created: Timestamp,
    /// The rows of Update Information.
    pub versions: Vec<Row>,
}

/// Looks at the followed server's metadata and at the files of its release, and notes a line for each step.
pub(super) async fn look(
    vendor: &Vendor,
    network: &Network,
    notes: &Notes,
    config: &Config,
    progress: &dyn Progress,
    now: Timestamp,
) -> Looked {
    let mut looked = Looked::default();
    // That it can be read is known: the line about the settings says so.
    let Ok(Some(root)) = trusted_root(&config.upstream) else { return looked };
    let (mirror, began) = (Mirror::new(vendor), Instant::now());
    let offer = match look_at_metadata(&mirror, &Standing::nothing(root), now).await {
        Ok(Found::Offer(offer)) => offer,
        // Nothing was held that could be unchanged.
        Ok(Found::Unchanged { .. }) => return looked,
        Err(error) => {
            refused(network, notes, &error);
            return looked;
        }
    };
    looked.clock_offset = offer.clock_offset;
    let metadata = MetadataFacts::of(&offer);
    notes.note(metadata.line().took(began.elapsed()));
    let release = ReleaseFacts::of(&offer);
    notes.note(release.line());
    (looked.metadata, looked.release) = (Some(metadata), Some(release));

    let directory = match temporary_directory() {
        Ok(directory) => directory,
        Err(failure) => {
            notes.note(Line::failed(Check::Archives, failure));
            return looked;
        }
    };
    let (staging, began) = (Staging::new(directory.path().to_owned()), Instant::now());
    let signed = sync::Signed {
        mirror: &mirror,
        folder: offer.repository.folder(),
        verified: &offer.verified,
        manifest: &offer.manifest,
    };
    match sync::follow(&signed, &Known::nothing(), &staging, &config.limits, progress).await {
        Ok(files) => {
            let archives = archives(&offer, &mirror);
            let (count, bytes) = (archives.count, indicatif::HumanBytes(archives.bytes));
            let seen = format!("{count} files, {bytes}, all of them what is signed, all archives opened");
            notes.note(Line::new(Check::Archives, Mark::Ok, seen).took(began.elapsed()));
            looked.need =
                Some(Need::of(files.iter().map(|file: &CheckedFile| file.file().length).sum(), files.len() as u64));
            looked.archives = Some(archives);
        }
        Err(FollowError::File(SignedFileError::Staging(error)) | FollowError::Fetch(SyncError::Staging(error))) => {
            notes.note(Line::failed(Check::Archives, TemporaryError::failure(error)));
        }
        Err(error) => match error.upstream() {
            Some(upstream) => network.failed(upstream, Failure::of(&error), Check::Archives),
            None => notes.note(Line::failed(Check::Archives, Failure::of(&error))),
        },
    }
    looked
}

/// Notes the step that failed, behind those that did not.
fn refused(network: &Network, notes: &Notes, error: &RelayError) {
    let failure = Failure::of(error);
    let came = if notes.has(Check::Http) { Check::Metadata } else { Check::Http };
    match (error.upstream(), error) {
        (Some(upstream), _) => network.failed(upstream, failure, came),
        (None, error) if error.is_about_the_release() => {
            notes.note(Line::new(Check::Metadata, Mark::Ok, "signed by whom [upstream] root says"));
            notes.note(Line::failed(Check::Release, failure));
        }
        (None, _) => notes.note(Line::failed(came, failure)),
    }
}

fn archives(offer: &Offer, mirror: &Mirror) -> ArchivesFacts {
    let manifest = offer.manifest.manifest();
    let archives = manifest.components.iter().flat_map(|released| &released.files).map(|file| &file.archive);
    let mut seen = std::collections::BTreeSet::new();
    let others = manifest.index.iter().chain(&manifest.offline_zip);
    let lengths: Vec<u64> =
        archives.chain(others).filter(|file| seen.insert(file.sha256)).map(|file| file.length).collect();
    let bytes = lengths.iter().sum();
    ArchivesFacts { count: lengths.len(), bytes, received_bytes: bytes + mirror.received() }
}

impl MetadataFacts {
    fn of(offer: &Offer) -> Self {
        let verified: &Verified = &offer.verified;
        Self {
            repositories: offer.metadata.iter().map(|(repository, _)| *repository).collect(),
            root_version: verified.root().version,
            root_sha256: verified.root().fingerprint.to_string(),
            valid_until: verified.valid_until(),
        }
    }

    fn line(&self) -> Line {
        let names: Vec<&str> = self.repositories.iter().map(|repository| repository.as_str()).collect();
        let seen = format!("{} repository, signed by whom [upstream] root says", names.join(" and "));
        let root = format!("root version {}, SHA-256 {}", self.root_version, self.root_sha256);
        Line::new(Check::Metadata, Mark::Ok, seen).with([root, format!("valid until {}", self.valid_until)])
    }
}

impl ReleaseFacts {
    fn of(offer: &Offer) -> Self {
        let manifest = offer.manifest.manifest();
        let row = |component: Component| Row { version: manifest.version_of(&component).cloned(), component };
        let versions = Component::KNOWN.into_iter().map(row).collect();
        Self { serial: manifest.serial, created: manifest.created, versions }
    }

    fn line(&self) -> Line {
        let seen = format!("release {}, made at {}", self.serial, self.created);
        Line::new(Check::Release, Mark::Ok, seen).with(self.versions.iter().map(|row| row.text("not in the release")))
    }
}
