//! The central directory: what the zip says its members are.

use std::collections::HashSet;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::ZipFileError;
use super::end::Directory;
use super::extra::{self, Short};
use super::fields::{CENTRAL, IN_ZIP64, Method, flag, u16_at, u32_at};
use super::medium::{Medium, read_exact};
use super::rules::{MAX_COMMENT_BYTES, MAX_EXTRA_BYTES, Rules, Whose};
use crate::member_name::{MAX_PATH_BYTES, MemberKind, Names, shown};
use crate::name::is_windows_device;
use crate::{MemberPath, offline_zip};

/// A header without name, extra fields and comment.
const HEADER_BYTES: usize = 46;

/// "Version needed to extract" of stored, of deflated and of ZIP64 members, 4.4.3.
pub(super) const NEEDS: [u16; 3] = [10, 20, NEEDS_ZIP64];
/// The last of them.
pub(super) const NEEDS_ZIP64: u16 = 45;

/// 1980-01-01 00:00, the first that MS-DOS knows, and what our writer writes: time, then date.
pub(super) const NO_TIME: (u16, u16) = (0, 0x21);

/// A file of mode 0644, as our writer writes it.
const OUR_ATTRIBUTES: u32 = 0o100_644 << 16;

/// MS-DOS attributes, the low byte.
const DOS_DIRECTORY: u32 = 0x10;
const DOS_VOLUME_LABEL: u32 = 0x08;

/// The most that a directory deflates to: an empty block.
const EMPTY_DEFLATED: u64 = 2;

/// A member as the central directory has it.
#[derive(Debug)]
pub(super) struct Header {
    /// As it stands there, to be held against the local header.
    pub(super) raw_name: Vec<u8>,
    /// Without what changes nothing; empty for the zip's own top directory, `./`.
    pub(super) name: String,
    pub(super) is_dir: bool,
    pub(super) flags: u16,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) length: u64,
    pub(super) compressed: u64,
    pub(super) offset: u64,
}

impl Header {
    /// Whether our writer puts its lengths into ZIP64 fields.
    pub(super) fn is_large(&self) -> bool {
        self.length >= offline_zip::ZIP64_FROM
    }
}

/// Whether so many headers can be so many bytes.
pub(super) fn fits(entries: usize, bytes: u64) -> bool {
    let most = HEADER_BYTES + MAX_PATH_BYTES + MAX_EXTRA_BYTES + MAX_COMMENT_BYTES;
    let entries = entries as u64;
    bytes >= entries.saturating_mul(HEADER_BYTES as u64) && bytes <= entries.saturating_mul(most as u64)
}

/// Reads and checks the whole directory, in its own order.
pub(super) fn read<F: Read + Seek>(
    file: &mut F,
    length: u64,
    directory: Directory,
    rules: &Rules,
) -> Result<Vec<Header>, ZipFileError> {
    file.seek(SeekFrom::Start(directory.offset)).map_err(ZipFileError::medium)?;
    let mut source = BufReader::with_capacity(64 << 10, Medium(file).take(directory.bytes));
    let mut names = Names::new(rules.limits.archive_members);
    // Names lets a directory be named again, as tars do.
    let mut directories = HashSet::new();
    let mut headers = Vec::new();
    let mut opened: u64 = 0;
    for _ in 0..directory.entries {
        let header = header(&mut source, &mut names, rules)?;
        if header.is_dir && !directories.insert(header.name.clone()) {
            return Err(ZipFileError::Name { name: shown(&header.raw_name), why: "is there twice" });
        }
        opened = opened.saturating_add(header.length);
        headers.push(header);
    }
    if !source.buffer().is_empty() || source.get_ref().limit() != 0 {
        return Err(ZipFileError::Directory { why: "is longer than its members' headers" });
    }
    let allowed = rules.opened(length);
    if opened > allowed {
        return Err(ZipFileError::TooLarge { what: "what the zip holds".to_owned(), limit: allowed });
    }
    Ok(headers)
}

fn header(source: &mut impl Read, names: &mut Names, rules: &Rules) -> Result<Header, ZipFileError> {
    let mut fixed = [0; HEADER_BYTES];
    take(source, &mut fixed)?;
    if u32_at(&fixed, 0) != CENTRAL {
        return Err(ZipFileError::Directory { why: "holds something else than members' headers" });
    }
    let lengths = [28, 30, 32].map(|at| usize::from(u16_at(&fixed, at)));
    let [mut raw_name, mut extra, mut comment] = lengths.map(|length| vec![0; length]);
    take(source, &mut raw_name)?;
    let named = || shown(&raw_name);
    let wrong = |why| ZipFileError::Header { name: named(), why };
    if extra.len() > MAX_EXTRA_BYTES || comment.len() > MAX_COMMENT_BYTES {
        return Err(wrong("has extra fields or a comment that are too long"));
    }
    take(source, &mut extra)?;
    take(source, &mut comment)?;

    let (flags, method) = (u16_at(&fixed, 8), u16_at(&fixed, 10));
    if flags & (flag::ENCRYPTED | flag::STRONGLY_ENCRYPTED | flag::MASKED) != 0 {
        return Err(ZipFileError::Encrypted { name: named() });
    }
    if flags & !(flag::DEFLATE_EFFORT | flag::SIZES_FOLLOW | flag::UTF8) != 0 {
        return Err(wrong("has flags that say something unknown about it"));
    }
    let Some(packed) = Method::of(method) else { return Err(ZipFileError::Method { name: named(), method }) };
    if u16_at(&fixed, 34) != 0 {
        return Err(wrong("begins in another part of the zip; give it in one piece"));
    }
    let short = Short { length: u32_at(&fixed, 24), compressed: u32_at(&fixed, 20), offset: u32_at(&fixed, 42) };
    let sizes = extra::read(&extra, short, &raw_name).map_err(wrong)?;

    let (path, is_dir) = admit(&raw_name, flags, names)?;
    check_kind(&raw_name, is_dir, u32_at(&fixed, 38))?;
    if is_dir && (sizes.length != 0 || sizes.compressed > EMPTY_DEFLATED) {
        return Err(wrong("is a directory and has content"));
    }
    if packed == Method::Stored && sizes.length != sizes.compressed {
        return Err(wrong("is stored as it is, and has two lengths"));
    }
    if packed == Method::Stored && flags & flag::SIZES_FOLLOW != 0 && sizes.length != 0 {
        // Java, and with it ISE, refuses it; others look for what may be its end in its content.
        return Err(wrong("is stored without saying in front how long it is"));
    }
    let allowed = rules.opened_each(sizes.compressed);
    if sizes.length > allowed {
        return Err(ZipFileError::TooLarge { what: format!("the zip's member {:?}", named()), limit: allowed });
    }
    let header = Header {
        name: path,
        is_dir,
        flags,
        method: packed,
        crc: u32_at(&fixed, 16),
        length: sizes.length,
        compressed: sizes.compressed,
        offset: sizes.offset,
        raw_name,
    };
    if rules.whose == Whose::Ours
        && let Some(what) = not_ours(&header, &fixed, &extra, &comment, short)
    {
        return Err(ZipFileError::NotOurs { name: shown(&header.raw_name), what });
    }
    Ok(header)
}

/// The directory's bytes end where the end record says: what it announces beyond that is a lie, not a cut.
fn take(source: &mut impl Read, buffer: &mut [u8]) -> Result<(), ZipFileError> {
    read_exact(source, buffer).map_err(|error| match error {
        ZipFileError::Truncated => ZipFileError::Directory { why: "ends within a member's header" },
        other => other,
    })
}

/// The name as a path, and whether it is a directory's.
fn admit(raw: &[u8], flags: u16, names: &mut Names) -> Result<(String, bool), ZipFileError> {
    let refused = |why| ZipFileError::Name { name: shown(raw), why };
    if !raw.is_ascii() && flags & flag::UTF8 == 0 {
        return Err(refused("is in an encoding that it does not name"));
    }
    // To Windows, these are devices, streams inside of a file, and names that lose their end.
    let text = String::from_utf8_lossy(raw);
    let is_other = |part: &str| {
        let is_folder = part == "." || part == "..";
        part.contains(':') || is_windows_device(part) || (part.ends_with(['.', ' ']) && !is_folder)
    };
    if text.split('/').any(is_other) {
        return Err(refused("is another name on Windows, or a drive's"));
    }
    let is_dir = raw.ends_with(b"/");
    let kind = if is_dir { MemberKind::Directory } else { MemberKind::File };
    let path = names.admit(raw, kind).map_err(ZipFileError::of_name)?;
    let path = path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    // Some zippers begin every name with `./`. No other detour is needed, and readers differ in what they make of one.
    let plain = text.strip_prefix("./").unwrap_or(&text);
    if plain.strip_suffix('/').unwrap_or(plain) != path {
        return Err(refused("makes a detour to where it leads"));
    }
    Ok((path, is_dir))
}

/// Name and attributes must say the same: some readers go by the one, some by the other.
fn check_kind(raw: &[u8], is_dir: bool, attributes: u32) -> Result<(), ZipFileError> {
    let odd = |kind| Err(ZipFileError::Kind { name: shown(raw), kind });
    // Whatever system the header names: who reads Unix modes may not ask.
    match (attributes >> 16) & 0o170_000 {
        0 => {}
        0o100_000 if !is_dir => {}
        0o040_000 if is_dir => {}
        0o100_000 | 0o040_000 => {
            return odd("a file by its name and a directory by its attributes, or the other way round");
        }
        0o120_000 => return odd("a link"),
        0o020_000 | 0o060_000 => return odd("a device"),
        0o010_000 => return odd("a pipe"),
        _ => return odd("of an unknown kind"),
    }
    if attributes & DOS_VOLUME_LABEL != 0 {
        return odd("a disk's label");
    }
    if attributes & DOS_DIRECTORY != 0 && !is_dir {
        return odd("a file by its name and a directory by its attributes, or the other way round");
    }
    Ok(())
}

/// What is not as our writer writes it.
fn not_ours(
    header: &Header,
    fixed: &[u8; HEADER_BYTES],
    extra: &[u8],
    comment: &[u8],
    short: Short,
) -> Option<&'static str> {
    const UNIX: u8 = 3;
    let in_zip64 = |is: bool, short: u32| (short == IN_ZIP64) == is;
    let checks = [
        // The other byte is the zip crate's version of the format, which may grow.
        (fixed[5] == UNIX && NEEDS.contains(&u16_at(fixed, 6)), "version"),
        (header.flags == 0, "flags"),
        ((u16_at(fixed, 12), u16_at(fixed, 14)) == NO_TIME, "time"),
        (u16_at(fixed, 36) == 0 && u32_at(fixed, 38) == OUR_ATTRIBUTES, "attributes"),
        (extra::is_ours(extra), "extra fields"),
        (comment.is_empty(), "comment"),
        (header.raw_name == header.name.as_bytes() && MemberPath::parse(&header.name).is_ok(), "name"),
        (
            in_zip64(header.is_large(), short.length)
                && in_zip64(header.is_large(), short.compressed)
                && in_zip64(header.offset >= u64::from(IN_ZIP64), short.offset),
            "ZIP64",
        ),
    ];
    checks.iter().find(|(holds, _)| !holds).map(|(_, what)| *what)
}
