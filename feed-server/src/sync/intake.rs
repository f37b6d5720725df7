//! A zip that somebody brings, on its way into staging: hashed while it comes, held to a limit, never whole in memory.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

use bundles::{Digest, DigestWriter, Reason, Reasoned};
use tempfile::NamedTempFile;

use super::checked::Staging;

/// How much of a file says what it is: a tar says so in its first block, at byte 257.
const START: usize = 512;

/// A file that came whole. Nothing in it is checked but that it begins as a zip does. Deleted when dropped.
#[derive(Debug)]
pub struct ReceivedZip {
    file: NamedTempFile,
    sha256: Digest,
    length: u64,
}

impl ReceivedZip {
    /// Of the whole file.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// In bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file, open for reading, at wherever it was left.
    #[must_use]
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// The file itself, for a store that keeps it as it is.
    #[must_use]
    pub fn into_file(self) -> NamedTempFile {
        self.file
    }
}

/// A file that is coming.
#[derive(Debug)]
pub struct Intake {
    file: DigestWriter<NamedTempFile>,
    length: u64,
    limit: u64,
}

impl Intake {
    /// Begins a file of at most `limit` bytes.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn begin(staging: &Staging, limit: u64) -> Result<Self, IntakeError> {
        let file = staging.file().map_err(IntakeError::Staging)?;
        Ok(Self { file: DigestWriter::new(file), length: 0, limit })
    }

    /// Takes more of it.
    ///
    /// # Errors
    /// That is more than the limit, or cannot be written.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), IntakeError> {
        self.length = self.length.saturating_add(bytes.len() as u64);
        within(self.length, self.limit)?;
        self.file.write_all(bytes).map_err(IntakeError::Staging)
    }

    /// What is to be said where no more of it comes.
    #[must_use]
    pub fn cut_short(&self, announced: Option<u64>) -> IntakeError {
        IntakeError::CutShort { received: self.length, announced }
    }

    /// That was all of it.
    ///
    /// # Errors
    /// Other than `announced` bytes came, it is no zip, or it cannot be written.
    pub fn end(mut self, announced: Option<u64>) -> Result<ReceivedZip, IntakeError> {
        if let Some(announced) = announced.filter(|announced| *announced != self.length) {
            return Err(self.cut_short(Some(announced)));
        }
        self.file.flush().map_err(IntakeError::Staging)?;
        let (sha256, length, mut file) = self.file.finish();
        begins_as_zip(file.as_file_mut())?;
        Ok(ReceivedZip { file, sha256, length })
    }
}

/// Whether a file of that many bytes is taken.
///
/// # Errors
/// It is not.
pub fn within(length: u64, limit: u64) -> Result<(), IntakeError> {
    if length > limit { Err(IntakeError::TooLarge { limit }) } else { Ok(()) }
}

fn begins_as_zip(file: &mut File) -> Result<(), IntakeError> {
    let mut start = Vec::new();
    file.rewind().map_err(IntakeError::Staging)?;
    (&mut *file).take(START as u64).read_to_end(&mut start).map_err(IntakeError::Staging)?;
    file.rewind().map_err(IntakeError::Staging)?;
    // A zip's first local header, or the end of one that is empty.
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return Ok(());
    }
    Err(IntakeError::NotAZip { found: what_begins_with(&start) })
}

/// What people take for a zip, or get in its place.
fn what_begins_with(start: &[u8]) -> &'static str {
    let text = start.trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if start.is_empty() {
        "it is empty"
    } else if start.starts_with(&[0x1f, 0x8b]) {
        "it is gzip, such as a .tar.gz"
    } else if start.get(257..262).is_some_and(|magic| magic == b"ustar") {
        "it is a tar"
    } else if start.starts_with(b"7z\xbc\xaf\x27\x1c") {
        "it is a 7z archive"
    } else if start.starts_with(b"PK\x07\x08") {
        "it is one part of a split zip"
    } else if begins(b"<!doctype html") || begins(b"<html") {
        "it is a web page, perhaps of a login"
    } else if begins(b"<?xml") {
        "it is XML, such as an index"
    } else if start.iter().all(|byte| *byte == 0) {
        "it begins with nothing but zeros, as a copy that was cut off does"
    } else {
        "it begins like none"
    }
}

/// Why a zip did not come in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// More than is taken.
    #[error("the zip is larger than the {limit} bytes that are taken; if it is genuine, raise [bundles] max_upload")]
    TooLarge {
        /// How much is.
        limit: u64,
    },
    /// Not all of it came.
    #[error(
        "only {received} bytes of {} came; copy it again, and compare its SHA-256 with the one on its sheet",
        announced.map_or_else(|| "the zip".to_owned(), |announced| announced.to_string())
    )]
    CutShort {
        /// What came.
        received: u64,
        /// What was to come, where that was said.
        announced: Option<u64>,
    },
    /// It stopped coming.
    #[error("no more of the zip came for {seconds} s, after {received} bytes; send it again over a way that holds")]
    Stalled {
        /// What came.
        received: u64,
        /// How long nothing did.
        seconds: u64,
    },
    /// It came, and too slowly to be waited for.
    #[error(
        "the zip came too slowly, and was given up after {received} bytes; send it again over a way that holds, or carry it"
    )]
    TooSlow {
        /// What came.
        received: u64,
    },
    /// Something else.
    #[error(
        "the file is no zip: {found}; a posture-bundle-<number>.zip is imported as it is, not opened and not repacked"
    )]
    NotAZip {
        /// What it is, as a sentence.
        found: &'static str,
    },
    /// There is no room for it.
    #[error("{needed} bytes are needed on the data directory's disk, and {free} are free; make room and import again")]
    NoRoom {
        /// How much is needed.
        needed: u64,
        /// How much there is.
        free: u64,
    },
    /// It cannot be staged.
    #[error("the zip cannot be written to the data directory; check its free space and permissions")]
    Staging(#[source] io::Error),
}

impl Reasoned for IntakeError {
    fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::CutShort { .. } => Reason::Truncated,
            Self::Stalled { .. } | Self::TooSlow { .. } => Reason::Timeout,
            Self::NotAZip { .. } => Reason::BadArchive,
            Self::NoRoom { .. } | Self::Staging(_) => Reason::Storage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging() -> (tempfile::TempDir, Staging) {
        let directory = tempfile::tempdir().unwrap();
        let staging = Staging::new(directory.path().to_owned());
        (directory, staging)
    }

    fn received(bytes: &[u8], limit: u64, announced: Option<u64>) -> Result<ReceivedZip, IntakeError> {
        let (directory, staging) = staging();
        let mut intake = Intake::begin(&staging, limit)?;
        let taken = bytes.chunks(3).try_for_each(|chunk| intake.take(chunk));
        let zip = taken.and_then(|()| intake.end(announced));
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, usize::from(zip.is_ok()), "nothing is left of what is refused");
        zip
    }

    #[test]
    fn a_zip_is_hashed_as_it_comes() {
        let bytes = b"PK\x03\x04 and so on";
        let zip = received(bytes, bytes.len() as u64, Some(bytes.len() as u64)).unwrap();
        assert_eq!((zip.sha256(), zip.length()), (Digest::of(bytes), bytes.len() as u64));
        let mut read = Vec::new();
        zip.file().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
    }

    #[test]
    fn what_is_too_large_or_cut_short_is_refused() {
        assert!(matches!(received(b"PK\x03\x04....", 7, None), Err(IntakeError::TooLarge { limit: 7 })));
        let cut = received(b"PK\x03\x04", 9, Some(8)).unwrap_err();
        assert!(matches!(cut, IntakeError::CutShort { received: 4, announced: Some(8) }));
        assert_eq!(cut.reason(), Reason::Truncated);
    }

    #[test]
    fn what_is_no_zip_is_named() {
        let mut tar = vec![b'x'; 600];
        tar[257..262].copy_from_slice(b"ustar");
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (&tar, "a tar"),
            (b"7z\xbc\xaf\x27\x1c", "7z"),
            (b"PK\x07\x08PK\x03\x04", "split"),
            (b"\n<!DOCTYPE html>", "web page"),
            (b"<?xml version='1.0'?>", "XML"),
            (&[0; 9], "zeros"),
            (b"hello", "like none"),
        ] {
            let error = received(bytes, 1_000, None).unwrap_err();
            assert_eq!(error.reason(), Reason::BadArchive);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
