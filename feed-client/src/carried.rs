//! A bundle that somebody carried here, as a place where releases come from: beside the server, the other one. What is
//! genuine is [`bundles::bundle`]'s to say; this module opens the file, and makes payloads of the archives that it holds.
//!
//! A bundle lies on a medium that may be pulled out at any time, and mostly cannot be written. Nothing is written there, and
//! every byte that is taken from it is held to what was signed, as it is on its way from a server.

mod error;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use bundles::bundle::{Bundle, CheckedBundle, Trust, carried};
use bundles::inspection::ZipFacts;
use bundles::release::{FileRef, ReleasedFile};
use bundles::zip_file::ZipFileError;
use bundles::{DigestWriter, Limits, archive};

pub use error::CarriedError;

use crate::crash;
use crate::durable::StorageError;
use crate::progress::Progress;

/// How much is read from the medium at once.
const CHUNK: usize = 64 << 10;

/// Longer names are cut where they are noted; file systems allow 255 bytes.
const MAX_NAME_CHARS: usize = 120;

/// An opened bundle.
#[derive(Debug)]
pub struct Carried {
    path: PathBuf,
    zip: ZipFacts,
    bundle: Bundle<File>,
}

/// A file's name as it can be shown: what stands on a stick was named by others.
#[must_use]
pub fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name.chars().take(MAX_NAME_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Opens a file and reads it once from its beginning to its end. So a medium that cannot be read shows before anything is
/// begun, and what the sheet calls SHA-256 is known.
///
/// # Errors
/// It cannot be read, or is no file.
pub fn read_through(path: &Path, progress: &Progress) -> Result<(File, ZipFacts), CarriedError> {
    let unreadable = |source| CarriedError::Medium { path: path.to_owned(), source };
    // Asked first: opening a pipe waits for whoever writes into it. It cannot be read twice, and a disk has no end that a
    // zip could have.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(CarriedError::NotAFile { path: path.to_owned() });
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let zip = hash(&mut file, path, progress).map_err(unreadable)?;
    Ok((file, zip))
}

impl Carried {
    /// Reads the file through, and looks at its structure.
    ///
    /// # Errors
    /// It cannot be read, or is no bundle.
    pub fn open(path: &Path, limits: &Limits, progress: &Progress) -> Result<Self, CarriedError> {
        let (file, zip) = read_through(path, progress)?;
        Ok(Self { path: path.to_owned(), zip, bundle: Bundle::open(file, limits)? })
    }

    /// Which file it is.
    #[must_use]
    pub fn zip(&self) -> &ZipFacts {
        &self.zip
    }

    /// Holds it to what is trusted and known here, and each of its files to what was signed: those too that are not taken,
    /// since a bundle is genuine as a whole or not at all, and whoever carries it further wants to know.
    ///
    /// # Errors
    /// It may not be taken.
    pub fn check(&mut self, trust: &Trust<'_>) -> Result<CheckedBundle, CarriedError> {
        let checked = self.bundle.check(trust)?;
        for file in carried(checked.manifest.manifest()) {
            self.bundle.hash(file)?;
        }
        Ok(checked)
    }

    /// Makes a signed payload of its archive: `aside` is where the archive lies meanwhile, `into` where the payload goes;
    /// neither is there before. How many bytes were read from the bundle is given back.
    ///
    /// # Errors
    /// The archive cannot be read, is not the signed one, or does not open to the signed payload. What was written until
    /// then is worthless.
    pub fn bring(
        &mut self,
        file: &ReleasedFile,
        aside: &Path,
        into: &Path,
        limits: &Limits,
        progress: &Progress,
    ) -> Result<u64, CarriedError> {
        let ReleasedFile { archive, payload } = file;
        self.copy(archive, aside, progress)?;
        if (archive.sha256, archive.length) == (payload.sha256, payload.length) {
            fs::rename(aside, into).map_err(StorageError::at("rename to", into))?;
            return Ok(archive.length);
        }
        open(archive, payload, aside, into, limits)?;
        fs::remove_file(aside).map_err(StorageError::at("remove", aside))?;
        crash::point("client.import.opened");
        Ok(archive.length)
    }

    /// An archive's exact bytes, held to the signed length and digest.
    fn copy(&mut self, archive: &FileRef, aside: &Path, progress: &Progress) -> Result<(), CarriedError> {
        let path = &self.path;
        let file = File::create_new(aside).map_err(StorageError::at("create", aside))?;
        let mut writer = DigestWriter::new(file);
        // The zip's member ends where it says; what it says was compared with what is signed.
        let mut content = self.bundle.open_file(archive)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CarriedError::of_read(path, error)),
            };
            writer.write_all(&buffer[..count]).map_err(StorageError::at("write", aside))?;
            progress.advance(count as u64);
            crash::point("client.import.partial");
        }
        let (sha256, length, _) = writer.finish();
        if (sha256, length) != (archive.sha256, archive.length) {
            return Err(CarriedError::OtherBytes { name: archive.name.clone(), found: sha256 });
        }
        Ok(())
    }
}

fn open(archive: &FileRef, payload: &FileRef, aside: &Path, into: &Path, limits: &Limits) -> Result<(), CarriedError> {
    // What it may open to is signed: whatever the ratio, not a byte more than that is written.
    let limits = Limits { payload_bytes: payload.length, expansion_ratio: u64::MAX, ..limits.clone() };
    let mut packed = File::open(aside).map_err(StorageError::at("open", aside))?;
    let mut out = BufWriter::new(File::create_new(into).map_err(StorageError::at("create", into))?);
    let opened = archive::open(&mut packed, &archive.name, &limits, &mut out);
    let opened = opened.map_err(|source| CarriedError::Archive { name: archive.name.clone(), source })?;
    out.flush().map_err(StorageError::at("write", into))?;
    if (opened.payload.sha256, opened.payload.length) != (payload.sha256, payload.length) {
        return Err(CarriedError::OtherPayload { archive: archive.name.clone(), payload: payload.name.clone() });
    }
    Ok(())
}

fn hash(file: &mut File, path: &Path, progress: &Progress) -> io::Result<ZipFacts> {
    let mut writer = DigestWriter::new(io::sink());
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                writer.write_all(&buffer[..count])?;
                progress.advance(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let (sha256, length, _) = writer.finish();
    Ok(ZipFacts { name: name_of(path), sha256, length })
}

impl CarriedError {
    /// What reading a member answered with.
    fn of_read(path: &Path, error: io::Error) -> Self {
        match ZipFileError::within(error) {
            Ok(error) => Self::Bundle(error.into()),
            Err(source) => Self::Medium { path: path.to_owned(), source },
        }
    }
}
