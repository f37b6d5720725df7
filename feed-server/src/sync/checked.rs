//! What passed every check. Only this module's siblings can make these, so the store cannot take unverified bytes.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bundles::index::Reading;
use bundles::release::{FileRef, ReleasedComponent, Source};

/// A file in staging whose bytes were hashed and checked. Deleted when dropped, unless a store took it.
#[derive(Debug)]
pub struct CheckedFile {
    file: FileRef,
    staged: tempfile::TempPath,
}

impl CheckedFile {
    /// The caller vouches that the staged file's content is what `file` says.
    pub(in crate::sync) fn new(file: FileRef, staged: tempfile::TempPath) -> Self {
        Self { file, staged }
    }

    /// Takes bytes to be what a trusted `file` says, and checks that they are.
    ///
    /// # Errors
    /// They are not (`InvalidData`), or cannot be read or staged.
    pub fn check(staging: &Staging, file: FileRef, bytes: &mut impl Read) -> io::Result<Self> {
        let mut staged = bundles::DigestWriter::new(staging.file()?);
        // One byte more than promised is enough to know.
        io::copy(&mut bytes.take(file.length.saturating_add(1)), &mut staged)?;
        let (sha256, length, staged) = staged.finish();
        if (sha256, length) != (file.sha256, file.length) {
            let message = format!("{} has {length} bytes of SHA-256 {sha256}, and not what is expected", file.name);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Self::new(file, staged.into_temp_path()))
    }

    /// Name, digest and length.
    #[must_use]
    pub fn file(&self) -> &FileRef {
        &self.file
    }

    /// Where the bytes are, on the data directory's file system.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.staged
    }

    /// Hands the file over to a store, which moves it.
    #[must_use]
    pub fn into_path(self) -> tempfile::TempPath {
        self.staged
    }
}

/// Everything that the index names, or that the vendor's zip holds, arrived whole and checked.
#[derive(Debug)]
pub struct CheckedFeed {
    /// Where it came from.
    pub source: Source,
    /// Every component of the feed, whether its files were fetched in this run or known to be unchanged.
    pub components: Vec<ReleasedComponent>,
    /// The index as upstream sent it.
    pub index: Option<FileRef>,
    /// The vendor's own zip, where it was fetched or imported.
    pub offline_zip: Option<FileRef>,
    /// How far the index was understood; `None` where there is none.
    pub reading: Option<Reading>,
    /// Files that are not in the store yet.
    pub new_files: Vec<CheckedFile>,
    /// What to send as conditions next time.
    pub validators: Vec<Validator>,
    /// Bytes received in this run.
    pub received_bytes: u64,
    /// Upstream's `Date` less the local clock, seconds.
    pub clock_offset: Option<i64>,
}

/// What upstream said of a URL's content, to ask "only if changed" next time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Validator {
    /// The URL.
    pub url: String,
    /// `ETag`, verbatim.
    pub etag: Option<String>,
    /// `Last-Modified`, verbatim.
    pub last_modified: Option<String>,
    /// The content that they stand for.
    pub archive: FileRef,
    /// Its payload; the same as `archive` for an index or an archive that is not compressed.
    pub payload: FileRef,
    /// The version found inside, where there is one.
    pub inner_version: Option<bundles::Version>,
}

/// Where unverified bytes are written to: `<data>/staging`.
#[derive(Debug, Clone)]
pub struct Staging(PathBuf);

impl Staging {
    /// The directory must exist and be on the file system of the store's blobs.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Where.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// A new empty file, deleted when dropped.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn file(&self) -> io::Result<tempfile::NamedTempFile> {
        tempfile::Builder::new().prefix("staged-").tempfile_in(&self.0)
    }
}
