//! A member's content, on its way out: never more than declared, and the last of it only once all of it is right.

use std::fmt;
use std::io::{self, BufReader, Read, Take};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::medium::Medium;
use super::{ZipEntry, ZipFileError};

/// A member's content. Its errors are [`ZipFileError`]s; [`ZipFileError::within`] takes them out of the `io::Error`.
///
/// The last piece is given only if length and checksum of the whole are as declared and nothing is left behind it: whoever
/// got all the bytes got the right ones, also without reading on to the end.
pub struct Content<'a, F> {
    entry: &'a ZipEntry,
    source: Source<'a, F>,
    read: Crc,
    left: u64,
    state: State,
}

/// Where the bytes come from.
pub(super) enum Source<'a, F> {
    Stored(Take<Medium<'a, F>>),
    Deflated(Box<DeflateDecoder<BufReader<Take<Medium<'a, F>>>>>),
}

#[derive(Debug)]
enum State {
    Reading,
    Checked,
    /// Whoever reads on is told again, since some readers keep an error to themselves.
    Failed(ZipFileError),
}

impl<'a, F: Read> Content<'a, F> {
    pub(super) fn new(entry: &'a ZipEntry, source: Source<'a, F>) -> Self {
        Self { entry, source, read: Crc::new(), left: entry.length, state: State::Reading }
    }

    fn inner(&mut self, buffer: &mut [u8]) -> Result<usize, ZipFileError> {
        let result = match &mut self.source {
            Source::Stored(source) => source.read(buffer),
            Source::Deflated(source) => source.read(buffer),
        };
        match result {
            // All of it is in the file, as was seen at the beginning: so the file has shrunk.
            Ok(0) if !buffer.is_empty() && self.left != 0 && self.unread() != 0 && self.is_stored() => {
                Err(ZipFileError::Truncated)
            }
            Ok(count) => Ok(count),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Compressed bytes that were not asked for.
    fn unread(&self) -> u64 {
        match &self.source {
            Source::Stored(source) => source.limit(),
            Source::Deflated(source) => source.get_ref().get_ref().limit(),
        }
    }

    fn is_stored(&self) -> bool {
        matches!(self.source, Source::Stored(_))
    }

    /// The medium's error, or what the decoder found.
    fn explain(&self, error: io::Error) -> ZipFileError {
        let name = || self.entry.name.to_owned();
        match ZipFileError::within(error) {
            Ok(error) => error,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.unread() != 0 => ZipFileError::Truncated,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ZipFileError::Content { name: name(), why: "what it is packed into ends too early" }
            }
            Err(_) => ZipFileError::Content { name: name(), why: "what it is packed into does not inflate" },
        }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, ZipFileError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner(&mut buffer[..most])?;
        if count == 0 && self.left != 0 {
            return Err(ZipFileError::Length { name: self.entry.name.to_owned(), length: self.entry.length });
        }
        self.read.update(&buffer[..count]);
        self.left -= count as u64;
        if self.left == 0 {
            self.check_end()?;
            self.state = State::Checked;
        }
        Ok(count)
    }

    fn check_end(&mut self) -> Result<(), ZipFileError> {
        if self.read.sum() != self.entry.crc {
            return Err(ZipFileError::Checksum { name: self.entry.name.to_owned() });
        }
        // What is stored is as long as declared; what is deflated says itself where it ends.
        if let Source::Deflated(_) = self.source {
            if self.inner(&mut [0])? != 0 {
                return Err(ZipFileError::Length { name: self.entry.name.to_owned(), length: self.entry.length });
            }
            if let Source::Deflated(source) = &self.source
                && source.total_in() != self.entry.compressed
            {
                return Err(ZipFileError::Content {
                    name: self.entry.name.to_owned(),
                    why: "something is hidden behind it",
                });
            }
        }
        Ok(())
    }
}

impl<F: Read> Read for Content<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.state {
            State::Checked => return Ok(0),
            State::Failed(error) => return Err(error.clone().into()),
            State::Reading if buffer.is_empty() => return Ok(0),
            State::Reading => {}
        }
        self.next(buffer).map_err(|error| {
            self.state = State::Failed(error.clone());
            error.into()
        })
    }
}

impl<F> fmt::Debug for Content<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("name", &self.entry.name).field("left", &self.left).finish_non_exhaustive()
    }
}
