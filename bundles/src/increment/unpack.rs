//! Unpacking, piece by piece as an answer arrives, and never to more than was promised.

use std::io::{self, Write};

use zstd::stream::raw::{DParameter, Decoder};
use zstd::stream::write;

use super::{HEADER_BYTES, IncrementError, MAGIC, WINDOW_BYTES, window_bytes};
use crate::Digest;

/// A `dcz` or `zstd` in the course of being unpacked into `W`.
///
/// What was written before an error stays written; whoever unpacks throws it away.
pub struct Unpacking<'b, W: Write> {
    /// Of a `dcz`, until it is whole: the header as far as it has come, and the digest it has to name.
    header: Option<(Vec<u8>, Digest)>,
    frame: write::Decoder<'b, Bounded<W>>,
}

impl<'b, W: Write> Unpacking<'b, W> {
    /// Of a `dcz` over `base`, to at most `limit` bytes.
    ///
    /// # Errors
    /// [`IncrementError::Pack`]: there is no memory for it.
    pub fn increment(base: &'b [u8], limit: u64, into: W) -> Result<Self, IncrementError> {
        let decoder = Decoder::with_ref_prefix(base).map_err(IncrementError::Pack)?;
        let header = Some((Vec::with_capacity(HEADER_BYTES), Digest::of(base)));
        Self::new(header, decoder, window_bytes(base.len() as u64), limit, into)
    }

    /// Of plain `zstd`, to at most `limit` bytes.
    ///
    /// # Errors
    /// [`IncrementError::Pack`]: there is no memory for it.
    pub fn zstd(limit: u64, into: W) -> Result<Self, IncrementError> {
        let decoder = Decoder::new().map_err(IncrementError::Pack)?;
        Self::new(None, decoder, WINDOW_BYTES, limit, into)
    }

    fn new(
        header: Option<(Vec<u8>, Digest)>,
        mut decoder: Decoder<'b>,
        window: u64,
        limit: u64,
        into: W,
    ) -> Result<Self, IncrementError> {
        // The bound is a power of two, so it is the next one above; a frame that says more is refused before memory is taken.
        let window = window.next_power_of_two().ilog2();
        decoder.set_parameter(DParameter::WindowLogMax(window)).map_err(IncrementError::Pack)?;
        let bounded = Bounded { into, left: limit, limit, failed: None };
        Ok(Self { header, frame: write::Decoder::with_decoder(bounded, decoder) })
    }

    /// The next piece.
    ///
    /// # Errors
    /// Why it cannot be unpacked any further.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), IncrementError> {
        if let Some((header, base)) = &mut self.header {
            let (beginning, rest) = piece.split_at(piece.len().min(HEADER_BYTES - header.len()));
            header.extend_from_slice(beginning);
            piece = rest;
            if header.len() < HEADER_BYTES {
                return if MAGIC.starts_with(&header[..header.len().min(MAGIC.len())]) {
                    Ok(())
                } else {
                    Err(IncrementError::Header)
                };
            }
            check(header, *base)?;
            self.header = None;
        }
        let written = self.frame.write_all(piece);
        self.told(written)
    }

    /// The end, and what was written to.
    ///
    /// # Errors
    /// It is not the end of what was begun, or the rest cannot be written.
    pub fn finish(mut self) -> Result<W, IncrementError> {
        if self.header.is_some() {
            return Err(IncrementError::Truncated);
        }
        let flushed = self.frame.flush();
        self.told(flushed)?;
        self.frame.finish().map(|bounded| bounded.into).map_err(|_| IncrementError::Truncated)
    }

    fn told(&mut self, result: io::Result<()>) -> Result<(), IncrementError> {
        let bounded = self.frame.get_mut();
        match (bounded.failed.take(), result) {
            (Some(Failed::Limit), _) => Err(IncrementError::TooLarge { limit: bounded.limit }),
            (Some(Failed::Write(error)), _) => Err(IncrementError::Write(error)),
            (None, Err(error)) => Err(IncrementError::Damaged(error)),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl<W: Write> std::fmt::Debug for Unpacking<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacking").field("header", &self.header).finish_non_exhaustive()
    }
}

fn check(header: &[u8], base: Digest) -> Result<(), IncrementError> {
    let (magic, named) = header.split_at(MAGIC.len());
    let named = <[u8; 32]>::try_from(named).map(Digest::from_bytes);
    match named {
        Ok(named) if magic == MAGIC && named == base => Ok(()),
        Ok(named) if magic == MAGIC => Err(IncrementError::OtherBase { named }),
        Ok(_) | Err(_) => Err(IncrementError::Header),
    }
}

/// Takes no more than it may, and tells its own failures from those of the frame.
struct Bounded<W> {
    into: W,
    left: u64,
    limit: u64,
    failed: Option<Failed>,
}

enum Failed {
    Limit,
    Write(io::Error),
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.failed = Some(Failed::Limit);
            return Err(io::Error::other("past the limit"));
        };
        match self.into.write_all(bytes) {
            Ok(()) => {
                self.left = left;
                Ok(bytes.len())
            }
            Err(error) => {
                self.failed = Some(Failed::Write(error));
                Err(io::Error::other("not written"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
