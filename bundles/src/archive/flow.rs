//! Readers that hash, count and bound what flows through them. The decoders between them turn every error into their
//! own, so what really happened is kept aside and told at the end.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use super::ArchiveError;
use crate::{Digest, DigestWriter};

/// The first thing that went wrong underneath a decoder.
#[derive(Debug, Default, Clone)]
pub(super) struct Trouble(Rc<RefCell<Option<ArchiveError>>>);

impl Trouble {
    fn note(&self, error: ArchiveError) -> io::Error {
        self.0.borrow_mut().get_or_insert(error);
        io::Error::other("see what was noted")
    }

    /// The noted error, or what the decoders made of it.
    pub(super) fn explain(&self, error: ArchiveError) -> ArchiveError {
        if let Some(noted) = self.0.borrow_mut().take() {
            return noted;
        }
        match error {
            ArchiveError::Damaged(error) if error.kind() == io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
            other => other,
        }
    }
}

/// How much of content shows its kind: a tar's magic stands at 257.
const START: u64 = 512;

/// The beginning of content, whole even where it comes in small pieces: whoever packs it may choose their size.
pub(super) fn start_of(content: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    content.take(START).read_to_end(&mut start)?;
    Ok(start)
}

/// Hashes what is read through it.
#[derive(Debug)]
pub(super) struct Hashed<R> {
    inner: R,
    sink: DigestWriter<io::Sink>,
    trouble: Trouble,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(inner: R, trouble: Trouble) -> Self {
        Self { inner, sink: DigestWriter::new(io::sink()), trouble }
    }

    pub(super) fn finish(self) -> (Digest, u64) {
        let (digest, length, _) = self.sink.finish();
        (digest, length)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.inner.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.trouble.note(ArchiveError::Read(error))),
        };
        self.sink.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// Opened content: written to the payload and hashed as whoever reads it goes along, up to a limit.
pub(super) struct Flow<'a, R> {
    inner: R,
    out: DigestWriter<&'a mut dyn Write>,
    limit: u64,
    trouble: Trouble,
}

impl<'a, R: Read> Flow<'a, R> {
    pub(super) fn new(inner: R, out: &'a mut dyn Write, limit: u64, trouble: Trouble) -> Self {
        Self { inner, out: DigestWriter::new(out), limit, trouble }
    }

    pub(super) fn finish(self) -> (Digest, u64, R) {
        let (digest, length, _) = self.out.finish();
        (digest, length, self.inner)
    }
}

impl<R: Read> Read for Flow<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if self.out.length() + count as u64 > self.limit {
            let limit = self.limit;
            return Err(self.trouble.note(ArchiveError::TooLarge { what: "what the archive opens to", limit }));
        }
        self.out.write_all(&buffer[..count]).map_err(|error| self.trouble.note(ArchiveError::Write(error)))?;
        Ok(count)
    }
}
