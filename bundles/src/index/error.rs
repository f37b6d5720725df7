//! Why bytes are not an index.

use url::Url;

use crate::name::BadName;
use crate::{FileName, Reason, Reasoned};

/// Why bytes are not an index that can be used. Nothing of such an index is used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Past a bound of [`crate::Limits`] or of this module.
    #[error("the index has more than {limit} {what}; if it is genuine, raise the limit in [limits]")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The declared encoding is none that is known.
    #[error("the index says that it is encoded as {label:?}, which is no known encoding")]
    UnknownEncoding {
        /// As declared.
        label: String,
    },
    /// The bytes are those of gzip: a server or a proxy compresses what nobody asked it to compress.
    #[error(
        "the index came compressed (gzip), though it was asked for as it is; ask whoever runs upstream, or the proxy on the \
         way to it, to leave it alone"
    )]
    Compressed,
    /// The bytes are not of the encoding that they claim.
    #[error("the index is not valid {encoding}; it is damaged, or no XML at all")]
    Undecodable {
        /// Declared, or found by its byte order mark.
        encoding: &'static str,
    },
    /// No XML, or not well-formed.
    #[error("line {line} of the index is not XML; open its URL in a browser from this network")]
    NotXml {
        /// Where.
        line: usize,
        /// What the parser says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Text or a second root outside the root element, or no root at all.
    #[error("line {line} of the index is not XML: {what}; open its URL in a browser from this network")]
    Shape {
        /// Where.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A page for people.
    #[error(
        "instead of the index came an HTML page, perhaps a login page or an error page; open its URL in a browser from this network"
    )]
    Html,
    /// An entity that XML itself does not define. Those of a DOCTYPE are not read, so nothing can be expanded.
    #[error("line {line} of the index uses the entity &{name};, and only XML's own five are understood")]
    Entity {
        /// Its name.
        name: String,
        /// Where.
        line: usize,
    },
    /// XML, but nothing in it is a locator.
    #[error("the index is XML (its root is <{root}>) but names no archive; is its URL that of the posture feed?")]
    NoEntries {
        /// The root element's name.
        root: String,
    },
    /// A locator that is no URL reference.
    #[error("line {line} of the index has {locator:?} for a locator, which is no URL")]
    Locator {
        /// As written.
        locator: String,
        /// Where.
        line: usize,
        /// Why not.
        #[source]
        source: url::ParseError,
    },
    /// A locator that is neither http nor https.
    #[error("line {line} of the index has the locator {locator:?}, and {scheme:?} is neither http nor https")]
    Scheme {
        /// As written.
        locator: String,
        /// What it resolves to.
        scheme: String,
        /// Where.
        line: usize,
    },
    /// A locator that ends in no usable file name.
    #[error("line {line} of the index has the locator {locator:?}, which ends in no file name")]
    Name {
        /// As written.
        locator: String,
        /// Where.
        line: usize,
        /// Why not.
        #[source]
        source: BadName,
    },
    /// Two different files under one name, which share a folder on headends and in the zip.
    #[error("the index names two files {name}: {first} and {second}; they cannot share a folder")]
    SameName {
        /// The name.
        name: FileName,
        /// The one.
        first: Box<Url>,
        /// The other.
        second: Box<Url>,
    },
    /// One URL with two different promises.
    #[error("the index gives two different values of {what} for {url}")]
    Contradiction {
        /// Version, checksum or size.
        what: &'static str,
        /// Of which file.
        url: Box<Url>,
    },
}

impl IndexError {
    pub(super) fn not_xml(line: usize, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::NotXml { line, source: source.into() }
    }
}

impl Reasoned for IndexError {
    fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::UnknownEncoding { .. }
            | Self::Compressed
            | Self::Undecodable { .. }
            | Self::NotXml { .. }
            | Self::Shape { .. }
            | Self::Html
            | Self::Entity { .. }
            | Self::NoEntries { .. }
            | Self::Locator { .. }
            | Self::Scheme { .. }
            | Self::Name { .. }
            | Self::SameName { .. }
            | Self::Contradiction { .. } => Reason::NotAFeed,
        }
    }
}
