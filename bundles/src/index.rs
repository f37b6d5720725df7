//! Reading `posture-update.xml`, whose schema is not public, tolerantly (design, section 5).
//!
//! An **entry** is any element that has a locator in its attributes, in its own text or in the text of its direct
//! children. A child with text and nothing else is a field of its parent; one that carries a checksum, a size or a
//! version of its own beside a locator is an entry by itself. Beside a locator may stand version, checksum, size and
//! names. What stands on an enclosing element counts for the entries within as far as it cannot mislead: its names where
//! nothing nearer tells the component, its version where all entries within are of one component. A root's `version` is
//! mostly the format's, so it counts only beside locators of one component.
//!
//! Where no entry is found, and for lists of locators beside entries, `fallback` takes the locators by themselves, so that
//! a feed of a dialect that nobody foresaw is mirrored all the same; [`Index::reading`] tells.
//!
//! Everything that looks like a URL, a version or a digest and was not used is listed, so that a feed of a shape that
//! nobody foresaw shows itself in `feed-server inspect`.
//!
//! What the caller has to do: decide whether hosts are allowed and whether `http` is.

mod collect;
mod decode;
mod error;
mod fallback;
mod merge;
mod patterns;
mod scan;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use encoding_rs::UTF_8;
use serde::{Deserialize, Serialize};
use url::Url;

use self::collect::Collector;
use self::scan::{Place, PlaceKind};
use crate::{Checksum, Component, FileName, Limits, Version};

pub use self::error::IndexError;
pub use self::patterns::{Decision, Hints, PatternError, Patterns, stem};

/// How far an index was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Every archive that it names is an entry, with what stands beside it.
    Entries,
    /// Besides entries there are lists of archives, of which nothing but the locators is known.
    Partly,
    /// Nothing is known but the locators, found wherever they stand: the dialect is unknown.
    LocatorsOnly,
}

impl Reading {
    /// One word for logs and tables, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Partly => "partly",
            Self::LocatorsOnly => "locators_only",
        }
    }

    /// Whether versions of some archives may stand in the index unseen.
    #[must_use]
    pub const fn is_unknown_dialect(self) -> bool {
        match self {
            Self::Entries => false,
            Self::Partly | Self::LocatorsOnly => true,
        }
    }
}

/// An index as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// How far it was.
    pub reading: Reading,
    /// The files that it names, in its order, each URL once per component.
    pub entries: Vec<Entry>,
    /// Values that look like locators, versions or digests and were not used.
    pub unused: Vec<Unused>,
    /// How many more of those there were, beyond the first thousand.
    pub unused_left_out: usize,
    /// The root element's local name.
    pub root: String,
    /// The encoding that it was read as, by its WHATWG name.
    pub encoding: &'static str,
}

/// One file of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which component it belongs to; several files may belong to one.
    pub component: Component,
    /// The pattern that decided it; `None` where none matched.
    pub decided: Option<Decision>,
    /// The locator as written, unescaped.
    pub locator: String,
    /// The locator resolved against the index's URL, without a fragment; http or https.
    pub url: Url,
    /// The file's name, unique in the index without regard to letter case.
    pub name: FileName,
    /// Where the index gives one.
    pub version: Option<Version>,
    /// The strongest that the index gives.
    pub checksum: Option<Checksum>,
    /// In bytes, where the index gives it.
    pub size: Option<u64>,
    /// Local names of the elements from the root to the one that is the entry: `feed/component`.
    pub element: String,
    /// The locator's line, from 1.
    pub line: usize,
    /// Where its locators stand in the decoded text.
    places: Vec<Place>,
}

/// A value that looks as if it mattered and was not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// What it looks like.
    pub kind: UnusedKind,
    /// As written, unescaped, cut to 500 characters.
    pub value: String,
    /// Where it stands: `feed/component/@base`, `feed/component/url`.
    pub element: String,
    /// Its line, from 1.
    pub line: usize,
    /// Why it was not used, where there is more to say than that nobody knows what it is.
    pub why: Option<&'static str>,
}

/// What an unused value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnusedKind {
    /// A URL or the name of an archive.
    Locator,
    /// A version.
    Version,
    /// A checksum or another digest.
    Digest,
}

impl UnusedKind {
    /// One word for tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Locator => "locator",
            Self::Version => "version",
            Self::Digest => "digest",
        }
    }
}

impl Index {
    /// Reads an index that came from `base`.
    ///
    /// # Errors
    /// It is past a limit, no XML, a page for people, uses entities of its own, names nothing, or contradicts itself.
    pub fn read(bytes: &[u8], base: &Url, patterns: &Patterns, limits: &Limits) -> Result<Self, IndexError> {
        let decoded = decoded(bytes, limits)?;
        read_text(&decoded, base, patterns, limits)
    }

    /// Reads an index and writes it anew with other locators: the bytes of each locator are replaced by what `url_for`
    /// says of its entry, XML-escaped, and nothing else is touched. An index that is not UTF-8 becomes UTF-8, and its
    /// declaration says so.
    ///
    /// # Errors
    /// As [`Index::read`].
    pub fn rewrite(
        bytes: &[u8],
        base: &Url,
        patterns: &Patterns,
        limits: &Limits,
        url_for: &mut dyn FnMut(&Entry) -> String,
    ) -> Result<Vec<u8>, IndexError> {
        let decoded = decoded(bytes, limits)?;
        let index = read_text(&decoded, base, patterns, limits)?;
        let mut changes: Vec<(std::ops::Range<usize>, String)> = Vec::new();
        for entry in &index.entries {
            let url = url_for(entry);
            for place in &entry.places {
                let written = match place.kind {
                    PlaceKind::Escaped => quick_xml::escape::escape(url.as_str()).into_owned(),
                    PlaceKind::CData => url.replace("]]>", "]]]]><![CDATA[>"),
                };
                changes.push((place.range.clone(), written));
            }
        }
        let is_utf8 = decoded.encoding == UTF_8;
        if !is_utf8 {
            changes.extend(decode::declared_encoding(decoded.text.as_bytes()).map(|range| (range, "UTF-8".to_owned())));
        }
        changes.sort_by_key(|(range, _)| range.start);
        // One locator that serves two components was seen twice and is written once.
        changes.dedup_by(|second, first| second.0.start < first.0.end);

        let text = decoded.text.as_bytes();
        let mut written = Vec::with_capacity(bytes.len() + 64 * changes.len());
        if is_utf8 {
            written.extend_from_slice(decoded.mark);
        }
        let mut done = 0;
        for (range, new) in changes {
            written.extend_from_slice(&text[done..range.start]);
            written.extend_from_slice(new.as_bytes());
            done = range.end;
        }
        written.extend_from_slice(&text[done..]);
        Ok(written)
    }

    /// The hosts that archives would come from, with the port where one is written.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<String> {
        let host = |entry: &Entry| {
            let host = entry.url.host_str()?.to_owned();
            Some(entry.url.port().map_or(host.clone(), |port| format!("{host}:{port}")))
        };
        self.entries.iter().filter_map(host).collect()
    }
}

/// The text of an index, whatever its encoding.
pub(crate) fn decoded_text(bytes: &[u8]) -> Option<String> {
    decode::decode(bytes).ok().map(|decoded| decoded.text.into_owned())
}

fn decoded<'a>(bytes: &'a [u8], limits: &Limits) -> Result<decode::Decoded<'a>, IndexError> {
    if bytes.len() as u64 > limits.index_bytes {
        return Err(IndexError::TooLarge { what: "bytes", limit: limits.index_bytes });
    }
    decode::decode(bytes)
}

fn read_text(
    decoded: &decode::Decoded<'_>,
    base: &Url,
    patterns: &Patterns,
    limits: &Limits,
) -> Result<Index, IndexError> {
    let mut collector = Collector::new(base, patterns, limits);
    let root = scan::walk(&decoded.text, limits, &mut |element| collector.ended(element))?;
    let (mut entries, unused) = collector.finish();
    let among_words = fallback::read(&decoded.text, base, patterns, limits, &entries)?;
    let reading = match (entries.is_empty(), among_words.entries.is_empty()) {
        (true, true) => return Err(IndexError::NoEntries { root }),
        (false, true) => Reading::Entries,
        (false, false) => Reading::Partly,
        (true, false) => Reading::LocatorsOnly,
    };
    let (unused, unused_left_out) = unused.finish(&among_words.entries, among_words.unused);
    entries.extend(among_words.entries);
    if entries.len() > limits.index_entries {
        return Err(IndexError::TooLarge { what: "entries", limit: limits.index_entries as u64 });
    }
    entries.sort_by_key(Entry::start);
    let entries = merge::merge(entries, base)?;
    Ok(Index { reading, entries, unused, unused_left_out, root, encoding: decoded.encoding.name() })
}
