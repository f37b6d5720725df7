//! From bytes to text, by byte order mark or XML declaration (XML 1.0, appendix F).

use std::borrow::Cow;
use std::ops::Range;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::IndexError;

/// An XML declaration is some 60 bytes; one that does not end within this many is none.
const MAX_DECLARATION: usize = 1024;

/// How a gzip file begins (RFC 1952, 2.3.1); no XML does, in whatever encoding.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An index as text.
pub(super) struct Decoded<'a> {
    /// Without the byte order mark.
    pub(super) text: Cow<'a, str>,
    /// The byte order mark, to be kept where the text is the input's own bytes.
    pub(super) mark: &'a [u8],
    pub(super) encoding: &'static Encoding,
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, IndexError> {
    if bytes.starts_with(&GZIP) {
        return Err(IndexError::Compressed);
    }
    let (encoding, mark) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => (encoding, &bytes[..length]),
        None => (without_mark(bytes)?, &bytes[..0]),
    };
    let body = &bytes[mark.len()..];
    let text = if encoding == UTF_8 {
        std::str::from_utf8(body).ok().map(Cow::Borrowed)
    } else {
        encoding.decode_without_bom_handling_and_without_replacement(body)
    };
    let text = text.ok_or(IndexError::Undecodable { encoding: encoding.name() })?;
    Ok(Decoded { text, mark, encoding })
}

fn without_mark(bytes: &[u8]) -> Result<&'static Encoding, IndexError> {
    match bytes {
        [b'<', 0, ..] => return Ok(UTF_16LE),
        [0, b'<', ..] => return Ok(UTF_16BE),
        _ => {}
    }
    let Some(range) = declared_encoding(bytes) else { return Ok(UTF_8) };
    let label = &bytes[range];
    let encoding = Encoding::for_label_no_replacement(label)
        .ok_or_else(|| IndexError::UnknownEncoding { label: String::from_utf8_lossy(label).into_owned() })?;
    // The declaration could be read byte by byte, so "utf-16" is left over from a string that was saved otherwise.
    Ok(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding })
}

/// Where the XML declaration's encoding stands, without the quotes.
pub(super) fn declared_encoding(bytes: &[u8]) -> Option<Range<usize>> {
    let head = &bytes[..bytes.len().min(MAX_DECLARATION)];
    if !head.starts_with(b"<?xml") {
        return None;
    }
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let name = head[..end].windows(8).position(|word| word == b"encoding")? + 8;
    let skip_space = |from: usize| from + head[from..end].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let equals = skip_space(name);
    if head[equals..end].first() != Some(&b'=') {
        return None;
    }
    let open = skip_space(equals + 1);
    let quote = *head[open..end].first().filter(|byte| matches!(byte, b'"' | b'\''))?;
    let start = open + 1;
    let length = head[start..end].iter().position(|byte| *byte == quote)?;
    Some(start..start + length)
}
