//! Walking an archive's members, with one set of rules for checking and for unpacking.

use std::cell::Cell;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::ArchiveError;
use super::version;
use crate::member_name::{MemberKind, Names, shown};
use crate::zip_file::{Rules, ZipFile, ZipFileError};
use crate::{FileName, Limits, Version};

/// A long name or a set of extended attributes: held in memory, so bounded. Linux paths end at 4 KiB.
const MAX_EXTENSION_BYTES: u64 = 64 << 10;

/// Where the magic of a tar stands (POSIX ustar).
const USTAR: std::ops::Range<usize> = 257..262;

/// What tars are made of.
const BLOCK: u64 = 512;

/// What bytes are, by their beginning; the name must not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gzip,
    Tar,
    Zip,
    Other,
}

impl Kind {
    /// From the name and the beginning of the content.
    pub(super) fn of(name: &FileName, start: &[u8]) -> Result<Self, ArchiveError> {
        let lower = name.as_str().to_ascii_lowercase();
        let kind = if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            Self::Zip
        } else if start.get(USTAR) == Some(b"ustar") {
            Self::Tar
        } else if version::looks_like_a_web_page(start) {
            return Err(ArchiveError::WebPage);
        } else if lower.ends_with(".tar") && !start.is_empty() {
            // Before POSIX, a tar had no magic; the checksum of its first header will tell.
            Self::Tar
        } else {
            Self::Other
        };
        let expected = if lower.ends_with(".gz") || lower.ends_with(".tgz") {
            (kind != Self::Gzip).then_some("gzip")
        } else if lower.ends_with(".zip") {
            (kind != Self::Zip).then_some("a zip")
        } else if lower.ends_with(".tar") {
            (kind != Self::Tar).then_some("a tar")
        } else if lower.ends_with(".xml") {
            (kind != Self::Other || !version::looks_like_xml(start)).then_some("XML")
        } else {
            // Compressed under a name that does not say so: taken as it is, and not opened.
            return Ok(if kind == Self::Gzip { Self::Other } else { kind });
        };
        expected.map_or(Ok(kind), |expected| Err(ArchiveError::OtherKind { expected }))
    }
}

/// What to do with each member.
pub(super) trait Visitor {
    fn directory(&mut self, path: &Path) -> Result<(), ArchiveError>;
    /// `content` need not be read to its end.
    fn file(&mut self, path: &Path, content: &mut dyn Read) -> Result<(), ArchiveError>;
}

/// Looks for the version and leaves it at that.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) version: Option<Version>,
}

impl Visitor for Look {
    fn directory(&mut self, _path: &Path) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn file(&mut self, _path: &Path, content: &mut dyn Read) -> Result<(), ArchiveError> {
        if self.version.is_none() {
            self.version = version::find(content);
        }
        Ok(())
    }
}

/// Walks what can be walked front to back: the number of files, and the version where the content names one.
pub(super) fn walk(
    source: &mut dyn Read,
    kind: Kind,
    name: &FileName,
    limits: &Limits,
) -> Result<(u64, Option<Version>), ArchiveError> {
    let mut look = Look::default();
    let members = match kind {
        Kind::Tar => walk_tar(source, limits, &mut look)?,
        // A compressed zip is carried as it is.
        Kind::Gzip | Kind::Zip | Kind::Other => {
            look.file(Path::new(name.as_str()), source)?;
            1
        }
    };
    Ok((members, look.version))
}

/// Walks a tar.
pub(super) fn walk_tar(source: &mut dyn Read, limits: &Limits, visitor: &mut dyn Visitor) -> Result<u64, ArchiveError> {
    let read = Cell::new(0);
    let mut archive = tar::Archive::new(Counted { inner: source, count: &read });
    let mut names = Names::new(limits.archive_members);
    let (mut files, mut members) = (0, 0);
    let mut end: u64 = 0;
    // Raw entries, since the reader would otherwise hold extension headers of any size in memory.
    let mut long_name: Option<Vec<u8>> = None;
    for entry in archive.entries().map_err(ArchiveError::Damaged)?.raw(true) {
        let mut entry = entry.map_err(ArchiveError::Damaged)?;
        let content_end = entry.raw_file_position().saturating_add(entry.size());
        end = content_end.div_ceil(BLOCK).saturating_mul(BLOCK);
        let entry_type = entry.header().entry_type();
        match entry_type {
            EntryType::GNULongName => {
                let mut name = extension(&mut entry)?;
                if name.last() == Some(&0) {
                    name.pop();
                }
                long_name = Some(name);
                continue;
            }
            EntryType::XHeader => {
                let records = extension(&mut entry)?;
                for record in tar::PaxExtensions::new(&records) {
                    let record = record.map_err(ArchiveError::Damaged)?;
                    match record.key_bytes() {
                        b"path" => long_name = Some(record.value_bytes().to_vec()),
                        // Another length than the header's makes two readers see two archives.
                        b"size" => return Err(odd(&entry, "of two lengths")),
                        _ => {}
                    }
                }
                continue;
            }
            EntryType::XGlobalHeader => {
                extension(&mut entry)?;
                continue;
            }
            _ => {}
        }
        members += 1;
        if members > limits.archive_members {
            return Err(ArchiveError::TooManyMembers { limit: limits.archive_members });
        }
        let raw = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let kind = match entry_type {
            // Old tars mark directories by the slash alone.
            EntryType::Regular | EntryType::Continuous if raw.ends_with(b"/") => MemberKind::Directory,
            EntryType::Regular | EntryType::Continuous => MemberKind::File,
            EntryType::Directory => MemberKind::Directory,
            EntryType::Link | EntryType::Symlink | EntryType::GNULongLink => return Err(odd(&entry, "a link")),
            EntryType::Char | EntryType::Block => return Err(odd(&entry, "a device")),
            EntryType::Fifo => return Err(odd(&entry, "a pipe")),
            EntryType::GNUSparse => return Err(odd(&entry, "a sparse file")),
            _ => return Err(odd(&entry, "of an unknown kind")),
        };
        let Some(path) = names.admit(&raw, kind)? else { continue };
        match kind {
            MemberKind::Directory => visitor.directory(&path)?,
            MemberKind::File => {
                files += 1;
                visitor.file(&path, &mut entry)?;
            }
        }
        // The reader skips what is left, and does not say so where the archive ends within it.
        io::copy(&mut entry, &mut io::sink()).map_err(ArchiveError::Damaged)?;
        if read.get() < content_end {
            return Err(ArchiveError::Truncated);
        }
    }
    if members == 0 {
        return Err(ArchiveError::Damaged(io::Error::new(io::ErrorKind::InvalidData, "a tar without members")));
    }
    // A tar ends with blocks of zeros. Without one it was cut between two members, which the reader takes for an end.
    if read.get() < end.saturating_add(BLOCK) || long_name.is_some() {
        return Err(ArchiveError::Truncated);
    }
    only_zeros(&mut archive.into_inner())?;
    Ok(files)
}

/// What follows the end of a tar is padding; anything else would be carried along without having been looked at.
fn only_zeros(rest: &mut dyn Read) -> Result<(), ArchiveError> {
    let mut buffer = [0; 8 << 10];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) if buffer[..count].iter().all(|byte| *byte == 0) => {}
            Ok(_) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, "there is something behind the tar's end");
                return Err(ArchiveError::Damaged(error));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ArchiveError::Damaged(error)),
        }
    }
}

fn extension<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
    let size = entry.size();
    if size > MAX_EXTENSION_BYTES {
        return Err(ArchiveError::TooLarge { what: "a name in the archive", limit: MAX_EXTENSION_BYTES });
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(ArchiveError::Damaged)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(ArchiveError::Truncated) }
}

fn odd<R: Read>(entry: &tar::Entry<'_, R>, kind: &'static str) -> ArchiveError {
    ArchiveError::MemberKind { name: shown(&entry.path_bytes()), kind }
}

/// Walks a zip; each member is read to its end, so that its checksum is checked.
pub(super) fn walk_zip<R: Read + Seek>(
    source: &mut R,
    limits: &Limits,
    visitor: &mut dyn Visitor,
) -> Result<u64, ArchiveError> {
    let mut zip = ZipFile::open(source, &Rules::vendors(limits)).map_err(ArchiveError::Zip)?;
    let mut files = 0;
    for index in 0..zip.entries().len() {
        let entry = &zip.entries()[index];
        let path = PathBuf::from(&entry.name);
        if entry.is_dir {
            visitor.directory(&path)?;
            continue;
        }
        files += 1;
        let mut content = zip.read(index).map_err(ArchiveError::Zip)?;
        visitor
            .file(&path, &mut content)
            .and_then(|()| io::copy(&mut content, &mut io::sink()).map(drop).map_err(ArchiveError::Damaged))
            .map_err(|error| match error {
                ArchiveError::Damaged(error) => {
                    ZipFileError::within(error).map_or_else(ArchiveError::Damaged, ArchiveError::Zip)
                }
                other => other,
            })?;
    }
    Ok(files)
}

/// Counts what is read through it.
struct Counted<'a, R> {
    inner: R,
    count: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}
