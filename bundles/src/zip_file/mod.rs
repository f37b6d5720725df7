//! Zips that come from outside: read only if every reader reads the same out of them.
//!
//! A zip says everything twice or three times: in its end record, in its directory and in front of each member. Readers
//! differ in which of them they believe, so whoever makes them differ shows one zip to a virus scanner and another to us.
//! Before a byte of content is read, [`ZipFile::open`] sees that all of them agree, that members lie one behind the other
//! with nothing in front, behind or between, and that names, kinds and lengths are what may be unpacked. What then is read
//! is what was looked at: there is no second look at the structure. The inflating and the checksum are `flate2`'s, which
//! is what the `zip` crate has underneath; from there it is known where a content ends, so that nothing hides behind it.
//!
//! | hazard | held by |
//! | --- | --- |
//! | something before, behind or between members; overlapping members | `local`: they tile the file; `end`: one end, at the end |
//! | directory and local headers disagree; lengths that lie; ZIP64 that lies | `local`, `extra`, `end`, and [`Content`] |
//! | bombs | [`Limits`](crate::Limits): members, ratio, bytes, of each and of all; no overlap; [`Content`] ends where declared |
//! | paths that lead out, names that are one to some file system | `central`, with the rules for members of archives |
//! | links, devices, encryption, unknown methods, parts of several files | `central` |
//!
//! Not looked at: what a member holds. A zip within the zip is bytes, and whoever opens it does so with limits of its own.

mod central;
mod content;
mod end;
mod error;
mod extra;
mod fields;
mod local;
mod medium;
mod rules;

#[cfg(test)]
mod tests;

use std::io::{BufReader, Read, Seek, SeekFrom};

use flate2::bufread::DeflateDecoder;

pub use content::Content;
pub use error::ZipFileError;
pub use rules::Rules;

use content::Source;
use fields::Method;
use medium::Medium;

/// A zip whose structure holds.
#[derive(Debug)]
pub struct ZipFile<F> {
    file: F,
    entries: Vec<ZipEntry>,
}

/// A file or a directory of a zip, in the order of its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZipEntry {
    /// A relative path of plain parts with `/` between them; of a directory without the `/` at its end. No two are one to
    /// any file system, and none lies inside of a file.
    pub name: String,
    /// Whether it is a directory, and so has no content.
    pub is_dir: bool,
    /// Bytes of its content.
    pub length: u64,
    /// Bytes that the content has in the zip.
    pub compressed: u64,
    method: Method,
    crc: u32,
    start: u64,
}

impl<F: Read + Seek> ZipFile<F> {
    /// Reads the structure, and checks all of it. In memory are the names and some 100 bytes for each member, of which
    /// there are at most `archive_members`; what is read is the directory and what lies in front of each member.
    ///
    /// # Errors
    /// The file is no zip, is cut short or damaged, could be read in two ways, holds what must not be unpacked, or exceeds
    /// a limit; or it cannot be read.
    pub fn open(mut file: F, rules: &Rules) -> Result<Self, ZipFileError> {
        let length = file.seek(SeekFrom::End(0)).map_err(ZipFileError::medium)?;
        let directory = end::find(&mut file, length, rules)?;
        let headers = central::read(&mut file, length, directory, rules)?;
        let starts = local::check(&mut file, &headers, directory.offset, rules)?;
        let entries = headers.into_iter().zip(starts).filter(|(header, _)| !header.name.is_empty());
        let entries = entries.map(|(header, start)| ZipEntry {
            name: header.name,
            is_dir: header.is_dir,
            length: header.length,
            compressed: header.compressed,
            method: header.method,
            crc: header.crc,
            start,
        });
        Ok(Self { entries: entries.collect(), file })
    }

    /// A member's content, from its beginning.
    ///
    /// # Errors
    /// There is no such member, or the file cannot be read.
    pub fn read(&mut self, index: usize) -> Result<Content<'_, F>, ZipFileError> {
        let entry = self.entries.get(index).ok_or(ZipFileError::NoEntry { index })?;
        self.file.seek(SeekFrom::Start(entry.start)).map_err(ZipFileError::medium)?;
        let bytes = Medium(&mut self.file).take(entry.compressed);
        let source = match entry.method {
            Method::Stored => Source::Stored(bytes),
            Method::Deflated => {
                Source::Deflated(Box::new(DeflateDecoder::new(BufReader::with_capacity(64 << 10, bytes))))
            }
        };
        Ok(Content::new(entry, source))
    }
}

impl<F> ZipFile<F> {
    /// All members, in the directory's order, without the zip's own top directory where it is named.
    #[must_use]
    pub fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    /// Where a name stands among [`Self::entries`].
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }

    /// The file back.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.file
    }
}
