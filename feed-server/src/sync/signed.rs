//! The files of a signed release, from wherever they come: out of a bundle or from another feed-server. Payloads do not
//! come at all. Each is its archive opened, and held to the digest that was signed for it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};

use bundles::archive::{self, ArchiveError};
use bundles::name::BadName;
use bundles::release::FileRef;
use bundles::{Digest, DigestWriter, FileName, Limits, Manifest, Reason, Reasoned};

use super::checked::{CheckedFile, Staging};
use super::stage::{Staged, Stop, Stoppable};

/// A file that has to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    file: FileRef,
    /// Whether the store lacks the file itself, and not only what it opens to.
    is_new: bool,
    /// What it opens to, where it is an archive.
    payloads: Vec<FileRef>,
    /// Whether it is one: those have limits of their own, and are looked into.
    is_archive: bool,
}

/// What of a release has to come: index, archives and offline zip that are not known, and archives that are known and
/// open to what is not; each once, in the manifest's order.
///
/// # Errors
/// One of them, or all together, are larger than is taken; or one has a name that cannot be published.
pub fn wanted(
    manifest: &Manifest,
    is_known: impl Fn(&Digest) -> bool,
    limits: &Limits,
) -> Result<Vec<Wanted>, SignedFileError> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    let archives = manifest.components.iter().flat_map(|released| &released.files);
    let archives = archives.map(|file| (&file.archive, Some(&file.payload)));
    let others = manifest.index.iter().chain(&manifest.offline_zip).map(|file| (file, None));
    for (file, payload) in archives.chain(others) {
        file.target_name().map_err(SignedFileError::Name)?;
        let is_new = !is_known(&file.sha256);
        let place = *places.entry(file.sha256).or_insert_with(|| {
            wanted.push(Wanted { file: file.clone(), is_new, payloads: Vec::new(), is_archive: false });
            wanted.len() - 1
        });
        if let Some(payload) = payload {
            payload.target_name().map_err(SignedFileError::Name)?;
            wanted[place].is_archive = true;
            if !wanted[place].payloads.contains(payload) {
                wanted[place].payloads.push(payload.clone());
            }
        }
    }
    wanted.retain(|one| one.is_new || one.payloads.iter().any(|payload| !is_known(&payload.sha256)));
    let too_long = |one: &&Wanted| one.is_archive && one.file.length > limits.archive_bytes;
    if let Some(Wanted { file, .. }) = wanted.iter().find(too_long) {
        let (name, length, limit) = (file.name.clone(), file.length, limits.archive_bytes);
        return Err(SignedFileError::TooLong { name, length, limit });
    }
    let total = wanted.iter().fold(0, |total: u64, one| total.saturating_add(one.file.length));
    if total > limits.run_bytes {
        return Err(SignedFileError::TooMuch { total, limit: limits.run_bytes });
    }
    Ok(wanted)
}

impl Wanted {
    /// Which file.
    #[must_use]
    pub fn file(&self) -> &FileRef {
        &self.file
    }

    /// Takes the file's bytes, and what they open to, if they are what was signed. Reads no byte more than one beyond the
    /// signed length.
    ///
    /// # Errors
    /// They are not, do not open, or cannot be read or staged. Then nothing stays in staging.
    pub fn take(
        &self,
        staging: &Staging,
        limits: &Limits,
        bytes: &mut impl Read,
    ) -> Result<Vec<CheckedFile>, SignedFileError> {
        let mut staged = DigestWriter::new(staging.file().map_err(SignedFileError::Staging)?);
        let mut bytes = bytes.take(self.file.length.saturating_add(1));
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = match bytes.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(SignedFileError::Read { name: self.file.name.clone(), source }),
            };
            staged.write_all(&buffer[..read]).map_err(SignedFileError::Staging)?;
        }
        let (sha256, length, staged) = staged.finish();
        self.take_staged(staging, limits, &Stop::default(), Staged { file: staged, sha256, length })
    }

    /// The same of bytes that are in staging.
    pub(super) fn take_staged(
        &self,
        staging: &Staging,
        limits: &Limits,
        stop: &Stop,
        staged: Staged,
    ) -> Result<Vec<CheckedFile>, SignedFileError> {
        let Staged { mut file, sha256, length } = staged;
        if (sha256, length) != (self.file.sha256, self.file.length) {
            let signed = Box::new(self.file.clone());
            return Err(SignedFileError::OtherBytes { signed, sha256, length });
        }
        let mut taken = Vec::new();
        if self.is_archive {
            let name = &self.file.name;
            let payload = staging.file().map_err(SignedFileError::Staging)?;
            let mut payload = Stoppable::new(payload, stop.clone());
            let opened = archive::open(file.as_file_mut(), name, limits, &mut payload);
            let payload = payload.finish().map_err(|_| SignedFileError::Stopped)?;
            let opened = opened.map_err(|source| SignedFileError::Archive { name: name.clone(), source })?;
            let found = (opened.payload.sha256, opened.payload.length);
            let is_signed = |payload: &&FileRef| (payload.sha256, payload.length) == found;
            if let Some(other) = self.payloads.iter().find(|payload| !is_signed(payload)) {
                return Err(SignedFileError::OtherPayload { archive: name.clone(), payload: other.name.clone() });
            }
            if let (Some(signed), true) = (self.payloads.first(), opened.compressed) {
                taken.push(CheckedFile::new(signed.clone(), payload.into_temp_path()));
            }
        }
        if self.is_new {
            taken.push(CheckedFile::new(self.file.clone(), file.into_temp_path()));
        }
        Ok(taken)
    }

    /// Why a file that is announced with so many bytes is not even fetched.
    pub(super) fn other_length(&self, length: u64) -> SignedFileError {
        SignedFileError::OtherLength { signed: Box::new(self.file.clone()), length }
    }
}

/// Between reading and writing: enough that neither waits for the other's overhead.
const BUFFER: usize = 64 << 10;

/// Why a file of a signed release was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SignedFileError {
    /// Other bytes than signed.
    #[error(
        "{} came with {length} bytes of SHA-256 {sha256}, and {} bytes of {} are signed; it is damaged, or was changed on \
         the way: get it again",
        .signed.name, .signed.length, .signed.sha256
    )]
    OtherBytes {
        /// What is signed.
        signed: Box<FileRef>,
        /// Of what came.
        sha256: Digest,
        /// Of what came: one byte more than signed stands for any number of them.
        length: u64,
    },
    /// Another number of bytes than signed.
    #[error(
        "{} is offered with {length} bytes or more, and {} are signed; it is damaged, or was changed on the way: get it \
         again",
        .signed.name, .signed.length
    )]
    OtherLength {
        /// What is signed.
        signed: Box<FileRef>,
        /// What is offered.
        length: u64,
    },
    /// An archive opens to something else than what is signed.
    #[error(
        "the archive {archive} is what was signed, and does not open to the signed {payload}; its origin made a mistake: \
         tell whoever runs it"
    )]
    OtherPayload {
        /// The archive.
        archive: FileName,
        /// What it should open to.
        payload: FileName,
    },
    /// The archive does not open.
    #[error("the archive {name} cannot be used")]
    Archive {
        /// The archive.
        name: FileName,
        /// Why not.
        #[source]
        source: ArchiveError,
    },
    /// One archive is too much.
    #[error(
        "the archive {name} is signed with {length} bytes, and the limit is {limit}; if it is genuine, raise archive_bytes \
         in [limits]"
    )]
    TooLong {
        /// The archive.
        name: FileName,
        /// As signed.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// All of them together are too much.
    #[error(
        "{total} bytes of this release are not here, and the limit is {limit}; if they are genuine, raise run_bytes in \
         [limits]"
    )]
    TooMuch {
        /// As signed.
        total: u64,
        /// The limit.
        limit: u64,
    },
    /// A name that does not fit into signed metadata.
    #[error("the signed release names a file whose name is too long to be published")]
    Name(#[source] BadName),
    /// It cannot be read where it is.
    #[error("{name} cannot be read to its end; check what it is read from")]
    Read {
        /// The file.
        name: FileName,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What comes cannot be kept.
    #[error("cannot write to the staging directory; check free space and permissions of the data directory")]
    Staging(#[source] io::Error),
    /// Nobody waits for it any more.
    #[error("the run was stopped")]
    Stopped,
}

impl Reasoned for SignedFileError {
    fn reason(&self) -> Reason {
        match self {
            Self::OtherBytes { .. } | Self::OtherLength { .. } | Self::OtherPayload { .. } => Reason::DigestMismatch,
            Self::Archive { source, .. } => source.reason(),
            Self::TooLong { .. } | Self::TooMuch { .. } => Reason::TooLarge,
            Self::Name(_) => Reason::NotAFeed,
            Self::Read { .. } | Self::Staging(_) => Reason::Storage,
            Self::Stopped => Reason::Internal,
        }
    }
}

#[cfg(test)]
mod tests;
