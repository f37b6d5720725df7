//! A capture: what upstream answered, kept verbatim in one zip, so that it can be looked at, shared and replayed where
//! upstream cannot be reached.
//!
//! `capture.json` says what was asked and answered; `index/body` and `index/headers` are the index as it came,
//! `chain/0.der`, … the certificates that were presented, leaf first, and `archives/<n>-<name>` the archives where they
//! were asked for. What may be secret is not in it: see [`is_secret_header`]. With [`shape`], the index's structure is kept
//! and its content is not.

mod shape;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use zip::ZipWriter;

use crate::archive::{self, ArchiveError};
use crate::{Digest, DigestWriter, FileName, Limits, Reason, Reasoned, offline_zip};

pub use shape::shape;

/// The one format so far; others are refused.
pub const FORMAT: u32 = 1;

/// The member that says what the others are.
pub const FACTS: &str = "capture.json";

/// Bytes of [`FACTS`]: a thousand archives' headers are about one MiB; more is no capture of ours.
const MAX_FACTS: u64 = 16 << 20;

/// What was asked, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// [`FORMAT`].
    pub format: u32,
    /// Which program made it.
    pub made_by: String,
    /// When.
    pub at: Timestamp,
    /// Whether the index's content was replaced by placeholders of the same shape.
    pub shape_only: bool,
    /// The index.
    pub index: Exchange,
    /// The archives that were asked for.
    #[serde(default)]
    pub archives: Vec<Exchange>,
    /// The chains that hosts presented.
    #[serde(default)]
    pub chains: Vec<Chain>,
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What was asked for.
    pub url: Url,
    /// What led elsewhere.
    #[serde(default)]
    pub redirects: Vec<Redirect>,
    /// Where it was found, and so what relative locators are relative to.
    pub found: Url,
    /// What was sent.
    #[serde(default)]
    pub request: Vec<Header>,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers, in their order.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// Its body; absent where none is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// A redirect that was followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// From where.
    pub from: Url,
    /// By which status.
    pub status: u16,
    /// To where.
    pub to: Url,
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// In lower case.
    pub name: String,
    /// As sent, where it is text.
    pub value: String,
}

/// A body that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The member of the zip.
    pub path: String,
    /// In bytes.
    pub length: u64,
    /// Of its bytes.
    pub sha256: Digest,
    /// Whether it was taken to its end.
    pub is_whole: bool,
}

/// The chain that a host presented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Who presented it.
    pub host: String,
    /// Why it was not trusted, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The leaf first.
    pub certificates: Vec<Certificate>,
}

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The member of the zip that holds it, DER.
    pub path: String,
    /// What it says, for people.
    #[serde(default)]
    pub facts: serde_json::Value,
}

/// A member of the zip, and the file that holds its bytes until it is written.
#[derive(Debug, Clone)]
pub struct Part {
    /// The member's path.
    pub path: String,
    /// Where its bytes are.
    pub file: PathBuf,
}

/// Whether a header may tell secrets or who sits in between: credentials, cookies, proxies. Its value is not kept.
#[must_use]
pub fn is_secret_header(name: &str) -> bool {
    const SECRET: [&str; 9] =
        ["cookie", "authoriz", "authenticat", "proxy", "token", "forwarded", "x-cache", "x-real-ip", "client-ip"];
    let name = name.to_ascii_lowercase();
    name == "via" || SECRET.iter().any(|word| name.contains(word))
}

/// What stands in the place of a header's value that is not kept.
pub const REMOVED: &str = "(removed)";

/// Writes a capture. The same capture and parts give the same bytes.
///
/// # Errors
/// A part cannot be read, or `out` cannot be written.
pub fn write<W: Write + Seek>(out: W, capture: &Capture, parts: &[Part]) -> Result<W, CaptureError> {
    let mut zip = ZipWriter::new(out);
    let zipped = |source: zip::result::ZipError| CaptureError::Write { source: source.into() };
    let facts = serde_json::to_vec_pretty(capture).map_err(|source| CaptureError::Facts { source })?;
    zip.start_file(FACTS, offline_zip::options(FACTS, facts.len() as u64)).map_err(zipped)?;
    zip.write_all(&facts).map_err(|source| CaptureError::Write { source })?;
    for part in parts {
        let read = |source| CaptureError::Read { path: part.path.clone(), source };
        let mut file = File::open(&part.file).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        zip.start_file(part.path.as_str(), offline_zip::options(&part.path, length)).map_err(zipped)?;
        io::copy(&mut file, &mut zip).map_err(|source| CaptureError::Write { source })?;
    }
    zip.finish().map_err(zipped)
}

/// A capture that was read, its members unpacked.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What it says.
    pub capture: Capture,
    directory: PathBuf,
}

impl Opened {
    /// Where a member lies. Only paths that the capture names lead anywhere.
    #[must_use]
    pub fn path(&self, member: &str) -> PathBuf {
        self.directory.join(member)
    }

    /// Opens a body.
    ///
    /// # Errors
    /// The file is gone.
    pub fn body(&self, body: &Body) -> io::Result<File> {
        File::open(self.path(&body.path))
    }
}

/// Whether a zip's bytes look like a capture: its first member is [`FACTS`].
#[must_use]
pub fn is_capture(start: &[u8]) -> bool {
    // The local header is 30 bytes, and the name follows (APPNOTE.TXT, section 4.3.7).
    start.starts_with(b"PK\x03\x04") && start.get(30..).is_some_and(|name| name.starts_with(FACTS.as_bytes()))
}

/// Reads a capture: unpacks it into an empty directory, and holds every member that it names to its length and digest.
///
/// # Errors
/// It is no zip, past a limit, no capture of this format, or a member is not as it says.
pub fn read<R: Read + Seek>(zip: &mut R, into: &Path, limits: &Limits) -> Result<Opened, CaptureError> {
    let name = FileName::parse("capture.zip").map_err(|_| CaptureError::NoFacts)?;
    let members = archive::unpack(zip, &name, into, limits).map_err(|source| CaptureError::Zip { source })?;
    let members: BTreeSet<PathBuf> = members.into_iter().collect();
    if !members.contains(Path::new(FACTS)) {
        return Err(CaptureError::NoFacts);
    }
    let mut facts = Vec::new();
    let facts_read = |source| CaptureError::Read { path: FACTS.to_owned(), source };
    let file = File::open(into.join(FACTS)).map_err(facts_read)?;
    file.take(MAX_FACTS + 1).read_to_end(&mut facts).map_err(facts_read)?;
    if facts.len() as u64 > MAX_FACTS {
        return Err(CaptureError::TooLarge { limit: MAX_FACTS });
    }
    let capture: Capture = serde_json::from_slice(&facts).map_err(|source| CaptureError::Facts { source })?;
    if capture.format != FORMAT {
        return Err(CaptureError::Format { found: capture.format });
    }
    let named = |path: &str| {
        let missing = || CaptureError::Missing { path: path.chars().take(200).collect() };
        members.get(Path::new(path)).cloned().ok_or_else(missing)
    };
    for body in capture.bodies() {
        let member = named(&body.path)?;
        let read = |source| CaptureError::Read { path: body.path.clone(), source };
        let mut hashed = DigestWriter::new(io::sink());
        io::copy(&mut File::open(into.join(member)).map_err(read)?, &mut hashed).map_err(read)?;
        let (sha256, length, _) = hashed.finish();
        if (sha256, length) != (body.sha256, body.length) {
            return Err(CaptureError::Differs { path: body.path.clone() });
        }
    }
    for certificate in capture.chains.iter().flat_map(|chain| &chain.certificates) {
        named(&certificate.path)?;
    }
    Ok(Opened { capture, directory: into.to_owned() })
}

impl Capture {
    /// Every exchange, the index's first.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        std::iter::once(&self.index).chain(&self.archives)
    }

    fn bodies(&self) -> impl Iterator<Item = &Body> {
        self.exchanges().filter_map(|exchange| exchange.body.as_ref())
    }
}

impl Exchange {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(&header.value)
    }

    /// The answer's head as people know it.
    #[must_use]
    pub fn head(&self) -> String {
        let mut text = format!("HTTP/1.1 {}\r\n", self.status);
        for Header { name, value } in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text
    }
}

/// Why there is no capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The zip cannot be opened.
    #[error("the capture cannot be opened")]
    Zip {
        /// Why not.
        #[source]
        source: ArchiveError,
    },
    /// A zip of something else.
    #[error("the zip holds no capture.json, so it is no capture; make one with `feed-server capture`")]
    NoFacts,
    /// The member that says what the others are is longer than any of ours.
    #[error("the capture's capture.json has more than {limit} bytes; it is none of ours")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// Not JSON of the right shape.
    #[error("the capture's capture.json cannot be understood")]
    Facts {
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Of a newer program.
    #[error(
        "the capture is of format {found}, and only {FORMAT} is known; use the program that made it, or a newer one"
    )]
    Format {
        /// Its format.
        found: u32,
    },
    /// A member that is named and not there.
    #[error("the capture names {path:?} and does not hold it; it is damaged: make it again")]
    Missing {
        /// The member.
        path: String,
    },
    /// A member with other bytes than said.
    #[error("the capture's {path} is not what capture.json says; it is damaged: make it again")]
    Differs {
        /// The member.
        path: String,
    },
    /// A member cannot be read.
    #[error("the capture's {path} cannot be read; check the disk")]
    Read {
        /// The member.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The zip cannot be written.
    #[error("the capture cannot be written; check free space and permissions")]
    Write {
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl Reasoned for CaptureError {
    fn reason(&self) -> Reason {
        match self {
            Self::Zip { source } => source.reason(),
            Self::NoFacts | Self::Facts { .. } | Self::Format { .. } | Self::Missing { .. } => Reason::BadArchive,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Differs { .. } => Reason::DigestMismatch,
            Self::Read { .. } | Self::Write { .. } => Reason::Storage,
        }
    }
}
