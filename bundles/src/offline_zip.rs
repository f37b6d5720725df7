//! Zips that are carried by hand. The same members give the same bytes, whatever the machine, the time zone or the order
//! of directories: order, times and attributes are fixed (design, section 6).

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::name::BadName;
use crate::{Digest, DigestWriter, FileName, MemberPath, Reason, Reasoned};

/// From this size on, a member's sizes do not fit the 32-bit fields, less what deflate may add to incompressible input.
pub(crate) const ZIP64_FROM: u64 = 0xFFFF_FFFF - (16 << 20);

/// What `zip` and Info-ZIP use by default; fixed, since the bytes depend on it.
const DEFLATE_LEVEL: i64 = 6;

/// One file of a zip, opened only when it is written.
pub struct Member<'a> {
    /// The path inside.
    pub name: MemberPath,
    /// In bytes; what `open` gives must have exactly this length.
    pub length: u64,
    /// What it must hash to, where that was settled before: a disk that rots must not fill a zip whose damage is only found
    /// where it was carried to.
    pub sha256: Option<Digest>,
    /// Opens the content.
    pub open: Box<dyn Fn() -> io::Result<Box<dyn Read + 'a>> + 'a>,
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("name", &self.name).field("length", &self.length).finish_non_exhaustive()
    }
}

/// Writes the members in the order given: stored where the name says that the content is compressed already, deflated
/// otherwise. Nothing is held in memory. `progress` is told of each piece of input, in bytes.
///
/// The sizes stand in front of each member and not behind it: Java's `ZipInputStream`, which ISE is built on, refuses
/// stored members whose sizes follow.
///
/// # Errors
/// Two members of one name, a member of another length or digest than said, or one that cannot be read; or `out` cannot be
/// written.
/// What was written to `out` until then is not a zip.
pub fn write<W: Write + Seek>(out: W, members: &[Member<'_>], progress: &mut dyn FnMut(u64)) -> Result<W, ZipError> {
    let mut names = HashSet::new();
    if let Some(twice) = members.iter().find(|member| !names.insert(member.name.as_str().to_ascii_lowercase())) {
        return Err(ZipError::Twice { name: twice.name.clone() });
    }
    let mut zip = ZipWriter::new(out);
    for member in members {
        let options = options(member.name.as_str(), member.length);
        zip.start_file(member.name.as_str(), options).map_err(|source| ZipError::Write { source: source.into() })?;
        let read = |source| ZipError::Read { name: member.name.clone(), source };
        let mut content = (member.open)().map_err(read)?;
        let mut buffer = vec![0; 64 << 10];
        let mut length = 0;
        let mut hashed = DigestWriter::new(io::sink());
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read(error)),
            };
            length += count as u64;
            // Checked on the way: a file that grows must not make the sizes in front lie.
            if length > member.length {
                break;
            }
            if member.sha256.is_some() {
                hashed.write_all(&buffer[..count]).map_err(read)?;
            }
            zip.write_all(&buffer[..count]).map_err(|source| ZipError::Write { source })?;
            progress(count as u64);
        }
        if length != member.length {
            return Err(ZipError::Length { name: member.name.clone(), expected: member.length });
        }
        let (found, _, _) = hashed.finish();
        if let Some(expected) = member.sha256.filter(|expected| *expected != found) {
            return Err(ZipError::Differs { name: member.name.clone(), expected, found });
        }
    }
    zip.finish().map_err(|source| ZipError::Write { source: source.into() })
}

/// How a member is written, so that the same content gives the same bytes.
pub(crate) fn options(name: &str, length: u64) -> SimpleFileOptions {
    let options = SimpleFileOptions::default()
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644)
        .large_file(length >= ZIP64_FROM);
    if is_compressed(name) {
        options.compression_method(CompressionMethod::Stored)
    } else {
        options.compression_method(CompressionMethod::Deflated).compression_level(Some(DEFLATE_LEVEL))
    }
}

/// Deflating these again costs time and saves nothing.
fn is_compressed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".gz", ".tgz", ".zip", ".zst", ".xz", ".bz2"].iter().any(|suffix| name.ends_with(suffix))
}

/// The line of a `.sha256` file beside a zip, as `sha256sum -c` reads it.
#[must_use]
pub fn sha256_line(digest: &Digest, name: &FileName) -> String {
    format!("{digest}  {name}\n")
}

/// Why a zip was not written.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// Two members of one name, letter case aside.
    #[error("two files of the zip are named {name}")]
    Twice {
        /// The path.
        name: MemberPath,
    },
    /// A member has another length than said.
    #[error("{name} does not have the {expected} bytes that it should have; it changed or was damaged on disk")]
    Length {
        /// The member.
        name: MemberPath,
        /// The length said.
        expected: u64,
    },
    /// A member has other content than said.
    #[error(
        "{name} is damaged on disk: its SHA-256 is {found}, and what was checked when it came has {expected}; check the disk"
    )]
    Differs {
        /// The member.
        name: MemberPath,
        /// The digest said.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// A member cannot be read.
    #[error("{name} cannot be read; check the disk")]
    Read {
        /// The member.
        name: MemberPath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A name that is too long to stand below a folder.
    #[error("a file of the release cannot be a member of the zip; its name is too long")]
    Name(#[source] BadName),
    /// The zip cannot be written.
    #[error("the zip cannot be written; check free space and permissions")]
    Write {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Reasoned for ZipError {
    fn reason(&self) -> Reason {
        match self {
            Self::Twice { .. } | Self::Name(_) => Reason::BadArchive,
            Self::Length { .. } | Self::Differs { .. } | Self::Read { .. } | Self::Write { .. } => Reason::Storage,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn member<'a>(name: &str, content: &'a [u8]) -> Member<'a> {
        Member {
            name: MemberPath::parse(name).unwrap(),
            length: content.len() as u64,
            sha256: Some(Digest::of(content)),
            open: Box::new(move || Ok(Box::new(content))),
        }
    }

    fn written(members: &[Member<'_>]) -> Vec<u8> {
        write(Cursor::new(Vec::new()), members, &mut |_| {}).unwrap().into_inner()
    }

    #[test]
    fn compressed_members_are_stored_and_others_deflated() {
        let text = b"<index/>".repeat(100);
        let zip = written(&[member("posture-update.xml", &text), member("osgroups.tar.gz", b"bytes")]);
        let mut archive = zip::ZipArchive::new(Cursor::new(&zip)).unwrap();
        let index = archive.by_index(0).unwrap();
        assert_eq!(
            (index.name().unwrap().as_ref(), index.compression()),
            ("posture-update.xml", CompressionMethod::Deflated)
        );
        assert!(index.compressed_size() < index.size());
        drop(index);
        let groups = archive.by_index(1).unwrap();
        assert_eq!(
            (groups.name().unwrap().as_ref(), groups.compression()),
            ("osgroups.tar.gz", CompressionMethod::Stored)
        );
        assert_eq!(groups.unix_mode(), Some(0o100_644));
        // Sizes in front: bit 3 of the flags, "sizes follow", is clear in the first local header.
        assert_eq!(zip[6] & 0x08, 0);
    }

    #[test]
    fn members_that_are_not_as_said_are_refused() {
        let refused = |members: &[Member<'_>]| write(Cursor::new(Vec::new()), members, &mut |_| {}).unwrap_err();
        assert!(matches!(refused(&[member("a", b""), member("A", b"")]), ZipError::Twice { .. }));
        for said in [2, 4] {
            let mut lying = member("a", b"123");
            lying.length = said;
            assert!(matches!(refused(&[lying]), ZipError::Length { .. }));
        }
        let mut rotten = member("a", b"123");
        rotten.sha256 = Some(Digest::of(b"124"));
        let error = refused(&[rotten]);
        assert!(matches!(error, ZipError::Differs { .. }) && error.reason() == Reason::Storage, "{error}");
        let unreadable = Member {
            name: MemberPath::parse("a").unwrap(),
            length: 0,
            sha256: None,
            open: Box::new(|| Err(io::Error::other("a media error"))),
        };
        assert!(matches!(refused(&[unreadable]), ZipError::Read { .. }));
    }

    #[test]
    fn pythons_zipfile_agrees() {
        let text = b"<index/>".repeat(100);
        let bytes = written(&[member("posture-update.xml", &text), member("osgroups.tar.gz", b"bytes")]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let program = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
            print([(i.filename, i.file_size, i.date_time, i.create_system, oct(i.external_attr >> 16)) for i in z.infolist()])";
        let python = std::process::Command::new("python3").args(["-c", program]).arg(file.path()).output();
        let Ok(output) = python else {
            eprintln!("skipped: there is no python3 here");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap().trim(),
            "[('posture-update.xml', 800, (1980, 1, 1, 0, 0, 0), 3, '0o100644'), \
             ('osgroups.tar.gz', 5, (1980, 1, 1, 0, 0, 0), 3, '0o100644')]"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_is_the_same_each_time(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2_000), 0..5)
        ) {
            let members = || -> Vec<Member<'_>> {
                let name = |i: usize| if i.is_multiple_of(2) { format!("m{i}.gz") } else { format!("m{i}.xml") };
                contents.iter().enumerate().map(|(i, content)| member(&name(i), content)).collect()
            };
            let zip = written(&members());
            prop_assert_eq!(&zip, &written(&members()));
            let mut archive = zip::ZipArchive::new(Cursor::new(&zip)).unwrap();
            prop_assert_eq!(archive.len(), contents.len());
            for (i, content) in contents.iter().enumerate() {
                let mut read = Vec::new();
                archive.by_index(i).unwrap().read_to_end(&mut read).unwrap();
                prop_assert_eq!(&read, content);
            }
        }
    }
}
