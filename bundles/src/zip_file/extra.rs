//! Extra fields of headers (APPNOTE 4.5 and Info-ZIP's `extrafld.txt`): the ZIP64 sizes, and which others mean nothing.

use super::fields::{IN_ZIP64, u16_at, u64_at};

/// Lengths and offset that do not fit the header's 32 bits.
const ZIP64: u16 = 0x0001;
/// The name once more, in UTF-8.
const UNICODE_PATH: u16 = 0x7075;

/// What other people's zippers add, and what changes neither name, kind, length nor content to any reader.
const HARMLESS: [u16; 12] = [
    0x000a, // NTFS: times
    0x334d, // Info-ZIP for Macintosh: Finder's attributes
    0x4453, // Windows: access rights
    0x5455, // Info-ZIP: times
    0x5855, // Info-ZIP: times and owner
    0x6375, // Info-ZIP: the comment in UTF-8
    0x7855, // Info-ZIP: owner
    0x7875, // Info-ZIP: owner
    0xa11e, // Apache Commons Compress: alignment
    0xa220, // Microsoft Open Packaging: room to grow
    0xcafe, // Java: this is a JAR
    0xd935, // Android: alignment
];

/// What a header says about lengths and offset once ZIP64 is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) length: u64,
    pub(super) compressed: u64,
    /// Of the local header; always 0 from a local header itself.
    pub(super) offset: u64,
}

/// What stands in the header's fields of 32 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Short {
    pub(super) length: u32,
    pub(super) compressed: u32,
    pub(super) offset: u32,
}

/// Reads the list: the sizes, or what is wrong.
///
/// A ZIP64 field is taken where a field of the header refers to it, and with nothing but what is referred to: readers
/// differ in what they make of others.
pub(super) fn read(extra: &[u8], short: Short, name: &[u8]) -> Result<Sizes, &'static str> {
    let mut zip64: Option<&[u8]> = None;
    let mut seen = Vec::new();
    let mut rest = extra;
    while !rest.is_empty() {
        let field = rest.get(..4).map(|start| (u16_at(start, 0), usize::from(u16_at(start, 2))));
        let Some((id, content)) = field.and_then(|(id, length)| Some((id, rest.get(4..4 + length)?))) else {
            return Err("has extra fields that do not end where they should");
        };
        rest = &rest[4 + content.len()..];
        if seen.contains(&id) {
            return Err("has an extra field twice");
        }
        seen.push(id);
        match id {
            ZIP64 => zip64 = Some(content),
            // Version, checksum of the other name, name.
            UNICODE_PATH if content.get(5..) == Some(name) => {}
            UNICODE_PATH => return Err("has a second name in an extra field"),
            _ if HARMLESS.contains(&id) => {}
            _ => return Err("has an extra field that is not known to be harmless"),
        }
    }
    let refers = [short.length, short.compressed, short.offset].contains(&IN_ZIP64);
    let mut values = match (refers, zip64) {
        (false, None) => &[],
        (false, Some(_)) => return Err("has a ZIP64 field that nothing refers to"),
        (true, None) => return Err("refers to a ZIP64 field that is not there"),
        (true, Some(values)) => values,
    };
    let mut value = |short: u32| {
        if short != IN_ZIP64 {
            return Ok(u64::from(short));
        }
        let (first, others) = values.split_at_checked(8).ok_or("has a ZIP64 field that is too short")?;
        values = others;
        Ok::<_, &'static str>(u64_at(first, 0))
    };
    let sizes =
        Sizes { length: value(short.length)?, compressed: value(short.compressed)?, offset: value(short.offset)? };
    if values.is_empty() { Ok(sizes) } else { Err("has a ZIP64 field that is too long") }
}

/// The list as our writer writes it: nothing, or ZIP64 alone.
pub(super) fn is_ours(extra: &[u8]) -> bool {
    extra.is_empty()
        || (extra.len() >= 4 && u16_at(extra, 0) == ZIP64 && usize::from(u16_at(extra, 2)) == extra.len() - 4)
}
