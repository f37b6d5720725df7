//! Archives as upstream makes them: checked and opened while they stream, so that none is ever whole in memory.
//!
//! An archive that passes [`open`] is whole, of the kind that its name says, within limits, and holds members that
//! [`unpack`] can write: both walk it with the same rules. The exception is a zip inside of a gzip, which cannot be read
//! front to back: its members are first looked at by [`unpack`].

mod error;
mod flow;
mod unpack;
mod version;
mod walk;

#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use flate2::bufread::MultiGzDecoder;

pub use error::ArchiveError;
pub use unpack::unpack;

use crate::release::FileRef;
use crate::{DigestWriter, FileName, Limits, Version};
use flow::{Flow, Trouble};
use walk::Kind;

/// What an archive turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The archive itself.
    pub archive: FileRef,
    /// What it opens to; the same as `archive` where it is not compressed as a whole.
    pub payload: FileRef,
    /// Whether the payload is another file than the archive, and was written.
    pub compressed: bool,
    /// Files inside; 1 where it is no container.
    pub members: u64,
    /// The version that its content names: the first `SDKVersion`, or a `version` on a root that is not a stylesheet.
    pub version: Option<Version>,
}

/// Reads an archive from its beginning to its end: hashes it, opens it into `payload`, walks its members.
///
/// Nothing is written to `payload` where the archive is its own payload (`.tar`, `.zip`, `.xml`, anything unknown). At
/// most [`Limits::opened`] bytes are written.
///
/// # Errors
/// The archive is damaged, cut short, of another kind than its name says, past a limit, or holds a member that must not
/// be unpacked; or reading or writing fails. What was written to `payload` until then is worthless.
pub fn open<A: Read + Seek>(
    archive: &mut A,
    name: &FileName,
    limits: &Limits,
    payload: &mut dyn Write,
) -> Result<Opened, ArchiveError> {
    let length = archive.seek(SeekFrom::End(0)).map_err(ArchiveError::Read)?;
    if length > limits.archive_bytes {
        return Err(ArchiveError::TooLarge { what: "the archive", limit: limits.archive_bytes });
    }
    archive.seek(SeekFrom::Start(0)).map_err(ArchiveError::Read)?;
    let start = flow::start_of(archive).map_err(ArchiveError::Read)?;
    archive.seek(SeekFrom::Start(0)).map_err(ArchiveError::Read)?;
    let source = BufReader::with_capacity(64 << 10, archive);
    let kind = Kind::of(name, &start)?;
    if kind == Kind::Gzip {
        open_gzip(source, name, limits, length, payload)
    } else {
        open_plain(source, name, limits, kind)
    }
}

/// As [`open`], for an archive that is compressed as a whole and comes front to back, such as a member of a zip.
///
/// # Errors
/// As [`open`]; or the archive is of another kind, since that may have to be read from its end.
pub fn open_stream<A: Read>(
    mut archive: A,
    file: &FileRef,
    limits: &Limits,
    payload: &mut dyn Write,
) -> Result<Opened, ArchiveError> {
    if file.length > limits.archive_bytes {
        return Err(ArchiveError::TooLarge { what: "the archive", limit: limits.archive_bytes });
    }
    let start = flow::start_of(&mut archive).map_err(ArchiveError::Read)?;
    if Kind::of(&file.name, &start)? != Kind::Gzip {
        return Err(ArchiveError::OtherKind { expected: "gzip" });
    }
    let mut whole = start.as_slice().chain(archive);
    open_gzip(BufReader::with_capacity(64 << 10, &mut whole), &file.name, limits, file.length, payload)
}

fn open_gzip<A: Read>(
    source: BufReader<&mut A>,
    name: &FileName,
    limits: &Limits,
    length: u64,
    payload: &mut dyn Write,
) -> Result<Opened, ArchiveError> {
    let trouble = Trouble::default();
    // Compressed bytes are hashed on their way into the decoder, opened ones on their way out of it.
    let hashed = flow::Hashed::new(source, trouble.clone());
    let decoder = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, hashed));
    let mut content = Flow::new(decoder, payload, limits.opened(length), trouble.clone());

    let payload_name = name.payload();
    let read = |content: &mut Flow<'_, _>| -> Result<(u64, Option<Version>), ArchiveError> {
        let mut content = BufReader::with_capacity(64 << 10, content);
        let start = flow::start_of(&mut content).map_err(ArchiveError::Damaged)?;
        let inner = Kind::of(&payload_name, &start)?;
        let mut content = start.as_slice().chain(content);
        let walked = walk::walk(&mut content, inner, &payload_name, limits)?;
        io::copy(&mut content, &mut io::sink()).map_err(ArchiveError::Damaged)?;
        Ok(walked)
    };
    let (members, version) = read(&mut content).map_err(|error| trouble.explain(error))?;
    let (payload_digest, payload_length, decoder) = content.finish();
    let (archive_digest, archive_length) = decoder.into_inner().into_inner().finish();
    Ok(Opened {
        archive: FileRef { name: name.clone(), sha256: archive_digest, length: archive_length },
        payload: FileRef { name: payload_name, sha256: payload_digest, length: payload_length },
        compressed: true,
        members,
        version,
    })
}

fn open_plain<A: Read + Seek>(
    mut source: BufReader<&mut A>,
    name: &FileName,
    limits: &Limits,
    kind: Kind,
) -> Result<Opened, ArchiveError> {
    // Walked apart from hashing it: a zip is read from its end.
    let (members, version) = if kind == Kind::Zip {
        let mut look = walk::Look::default();
        (walk::walk_zip(source.get_mut(), limits, &mut look)?, look.version)
    } else {
        walk::walk(&mut source, kind, name, limits)?
    };
    source.seek(SeekFrom::Start(0)).map_err(ArchiveError::Read)?;
    let mut sink = DigestWriter::new(io::sink());
    io::copy(&mut source, &mut sink).map_err(ArchiveError::Read)?;
    let (sha256, length, _) = sink.finish();
    let archive = FileRef { name: name.clone(), sha256, length };
    Ok(Opened { payload: archive.clone(), archive, compressed: false, members, version })
}
