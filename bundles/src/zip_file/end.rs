//! The zip's two ends: what it begins with, and where its end record says that the central directory is.

use std::io::{Read, Seek, SeekFrom};

use super::fields::{END, END64, IN_ZIP64, IN_ZIP64_16, LOCATOR, u16_at, u32_at, u64_at};
use super::medium::read_at;
use super::rules::{MAX_COMMENT_BYTES, Rules, Whose};
use super::{ZipFileError, central};

/// The end record without its comment.
const END_BYTES: usize = 22;
/// The ZIP64 end record without the extensible part, which nobody writes.
const END64_BYTES: usize = 56;
/// Its locator, between it and the end record.
const LOCATOR_BYTES: usize = 20;
/// Where any reader looks for an end record: a comment has a length of 16 bits.
const TAIL_BYTES: usize = END_BYTES + u16::MAX as usize;
/// How much of a file shows its kind: a tar's magic stands at 257.
const START_BYTES: usize = 512;

/// Where the central directory lies: right behind the members, right before the end records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directory {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) entries: usize,
}

/// Reads and checks everything behind the central directory.
pub(super) fn find<F: Read + Seek>(file: &mut F, length: u64, rules: &Rules) -> Result<Directory, ZipFileError> {
    check_start(file, length)?;
    let tail_bytes = length.min(TAIL_BYTES as u64);
    let tail_start = length - tail_bytes;
    // At most `TAIL_BYTES`, so it fits.
    let mut tail = vec![0; usize::try_from(tail_bytes).unwrap_or(TAIL_BYTES)];
    read_at(file, tail_start, &mut tail)?;
    let at = only_end(&tail, tail_start)?;
    let end = &tail[at..];
    let comment = end.len() - END_BYTES;
    let allowed = match rules.whose {
        Whose::Ours => 0,
        Whose::Vendors => MAX_COMMENT_BYTES,
    };
    if comment > allowed {
        return Err(ZipFileError::End { why: "has a comment, or one that is too long" });
    }
    if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || u16_at(end, 8) != u16_at(end, 10) {
        return Err(ZipFileError::End { why: "speaks of other parts of the zip; give it in one piece" });
    }
    let short = Short { entries: u16_at(end, 10), bytes: u32_at(end, 12), offset: u32_at(end, 16) };
    let end_at = tail_start + at as u64;
    let mut locator = [0; LOCATOR_BYTES];
    if let Some(before) = end_at.checked_sub(LOCATOR_BYTES as u64) {
        read_at(file, before, &mut locator)?;
    }
    let (directory, directory_end) = if u32_at(&locator, 0) == LOCATOR {
        let at = end_at - LOCATOR_BYTES as u64;
        zip64(file, &locator, at, short, rules)?
    } else if short.entries == IN_ZIP64_16 || short.bytes == IN_ZIP64 || short.offset == IN_ZIP64 {
        return Err(ZipFileError::End { why: "refers to a ZIP64 record that is not there" });
    } else {
        let directory = Directory {
            offset: u64::from(short.offset),
            bytes: u64::from(short.bytes),
            entries: usize::from(short.entries),
        };
        (directory, end_at)
    };
    match directory.offset.checked_add(directory.bytes) {
        Some(end) if end == directory_end => {}
        Some(end) if end < directory_end => {
            return Err(ZipFileError::End {
                why: "says that the directory ends before it does; something lies between, or in front of the zip",
            });
        }
        _ => return Err(ZipFileError::End { why: "says that the directory reaches past the end" }),
    }
    if directory.entries > rules.limits.archive_members {
        return Err(ZipFileError::TooManyEntries { limit: rules.limits.archive_members });
    }
    if !central::fits(directory.entries, directory.bytes) {
        return Err(ZipFileError::End { why: "has another number of members than its directory has room for" });
    }
    Ok(directory)
}

/// The fields of the end record, as they stand there.
#[derive(Debug, Clone, Copy)]
struct Short {
    entries: u16,
    bytes: u32,
    offset: u32,
}

/// Says what people pack in other ways, before anything is looked for at the end.
fn check_start<F: Read + Seek>(file: &mut F, length: u64) -> Result<(), ZipFileError> {
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(ZipFileError::medium)?;
    file.by_ref().take(START_BYTES as u64).read_to_end(&mut start).map_err(ZipFileError::medium)?;
    let kinds: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "a gzip file (.gz or .tar.gz)"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a\x07", "a rar archive"),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(ZipFileError::OtherKind { kind });
    }
    if start.get(257..262) == Some(b"ustar") {
        return Err(ZipFileError::OtherKind { kind: "a tar archive" });
    }
    // A first member, or the end record of a zip that has none.
    let begins = |magic: &[u8]| start.starts_with(magic) || magic.starts_with(&start);
    if !begins(b"PK\x03\x04") && !begins(b"PK\x05\x06") {
        return Err(ZipFileError::NotAZip);
    }
    if length < END_BYTES as u64 {
        return Err(ZipFileError::Truncated);
    }
    Ok(())
}

/// The one end record, in the last bytes of the file.
///
/// Readers look for it from behind, from the front or only at the very end, and ask that its comment reaches the file's end,
/// or do not: so there must be nothing that any of them could take for another.
fn only_end(tail: &[u8], tail_start: u64) -> Result<usize, ZipFileError> {
    let signature = END.to_le_bytes();
    let candidates = (0..=tail.len() - END_BYTES).filter(|at| tail[*at..].starts_with(&signature));
    let reaches = |at: &usize| at + END_BYTES + usize::from(u16_at(&tail[*at..], 20)) == tail.len();
    let mut last = None;
    let mut found = None;
    for at in candidates {
        if reaches(&at) && found.replace(at).is_some() {
            return Err(ZipFileError::TwoEnds);
        }
        last = Some(at);
    }
    match (found, last) {
        // A member that is a zip itself has an end record too: in front, where no reader looks first.
        (Some(found), Some(last)) if found == last => Ok(found),
        (Some(_), _) => Err(ZipFileError::TwoEnds),
        (None, Some(last)) => {
            let directory_end = u64::from(u32_at(&tail[last..], 16)) + u64::from(u32_at(&tail[last..], 12));
            let is_this_zips = directory_end == tail_start + last as u64;
            Err(if is_this_zips { ZipFileError::Behind } else { ZipFileError::Truncated })
        }
        (None, None) => Err(ZipFileError::Truncated),
    }
}

/// The ZIP64 end record, right before its locator, which is right before the end record.
fn zip64<F: Read + Seek>(
    file: &mut F,
    locator: &[u8; LOCATOR_BYTES],
    locator_at: u64,
    short: Short,
    rules: &Rules,
) -> Result<(Directory, u64), ZipFileError> {
    let lies = |why| Err(ZipFileError::End { why });
    let Some(at) = locator_at.checked_sub(END64_BYTES as u64) else {
        return lies("refers to a ZIP64 record that is not there");
    };
    if u64_at(locator, 8) != at || u32_at(locator, 4) != 0 || u32_at(locator, 16) > 1 {
        return lies("refers to a ZIP64 record somewhere else");
    }
    let mut end = [0; END64_BYTES];
    read_at(file, at, &mut end)?;
    if u32_at(&end, 0) != END64 || u64_at(&end, 4) != END64_BYTES as u64 - 12 {
        return lies("refers to a ZIP64 record that is none, or holds more than it may");
    }
    let (entries, bytes, offset) = (u64_at(&end, 32), u64_at(&end, 40), u64_at(&end, 48));
    if u32_at(&end, 16) != 0 || u32_at(&end, 20) != 0 || u64_at(&end, 24) != entries {
        return lies("speaks of other parts of the zip; give it in one piece");
    }
    let same = (short.entries == IN_ZIP64_16 || u64::from(short.entries) == entries)
        && (short.bytes == IN_ZIP64 || u64::from(short.bytes) == bytes)
        && (short.offset == IN_ZIP64 || u64::from(short.offset) == offset);
    if !same {
        return lies("and its ZIP64 record say two things");
    }
    let (max, max16) = (u64::from(IN_ZIP64), u64::from(IN_ZIP64_16));
    // As the zip crate writes it: where something does not fit, the directory's length is there alone.
    let as_ours = (entries > max16 || bytes.max(offset) > max)
        && u64::from(short.entries) == entries.min(max16)
        && short.bytes == IN_ZIP64
        && u64::from(short.offset) == offset.min(max)
        && u32_at(locator, 16) == 1
        && (u16_at(&end, 12), u16_at(&end, 14)) == (central::NEEDS_ZIP64, central::NEEDS_ZIP64);
    if rules.whose == Whose::Ours && !as_ours {
        return lies("has a ZIP64 record that no bundle would have");
    }
    match usize::try_from(entries) {
        Ok(entries) => Ok((Directory { offset, bytes, entries }, at)),
        Err(_) => Err(ZipFileError::TooManyEntries { limit: rules.limits.archive_members }),
    }
}
