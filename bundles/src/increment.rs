//! Increments: new content told in terms of old content that the reader holds already, by the standard way for it, RFC 9842
//! (Compression Dictionary Transport), with its content coding `dcz`: a header of 40 bytes that names the old content, then one
//! zstd frame that has it as prefix. Plain `zstd` (RFC 8878) is read here as well, since a reader asks for either.
//!
//! Nothing here decides what may be trusted: whoever unpacks holds the result to its signed length and digest.

mod error;
mod pack;
mod unpack;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use error::IncrementError;
pub use pack::{gzip, increment, zstd};
pub use unpack::Unpacking;

use crate::Digest;
use crate::release::{FileRef, ReleasedFile};

/// What a `dcz` begins with: a skippable zstd frame's header, of 32 bytes, so that its kind can be told (RFC 9842, section 5).
pub const MAGIC: [u8; 8] = [0x5e, 0x2a, 0x4d, 0x18, 0x20, 0x00, 0x00, 0x00];

/// [`MAGIC`] and the digest of the old content.
pub const HEADER_BYTES: usize = MAGIC.len() + 32;

/// RFC 9842, section 5: every reader takes a window as large as this, or a quarter larger than the old content.
const WINDOW_BYTES: u64 = 8 << 20;

/// RFC 9842, section 5: and none takes a larger one.
const LARGEST_WINDOW_BYTES: u64 = 128 << 20;

/// The bytes that a frame may make its reader keep, with old content of this length.
fn window_bytes(base: u64) -> u64 {
    base.saturating_add(base / 4).clamp(WINDOW_BYTES, LARGEST_WINDOW_BYTES)
}

/// What stands in `Available-Dictionary`: a structured field's byte sequence (RFC 9842, section 2.2; RFC 8941, section 3.3.5).
#[must_use]
pub fn available_dictionary(digest: &Digest) -> String {
    format!(":{}:", STANDARD.encode(digest.as_bytes()))
}

/// Reads an `Available-Dictionary`; `None` where it is none, which is no error: other content is answered.
#[must_use]
pub fn parse_available_dictionary(header: &str) -> Option<Digest> {
    let encoded = header.trim_matches([' ', '\t']).strip_prefix(':')?.strip_suffix(':')?;
    // 32 bytes are 44 digits; longer ones are not decoded to find that out.
    if encoded.len() != 44 {
        return None;
    }
    let bytes = STANDARD.decode(encoded).ok()?;
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

/// Which payload of an earlier release is the one to tell a new one by: of the files that the component had then, the one of
/// the same name; else the one whose name differs in digits alone (vendors put versions there); else the only one, where both
/// have one. Server and headend ask the same question, so that what is prepared is what is asked for.
#[must_use]
pub fn base_of<'f>(wanted: &FileRef, now: &[ReleasedFile], then: &'f [ReleasedFile]) -> Option<&'f FileRef> {
    let payloads = || then.iter().map(|file| &file.payload);
    let undated = |file: &FileRef| file.name.as_str().replace(|c: char| c.is_ascii_digit(), "");
    let mut alike = payloads().filter(|file| undated(file) == undated(wanted));
    let only_alike = match (alike.next(), alike.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    };
    payloads()
        .find(|file| file.name == wanted.name)
        .or(only_alike)
        .or_else(|| if now.len() == 1 && then.len() == 1 { payloads().next() } else { None })
}

#[cfg(test)]
mod tests;
