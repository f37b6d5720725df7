//! The local headers: that each says what the central directory says, and that members lie one behind the other from the
//! first byte to the directory, with nothing between them and none inside of another.

use std::io::{Read, Seek};

use super::ZipFileError;
use super::central::{Header, NEEDS, NO_TIME};
use super::extra::{self, Short, Sizes};
use super::fields::{DESCRIPTOR, IN_ZIP64, LOCAL, flag, u16_at, u32_at, u64_at};
use super::medium::{read_at, read_exact};
use super::rules::{MAX_EXTRA_BYTES, Rules, Whose};
use crate::member_name::shown;

/// A header without name and extra fields.
const HEADER_BYTES: usize = 30;

/// The longest data descriptor: signature, checksum, two lengths of 64 bits.
const DESCRIPTOR_BYTES: usize = 24;

/// Checks every member against what lies in front of its content. Gives where each one's content begins, in the order of
/// `headers`.
pub(super) fn check<F: Read + Seek>(
    file: &mut F,
    headers: &[Header],
    directory_offset: u64,
    rules: &Rules,
) -> Result<Vec<u64>, ZipFileError> {
    let mut order: Vec<usize> = (0..headers.len()).collect();
    if rules.whose == Whose::Vendors {
        // Some zippers sort their directory. Ours does not, and is taken as it is.
        order.sort_by_key(|index| headers[*index].offset);
    }
    let mut starts = vec![0; headers.len()];
    let mut at = 0;
    for (place, index) in order.iter().enumerate() {
        let header = &headers[*index];
        if header.offset != at {
            let why = if header.offset < at {
                "overlaps another"
            } else {
                "has something in front of it that is in no member"
            };
            return Err(ZipFileError::Layout { name: shown(&header.raw_name), why });
        }
        let next = order.get(place + 1).map_or(directory_offset, |next| headers[*next].offset);
        let start = check_local(file, header, directory_offset, rules)?;
        starts[*index] = start;
        // Both are within the file, as `check_local` saw.
        let end = start + header.compressed;
        at = end + descriptor(file, header, end, next)?;
    }
    if at == directory_offset {
        return Ok(starts);
    }
    let name = order.last().map(|index| shown(&headers[*index].raw_name)).unwrap_or_default();
    Err(ZipFileError::Layout { name, why: "has something behind it that is in no member" })
}

/// Holds one local header against the directory's; gives where the content begins.
fn check_local<F: Read + Seek>(
    file: &mut F,
    header: &Header,
    directory_offset: u64,
    rules: &Rules,
) -> Result<u64, ZipFileError> {
    let name = || shown(&header.raw_name);
    let wrong = |why| ZipFileError::Header { name: name(), why };
    let disagree = |what| Err(ZipFileError::Disagree { name: name(), what });
    let mut fixed = [0; HEADER_BYTES];
    let room = directory_offset.saturating_sub(header.offset);
    if room < HEADER_BYTES as u64 {
        return Err(wrong("has no header in front of its content"));
    }
    read_at(file, header.offset, &mut fixed)?;
    if u32_at(&fixed, 0) != LOCAL {
        return Err(wrong("has no header in front of its content"));
    }
    let lengths = [26, 28].map(|at| usize::from(u16_at(&fixed, at)));
    let [mut raw_name, mut extra] = lengths.map(|length| vec![0; length]);
    if raw_name.len() != header.raw_name.len() {
        return disagree("name");
    }
    if extra.len() > MAX_EXTRA_BYTES {
        return Err(wrong("has extra fields that are too long"));
    }
    let before = (HEADER_BYTES + raw_name.len() + extra.len()) as u64;
    if room.checked_sub(before).is_none_or(|room| room < header.compressed) {
        return Err(ZipFileError::Layout { name: name(), why: "reaches into the directory" });
    }
    read_exact(file, &mut raw_name)?;
    read_exact(file, &mut extra)?;
    if raw_name != header.raw_name {
        return disagree("name");
    }
    if u16_at(&fixed, 6) != header.flags {
        return disagree("set of flags");
    }
    if u16_at(&fixed, 8) != header.method.number() {
        return disagree("method");
    }
    let short = Short { length: u32_at(&fixed, 22), compressed: u32_at(&fixed, 18), offset: 0 };
    let Sizes { length, compressed, .. } = extra::read(&extra, short, &raw_name).map_err(wrong)?;
    // Where they follow the content, what is not known yet is 0.
    let may_be_0 = header.flags & flag::SIZES_FOLLOW != 0;
    let same = |here: u64, there: u64| here == there || (may_be_0 && here == 0);
    if !same(length, header.length) || !same(compressed, header.compressed) {
        return disagree("length");
    }
    if !same(u64::from(u32_at(&fixed, 14)), u64::from(header.crc)) {
        return disagree("checksum");
    }
    if rules.whose == Whose::Ours {
        let in_zip64 = |is: bool, short: u32| (short == IN_ZIP64) == is;
        let checks = [
            (NEEDS.contains(&u16_at(&fixed, 4)), "version"),
            ((u16_at(&fixed, 10), u16_at(&fixed, 12)) == NO_TIME, "time"),
            (extra::is_ours(&extra), "extra fields"),
            (in_zip64(header.is_large(), short.length) && in_zip64(header.is_large(), short.compressed), "ZIP64"),
        ];
        if let Some((_, what)) = checks.iter().find(|(holds, _)| !holds) {
            return Err(ZipFileError::NotOurs { name: name(), what });
        }
    }
    Ok(header.offset + before)
}

/// Checks the checksum and lengths that follow a content which ends at `end`, where they do: everything between there and
/// what is `next`. Gives their own length.
///
/// # Errors
/// They are not there, or say something else than the directory; or what is next lies in front of `end`.
fn descriptor<F: Read + Seek>(file: &mut F, header: &Header, end: u64, next: u64) -> Result<u64, ZipFileError> {
    if header.flags & flag::SIZES_FOLLOW == 0 {
        return Ok(0);
    }
    let name = || shown(&header.raw_name);
    let Some(room) = next.checked_sub(end) else {
        return Err(ZipFileError::Layout { name: name(), why: "overlaps another" });
    };
    let Ok(room @ (12 | 16 | 20 | DESCRIPTOR_BYTES)) = usize::try_from(room) else {
        return Err(ZipFileError::Layout { name: name(), why: "has something behind it that is in no member" });
    };
    let mut bytes = [0; DESCRIPTOR_BYTES];
    read_at(file, end, &mut bytes[..room])?;
    // The signature may be there, and the lengths may have 32 or 64 bits: four lengths in all.
    let (signed, wide) = (matches!(room, 16 | 24), matches!(room, 20 | 24));
    let values = if signed { &bytes[4..] } else { &bytes[..] };
    let (compressed, length) = if wide {
        (u64_at(values, 4), u64_at(values, 12))
    } else {
        (u64::from(u32_at(values, 4)), u64::from(u32_at(values, 8)))
    };
    // Without a signature, a checksum that looks like one would be taken for it.
    let signature_fits = (u32_at(&bytes, 0) == DESCRIPTOR) == signed;
    if signature_fits && (u32_at(values, 0), compressed, length) == (header.crc, header.compressed, header.length) {
        Ok(room as u64)
    } else {
        Err(ZipFileError::Disagree { name: name(), what: "length or checksum" })
    }
}
