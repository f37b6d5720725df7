//! The release manifest: what a release is made of (design, section 6).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::BadName;
use crate::{Component, Digest, FileName, Reason, Reasoned, Serial, TargetName, Version};

/// The manifest format that this code writes and reads.
pub const FORMAT: u32 = 1;

/// A manifest is read whole before anything else is known; the largest sensible one is some tens of kilobytes.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// An immutable set of component versions. Unknown fields are ignored, an unknown `format` is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT`]; checked by [`Manifest::from_json`].
    pub format: u32,
    /// The release's number.
    pub serial: Serial,
    /// When the release was made, whole seconds.
    pub created: Timestamp,
    /// Where the content came from.
    pub source: Source,
    /// One for each component, in the order of [`Component`].
    pub components: Vec<ReleasedComponent>,
    /// The vendor's index, byte for byte; absent where upstream gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<FileRef>,
    /// The vendor's own offline zip, byte for byte; absent where upstream gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_zip: Option<FileRef>,
}

/// Where a release's content came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Online feed or the vendor's zip.
    pub kind: SourceKind,
    /// The index's URL, or the zip's where it was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The digest of the index, or of the zip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Who says that this is the vendor's, for people and auditors: `TLS to <host>, root <subject>, SHA-256 <fingerprint>`,
    /// or who imported a zip. It proves nothing by itself, and is no part of the content: see
    /// [`Manifest::same_content`]. Absent in releases of before this was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched_by: Option<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            SourceKind::VendorFeed => "the vendor's feed",
            SourceKind::VendorZip => "the vendor's zip",
        };
        match &self.url {
            // It may not be signed yet, and must not write lines of its own, nor give orders to a terminal.
            Some(url) => write!(f, "{kind}, {}", url.escape_debug()),
            None => f.write_str(kind),
        }
    }
}

/// The two ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The vendor's index and archives over HTTPS.
    VendorFeed,
    /// The vendor's `posture-offline.zip`.
    VendorZip,
}

/// One component in a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedComponent {
    /// Which one.
    pub component: Component,
    /// The version that upstream gave, or a digest.
    pub version: Version,
    /// Its files, at least one.
    pub files: Vec<ReleasedFile>,
}

/// An archive and what it opens to. Where the archive is not compressed, both are the same file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedFile {
    /// Upstream's exact bytes.
    pub archive: FileRef,
    /// The archive opened.
    pub payload: FileRef,
}

/// A file by name, digest and length in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileRef {
    /// Upstream's name, or the payload's.
    pub name: FileName,
    /// Of the content.
    pub sha256: Digest,
    /// In bytes.
    pub length: u64,
}

impl FileRef {
    /// The path under which this file stands in signed metadata.
    ///
    /// # Errors
    /// The name is too long to be prefixed.
    pub fn target_name(&self) -> Result<TargetName, BadName> {
        TargetName::of_content(&self.sha256, &self.name)
    }
}

impl Manifest {
    /// Reads a manifest and holds it to its rules: known format, each component once and with at least one file, and no
    /// two different files under one archive name, since they share a folder on headends and in the zip.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { length: bytes.len() });
        }
        // The format first: a future one may have other fields, and its number is the clearer message.
        let Format { format } = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if format != FORMAT {
            return Err(ManifestError::Format { found: format });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The bytes that are signed and served: the same manifest gives the same bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Maps with string keys, numbers and strings only: serde_json has nothing to refuse here.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), ManifestError> {
        let mut components = std::collections::BTreeSet::new();
        let mut names = std::collections::BTreeMap::new();
        for released in &self.components {
            if released.files.is_empty() || !components.insert(&released.component) {
                return Err(ManifestError::Component { component: released.component.clone() });
            }
            for file in &released.files {
                let folded = file.archive.name.as_str().to_ascii_lowercase();
                if names.insert(folded, &file.archive).is_some_and(|other| other != &file.archive) {
                    return Err(ManifestError::Name { name: file.archive.name.clone() });
                }
            }
        }
        Ok(())
    }

    /// The version of a component, where the release has it.
    #[must_use]
    pub fn version_of(&self, component: &Component) -> Option<&Version> {
        self.components.iter().find(|released| &released.component == component).map(|released| &released.version)
    }

    /// Every file of the release, each digest and name once: archives, payloads, index, offline zip.
    #[must_use]
    pub fn files(&self) -> Vec<&FileRef> {
        let mut seen = std::collections::HashSet::new();
        self.components
            .iter()
            .flat_map(|released| &released.files)
            .flat_map(|file| [&file.archive, &file.payload])
            .chain(&self.index)
            .chain(&self.offline_zip)
            .filter(|file| seen.insert((&file.sha256, &file.name)))
            .collect()
    }

    /// Whether both hold the same content: then no new release is made.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let content = |manifest: &Self| -> std::collections::BTreeSet<(String, FileName, Digest)> {
            let of_component = |released: &ReleasedComponent| {
                let component = released.component.to_string();
                released
                    .files
                    .iter()
                    .map(move |f| (component.clone(), f.archive.name.clone(), f.archive.sha256))
                    .collect::<Vec<_>>()
            };
            manifest
                .components
                .iter()
                .flat_map(of_component)
                .chain(manifest.index.iter().map(|f| ("index".to_owned(), f.name.clone(), f.sha256)))
                .chain(manifest.offline_zip.iter().map(|f| ("offline_zip".to_owned(), f.name.clone(), f.sha256)))
                .collect()
        };
        content(self) == content(other)
    }
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than [`MAX_MANIFEST_BYTES`].
    #[error("a release manifest of {length} bytes exceeds the limit of {MAX_MANIFEST_BYTES}")]
    TooLarge {
        /// Bytes found.
        length: usize,
    },
    /// Not JSON, or not of this shape.
    #[error("the release manifest cannot be read")]
    Json(#[source] serde_json::Error),
    /// Made by a newer program.
    #[error(
        "the release manifest has format {found}, and this program reads format {FORMAT}: a newer version of it is needed"
    )]
    Format {
        /// The number found.
        found: u32,
    },
    /// A component without files or listed twice.
    #[error("the release manifest lists {component} twice or without files")]
    Component {
        /// Which one.
        component: Component,
    },
    /// Two different files of one name.
    #[error("the release manifest has two different files named {name}")]
    Name {
        /// The name.
        name: FileName,
    },
}

impl Reasoned for ManifestError {
    fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Json(_) | Self::Format { .. } | Self::Component { .. } | Self::Name { .. } => Reason::BadArchive,
        }
    }
}
