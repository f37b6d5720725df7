//! The second way of reading: locators wherever they stand, for an index of a dialect that nobody foresaw.
//!
//! An entry is an element with a locator for a value. A feed may write otherwise: a list of names in one value, a name
//! in the midst of a sentence, data of some script. Then the archives can still be found, and a mirror without versions
//! is better than none. What is found here is an entry of its own: no version, no checksum, a component by its name.
//!
//! Beside entries, only lists are taken: values that are nothing but locators. A name in a sentence beside entries may be
//! that of a file which is long gone, and asking for it would fail every run.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use url::Url;

use super::collect::unused_of;
use super::scan::{Field, Lines, Place, PlaceKind, is_namespace, is_of_xml_itself, range_in};
use super::values::{self, plain_name};
use super::{Entry, IndexError, Patterns, Unused};
use crate::{FileName, Limits};

/// What parts the words of a value, besides white space. A semicolon does as well, where it does not end an entity.
const SEPARATORS: [char; 13] = [',', '|', '"', '\'', '(', ')', '[', ']', '{', '}', '<', '>', '\u{feff}'];

/// Ends of sentences, which may follow a name.
const STOPS: [char; 4] = ['.', ':', '!', '?'];

/// What was found among words.
#[derive(Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// With where each stands.
    pub(super) unused: Vec<(usize, Unused)>,
}

/// Looks at every value of a text that [`super::scan::walk`] has walked, so that it is XML and within limits.
/// `known` are the entries that the first way of reading found.
pub(super) fn read(
    text: &str,
    base: &Url,
    patterns: &Patterns,
    limits: &Limits,
    known: &[Entry],
) -> Result<Found, IndexError> {
    let mut used: Vec<Range<usize>> =
        known.iter().flat_map(|entry| &entry.places).map(|place| place.range.clone()).collect();
    used.sort_unstable_by_key(|range| range.start);
    let is_used = |word: &Field| {
        let at = word.place.range.start;
        let before = used.partition_point(|range| range.start <= at);
        used[..before].last().is_some_and(|range| at < range.end)
    };
    let mut found = Found::default();
    let mut failed = None;
    each_value(text, &mut |element, words| {
        if failed.is_none() && !words.iter().any(is_used) {
            failed = found.take(element, words, base, patterns, limits, !known.is_empty()).err();
        }
    });
    failed.map_or(Ok(found), Err)
}

impl Found {
    fn take(
        &mut self,
        element: &str,
        words: Vec<Field>,
        base: &Url,
        patterns: &Patterns,
        limits: &Limits,
        beside_entries: bool,
    ) -> Result<(), IndexError> {
        // A value of one word has been looked at.
        let is_new = words.len() > 1;
        let is_list = words.iter().all(|word| values::is_archive_locator(&word.value));
        if !is_new && beside_entries {
            return Ok(());
        }
        let first = self.entries.len();
        for word in words {
            let is_locator = is_list || (!beside_entries && is_locator_among_words(&word.value));
            let Some((url, name)) = is_locator.then(|| resolve(base, &word.value)).flatten() else {
                if is_new {
                    self.unused.extend(unused_of(element, &word, Some("it stands among other words")));
                }
                continue;
            };
            // Several addresses of one file in one value are mirrors of each other.
            if let Some(same) = self.entries[first..].iter_mut().find(|entry| entry.name == name) {
                same.places.push(word.place);
                continue;
            }
            if self.entries.len() >= limits.index_entries {
                return Err(IndexError::TooLarge { what: "entries", limit: limits.index_entries as u64 });
            }
            let mut entry = Entry::new(url, word.value, name, element, word.line, word.place);
            entry.decide(None, patterns);
            self.entries.push(entry);
        }
        Ok(())
    }
}

/// An XML document that a sentence names is mostly documentation; what is packed is an archive.
fn is_locator_among_words(value: &str) -> bool {
    let ends = |text: &str, ending: &str| text.to_ascii_lowercase().ends_with(ending);
    let path = value.split(['?', '#']).next().unwrap_or_default();
    if values::is_archive_locator(value) {
        !ends(path, ".xml")
    } else {
        values::is_archive_query(value) && !ends(value, ".xml")
    }
}

/// Where a locator leads and how its file is called; `None` where that is the index itself, or nowhere.
fn resolve(base: &Url, locator: &str) -> Option<(Url, FileName)> {
    let mut url = base.join(locator).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.set_fragment(None);
    let mut own = base.clone();
    own.set_fragment(None);
    let name = values::file_name_of(&url).ok()?;
    (url != own).then_some((url, name))
}

/// Hands over the path and the words of every value.
fn each_value(text: &str, value: &mut dyn FnMut(&str, Vec<Field>)) {
    let mut reader = Reader::from_str(text);
    let mut lines = Lines::new(text);
    let mut open: Vec<String> = Vec::new();
    // Character data that is not ended yet: text and the entities in it are one value.
    let mut pending: Option<(Range<usize>, PlaceKind)> = None;
    // An error would have been one of the first walk as well.
    while let Ok(event) = reader.read_event() {
        let piece = match &event {
            Event::Text(piece) => Some((range_in(text, piece), PlaceKind::Escaped)),
            Event::CData(piece) => Some((range_in(text, piece), PlaceKind::CData)),
            Event::GeneralRef(piece) => {
                let name = range_in(text, piece);
                Some((name.start.saturating_sub(1)..(name.end + 1).min(text.len()), PlaceKind::Escaped))
            }
            Event::Start(_)
            | Event::Empty(_)
            | Event::End(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::Eof => None,
        };
        match (&mut pending, piece) {
            (Some((range, PlaceKind::Escaped)), Some((more, PlaceKind::Escaped))) if range.end == more.start => {
                range.end = more.end;
                continue;
            }
            (_, piece) => {
                if let Some((range, kind)) = std::mem::replace(&mut pending, piece) {
                    let name = open.last().map(String::as_str).unwrap_or_default();
                    let words = words(text, range, kind, name, "", &mut lines);
                    if !words.is_empty() {
                        value(&open.join("/"), words);
                    }
                }
            }
        }
        match event {
            Event::Start(start) => {
                open.push(start.local_name().as_ref().to_owned());
                attributes(text, &start, &open, &mut lines, value);
            }
            Event::Empty(start) => {
                open.push(start.local_name().as_ref().to_owned());
                attributes(text, &start, &open, &mut lines, value);
                open.pop();
            }
            Event::End(_) => drop(open.pop()),
            Event::Eof => return,
            Event::Text(_)
            | Event::CData(_)
            | Event::GeneralRef(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}

fn attributes(
    text: &str,
    start: &BytesStart<'_>,
    open: &[String],
    lines: &mut Lines<'_>,
    value: &mut dyn FnMut(&str, Vec<Field>),
) {
    for attribute in start.attributes().flatten() {
        let key = attribute.key.as_ref();
        if is_namespace(key) || is_of_xml_itself(key) {
            continue;
        }
        let range = range_in(text, &attribute.value);
        let (name, label) = (attribute.key.local_name(), format!("@{key}"));
        let words = words(text, range, PlaceKind::Escaped, name.as_ref(), &label, lines);
        if !words.is_empty() {
            value(&open.join("/"), words);
        }
    }
}

/// The words of a value, unescaped, each with its own place.
fn words(
    text: &str,
    range: Range<usize>,
    kind: PlaceKind,
    name: &str,
    label: &str,
    lines: &mut Lines<'_>,
) -> Vec<Field> {
    let raw = text.get(range.clone()).unwrap_or_default();
    let mut in_entity = false;
    let is_separator = |character: char| {
        let ends_entity = character == ';' && in_entity;
        in_entity = match character {
            '&' => kind == PlaceKind::Escaped,
            ';' => false,
            other => in_entity && (other.is_ascii_alphanumeric() || other == '#'),
        };
        character.is_whitespace() || SEPARATORS.contains(&character) || (character == ';' && !ends_entity)
    };
    let mut words = Vec::new();
    for word in raw.split(is_separator) {
        let word = word.trim_end_matches(STOPS);
        // `file=a.tar.gz`, where it is no URL's query.
        let word = match word.rsplit_once('=') {
            Some((before, after)) if !before.contains(['?', '/']) => after,
            Some(_) | None => word,
        };
        let value = match kind {
            PlaceKind::Escaped => unescape(word).map(std::borrow::Cow::into_owned).unwrap_or_default(),
            PlaceKind::CData => word.to_owned(),
        };
        if value.is_empty() {
            continue;
        }
        let at = range_in(text, word);
        let line = lines.at(at.start);
        let place = Place { range: at, kind };
        words.push(Field { name: plain_name(name), label: label.to_owned(), value, line, place });
    }
    words
}

#[cfg(test)]
mod tests;
