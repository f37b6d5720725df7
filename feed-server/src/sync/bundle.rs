//! The intake of a bundle: the files of its release come into staging, each held to what is signed. Nothing else of the zip
//! is written anywhere; what the store has already is read and held to it all the same.

use std::collections::HashSet;
use std::io::{self, Read, Seek};

use bundles::bundle::{Bundle, BundleError, carried};
use bundles::release::FileRef;
use bundles::zip_file::ZipFileError;
use bundles::{Digest, Limits, Manifest, Reason, Reasoned};

use super::checked::{CheckedFile, Staging};
use super::signed::{self, SignedFileError};

/// Room that taking a release needs, in bytes: its new files and what they open to, and where it is a new one the zips that
/// are built of it.
#[must_use]
pub fn room(manifest: &Manifest, is_new: bool, is_known: impl Fn(&Digest) -> bool) -> u64 {
    let sum = |files: Vec<&FileRef>| files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.length));
    let new = manifest.files().into_iter().filter(|file| !is_known(&file.sha256)).collect();
    // One for headends and relays, one for ISE.
    let zips = sum(carried(manifest)).saturating_mul(2);
    sum(new).saturating_add(if is_new { zips } else { 0 })
}

/// Bytes that [`intake`] will read.
#[must_use]
pub fn input_bytes(manifest: &Manifest) -> u64 {
    carried(manifest).iter().fold(0, |sum: u64, file| sum.saturating_add(file.length))
}

/// Takes the files of a verified release that are not known, and holds the others to what is signed as well: a bundle is
/// whole or not, whoever it is carried to next. `progress` is told of each piece, in bytes, and may stop it.
///
/// # Errors
/// One of them is not what is signed, does not open, or is past a limit; the zip cannot be read; or there is no room.
/// Then nothing stays in staging.
pub fn intake<F: Read + Seek>(
    bundle: &mut Bundle<F>,
    manifest: &Manifest,
    is_known: impl Fn(&Digest) -> bool,
    staging: &Staging,
    limits: &Limits,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> Result<Vec<CheckedFile>, BundleIntakeError> {
    let mut files = Vec::new();
    let wanted = signed::wanted(manifest, is_known, limits)?;
    for wanted in &wanted {
        let mut content = Told { content: bundle.open_file(wanted.file())?, progress: &mut *progress };
        files.extend(wanted.take(staging, limits, &mut content).map_err(of_reading)?);
    }
    let taken: HashSet<_> = wanted.iter().map(|wanted| (&wanted.file().name, wanted.file().sha256)).collect();
    for file in carried(manifest).into_iter().filter(|file| !taken.contains(&(&file.name, file.sha256))) {
        let mut content = Told { content: bundle.open_file(file)?, progress: &mut *progress };
        hold(file, &mut content).map_err(of_reading)?;
    }
    Ok(files)
}

/// Reads a file to its end, and keeps nothing of it.
fn hold(file: &FileRef, content: &mut impl Read) -> Result<(), SignedFileError> {
    let (sha256, length) =
        Digest::of_reader(content).map_err(|source| SignedFileError::Read { name: file.name.clone(), source })?;
    if (sha256, length) == (file.sha256, file.length) {
        return Ok(());
    }
    Err(SignedFileError::OtherBytes { signed: Box::new(file.clone()), sha256, length })
}

/// What the zip's reader found wrong comes through as an error of reading.
fn of_reading(error: SignedFileError) -> BundleIntakeError {
    match error {
        SignedFileError::Read { name, source } => match ZipFileError::within(source) {
            Ok(source) => BundleError::Zip(source).into(),
            Err(source) => SignedFileError::Read { name, source }.into(),
        },
        error => error.into(),
    }
}

struct Told<'a, R> {
    content: R,
    progress: &'a mut dyn FnMut(u64) -> io::Result<()>,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        (self.progress)(read as u64)?;
        Ok(read)
    }
}

/// Why the files of a bundle were not taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleIntakeError {
    /// The zip says no.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A file is not what is signed, or cannot be staged.
    #[error(transparent)]
    File(#[from] SignedFileError),
}

impl Reasoned for BundleIntakeError {
    fn reason(&self) -> Reason {
        match self {
            Self::Bundle(source) => source.reason(),
            Self::File(source) => source.reason(),
        }
    }
}
