//! Making increments, once for all who will ask for them: so time is spent where it makes them smaller.

use std::io::{self, Write as _};

use zstd::stream::raw::{CParameter, Encoder};
use zstd::stream::write;

use super::{HEADER_BYTES, IncrementError, MAGIC, window_bytes};
use crate::Digest;

/// What `zstd -19` means by best: some seconds a megabyte.
const BEST: i32 = 19;

/// Where [`BEST`] would take minutes and hundreds of megabytes of memory.
const QUICK: i32 = 9;

/// Content from this many bytes on is packed at [`QUICK`]; real charts have one or two megabytes.
const LARGE: usize = 4 << 20;

/// The `dcz` that makes `content` of `base`.
///
/// # Errors
/// [`IncrementError::Pack`]: there is no memory for it.
pub fn increment(base: &[u8], content: &[u8]) -> Result<Vec<u8>, IncrementError> {
    let header = [&MAGIC[..], Digest::of(base).as_bytes()].concat();
    debug_assert_eq!(header.len(), HEADER_BYTES);
    let is_large = content.len().max(base.len()) >= LARGE;
    let pack = || {
        let mut encoder = Encoder::with_ref_prefix(if is_large { QUICK } else { BEST }, base)?;
        // As `zstd --patch-from` does: all of the old content stays within reach.
        let reach = content.len().max(base.len()).max(1).ilog2() + 1;
        let allowed = window_bytes(base.len() as u64);
        // A frame of a known length that fits into its window needs no larger one to be read than its content.
        let window = if content.len() as u64 <= allowed { reach } else { reach.min(allowed.ilog2()) };
        encoder.set_parameter(CParameter::WindowLog(window.clamp(10, 27)))?;
        if is_large {
            encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
        }
        frame(encoder, content, header)
    };
    pack().map_err(IncrementError::Pack)
}

/// The same content as plain `zstd`.
///
/// # Errors
/// [`IncrementError::Pack`]: there is no memory for it.
pub fn zstd(content: &[u8]) -> Result<Vec<u8>, IncrementError> {
    let pack = || {
        let mut encoder = Encoder::new(if content.len() >= LARGE { QUICK } else { BEST })?;
        // RFC 9659: no reader of the web takes a larger window.
        encoder.set_parameter(CParameter::WindowLog((content.len().max(1).ilog2() + 1).clamp(10, 23)))?;
        frame(encoder, content, Vec::new())
    };
    pack().map_err(IncrementError::Pack)
}

/// The same content as gzip, for readers of yesterday. No name and no time are in it: the same content gives the same bytes.
///
/// # Errors
/// [`IncrementError::Pack`]: there is no memory for it.
pub fn gzip(content: &[u8]) -> Result<Vec<u8>, IncrementError> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).and_then(|()| encoder.finish()).map_err(IncrementError::Pack)
}

/// Appends one frame.
fn frame(mut encoder: Encoder<'_>, content: &[u8], packed: Vec<u8>) -> io::Result<Vec<u8>> {
    encoder.set_pledged_src_size(Some(content.len() as u64))?;
    let mut frame = write::Encoder::with_encoder(packed, encoder);
    frame.write_all(content)?;
    frame.finish()
}
