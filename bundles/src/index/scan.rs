//! The walk over the XML: elements with their fields, each with its place in the text, so that a locator can be
//! replaced later without touching anything else.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::errors::Error as XmlError;
use quick_xml::escape::{EscapeError, resolve_predefined_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::IndexError;
use super::values::plain_name;
use crate::Limits;

/// More attributes on one element than anybody writes; looking for duplicates among them is quadratic.
const MAX_ATTRIBUTES: usize = 256;

/// More fields under one element than this are a list of something else, and each is kept in memory.
const MAX_FIELDS: usize = 20_000;

/// Names are cut to this: paths of them are kept for every open element.
const MAX_NAME: usize = 100;

/// Where a value stands in the text, and how to write there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) range: Range<usize>,
    pub(super) kind: PlaceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceKind {
    /// An attribute's value or text between tags: `&`, `<` and quotes are escaped.
    Escaped,
    /// Inside one CDATA section: only `]]>` cannot stand there.
    CData,
}

/// A named value: an attribute, or a text between tags, trimmed and unescaped.
#[derive(Debug)]
pub(super) struct Field {
    /// As compared, see [`plain_name`].
    pub(super) name: String,
    /// For people: `@url`, or the child element's name.
    pub(super) label: String,
    pub(super) value: String,
    pub(super) line: usize,
    pub(super) place: Place,
}

/// A child element that holds text and no elements.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) attributes: Vec<Field>,
    pub(super) text: Field,
}

/// An element that ended, with everything directly in it.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    /// Local names from the root to here.
    pub(super) path: String,
    /// Where its start tag stands.
    pub(super) begin: usize,
    pub(super) attributes: Vec<Field>,
    /// Its own text, where it has some in one piece.
    pub(super) text: Option<Field>,
    /// Its children that hold text only.
    pub(super) leaves: Vec<Leaf>,
    /// Whether it has no child elements at all.
    pub(super) is_leaf: bool,
    pub(super) is_root: bool,
}

struct Open {
    name: String,
    path: String,
    begin: usize,
    line: usize,
    attributes: Vec<Field>,
    leaves: Vec<Leaf>,
    fields: usize,
    has_elements: bool,
    text: Text,
}

/// The character data directly in an element.
#[derive(Default)]
struct Text {
    value: String,
    line: usize,
    range: Option<Range<usize>>,
    kind: Option<PlaceKind>,
    /// A child element ended since the last text: more text then is prose around elements, and no value.
    interrupted: bool,
    is_prose: bool,
}

impl Text {
    fn push(&mut self, value: &str, line: usize, range: Range<usize>, kind: PlaceKind) {
        if value.trim().is_empty() {
            // Inner white space is kept, so that two words do not become one.
            if self.range.is_some() {
                self.value.push_str(value);
            }
            return;
        }
        match &mut self.range {
            None => {
                self.line = line;
                self.range = Some(range);
                self.kind = Some(kind);
            }
            Some(whole) => {
                self.is_prose |= self.interrupted;
                whole.end = range.end;
                self.kind = Some(PlaceKind::Escaped);
            }
        }
        self.value.push_str(value);
    }

    fn into_field(self, name: &str) -> Option<Field> {
        let Self { value, line, range: Some(range), kind: Some(kind), is_prose: false, .. } = self else { return None };
        Some(Field {
            name: plain_name(name),
            label: name.to_owned(),
            value: value.trim().to_owned(),
            line,
            place: Place { range, kind },
        })
    }
}

/// Walks over the whole text and hands over each element when it ends, children before parents; one that comes back
/// becomes a field of its parent. Answers with the root's name.
pub(super) fn walk(
    text: &str,
    limits: &Limits,
    ended: &mut dyn FnMut(Element) -> Result<Option<Element>, IndexError>,
) -> Result<String, IndexError> {
    let mut reader = Reader::from_str(text);
    let mut lines = Lines::new(text);
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    loop {
        let event = reader.read_event();
        let error_at = usize::try_from(reader.error_position()).unwrap_or(0);
        let event = event.map_err(|error| IndexError::not_xml(lines.at(error_at), error))?;
        match event {
            Event::Start(start) => {
                let element = begin(&start, text, &mut lines, &mut open, &mut root, limits)?;
                open.push(element);
            }
            Event::Empty(start) => {
                let element = begin(&start, text, &mut lines, &mut open, &mut root, limits)?;
                end(element, &mut open, ended)?;
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    end(element, &mut open, ended)?;
                }
            }
            Event::Text(piece) => {
                let range = trimmed(range_in(text, &piece), text);
                add_text(&mut open, &mut lines, &piece, range, PlaceKind::Escaped)?;
            }
            Event::CData(piece) => {
                let inner = range_in(text, &piece);
                add_text(&mut open, &mut lines, &piece, trimmed(inner, text), PlaceKind::CData)?;
            }
            Event::GeneralRef(reference) => {
                let name = range_in(text, &reference);
                let line = lines.at(name.start);
                let value = resolve(&reference, line)?;
                // With the `&` and the `;` around the name.
                let range = name.start.saturating_sub(1)..(name.end + 1).min(text.len());
                add_text(&mut open, &mut lines, &value, range, PlaceKind::Escaped)?;
            }
            Event::DocType(doctype) => {
                let is_html = doctype.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("html"));
                if is_html {
                    return Err(IndexError::Html);
                }
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if let Some(element) = open.last() {
        return Err(IndexError::Shape { line: element.line, what: "the element that begins there never ends" });
    }
    root.ok_or(IndexError::Shape { line: 1, what: "there is no element" })
}

fn begin(
    start: &BytesStart<'_>,
    text: &str,
    lines: &mut Lines<'_>,
    open: &mut [Open],
    root: &mut Option<String>,
    limits: &Limits,
) -> Result<Open, IndexError> {
    let name: String = start.local_name().as_ref().chars().take(MAX_NAME).collect();
    let begin = range_in(text, start).start;
    let line = lines.at(begin);
    let path = match open.last_mut() {
        None if root.is_some() => return Err(IndexError::Shape { line, what: "it has a second root element" }),
        None if ["html", "head", "body"].iter().any(|page| name.eq_ignore_ascii_case(page)) => {
            return Err(IndexError::Html);
        }
        None => {
            *root = Some(name.clone());
            name.clone()
        }
        Some(parent) => {
            parent.has_elements = true;
            parent.text.interrupted = true;
            format!("{}/{name}", parent.path)
        }
    };
    if open.len() >= limits.index_depth {
        return Err(IndexError::TooLarge { what: "levels of elements", limit: limits.index_depth as u64 });
    }
    let attributes = attributes(start, text, lines)?;
    Ok(Open {
        name,
        path,
        begin,
        line,
        attributes,
        leaves: Vec::new(),
        fields: 0,
        has_elements: false,
        text: Text::default(),
    })
}

fn end(
    element: Open,
    open: &mut [Open],
    ended: &mut dyn FnMut(Element) -> Result<Option<Element>, IndexError>,
) -> Result<(), IndexError> {
    let Open { name, path, begin, attributes, leaves, has_elements, text, .. } = element;
    let text = text.into_field(&name);
    let element =
        Element { name, path, begin, attributes, text, leaves, is_leaf: !has_elements, is_root: open.is_empty() };
    let (Some(child), Some(parent)) = (ended(element)?, open.last_mut()) else { return Ok(()) };
    if let Some(text) = child.text {
        parent.fields += 1 + child.attributes.len();
        if parent.fields > MAX_FIELDS {
            return Err(IndexError::TooLarge { what: "values in one element", limit: MAX_FIELDS as u64 });
        }
        parent.leaves.push(Leaf { attributes: child.attributes, text });
    }
    Ok(())
}

fn add_text(
    open: &mut [Open],
    lines: &mut Lines<'_>,
    value: &str,
    mut range: Range<usize>,
    kind: PlaceKind,
) -> Result<(), IndexError> {
    let line = lines.at(range.start);
    match open.last_mut() {
        Some(element) => {
            let continues = element.text.range.is_some() && !value.trim().is_empty();
            if continues && kind == PlaceKind::CData {
                // Text and CDATA side by side are replaced as one, so the brackets go as well.
                range.end = closing_bracket(lines.text, range.end);
            } else if continues
                && element.text.kind == Some(PlaceKind::CData)
                && let Some(whole) = &mut element.text.range
            {
                whole.start = opening_bracket(lines.text, whole.start);
            }
            element.text.push(value, line, range, kind);
            Ok(())
        }
        None if value.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() => Ok(()),
        None => Err(IndexError::Shape { line, what: "there is text outside of the root element" }),
    }
}

fn opening_bracket(text: &str, from: usize) -> usize {
    text[..from].rfind("<![CDATA[").unwrap_or(from)
}

fn closing_bracket(text: &str, from: usize) -> usize {
    text[from..].find("]]>").map_or(from, |at| from + at + 3)
}

fn attributes(start: &BytesStart<'_>, text: &str, lines: &mut Lines<'_>) -> Result<Vec<Field>, IndexError> {
    let mut fields = Vec::new();
    for (number, attribute) in start.attributes().enumerate() {
        let line = lines.line;
        let attribute = attribute.map_err(|error| IndexError::not_xml(line, error))?;
        if number >= MAX_ATTRIBUTES {
            return Err(IndexError::TooLarge { what: "attributes on one element", limit: MAX_ATTRIBUTES as u64 });
        }
        let range = trimmed(range_in(text, &attribute.value), text);
        let line = lines.at(range.start);
        let value = unescape(&attribute.value).map_err(|error| escape_error(error, line))?;
        if is_namespace(attribute.key.as_ref()) {
            continue;
        }
        let local = attribute.key.local_name();
        fields.push(Field {
            name: if is_of_xml_itself(attribute.key.as_ref()) {
                // A name that means nothing: such values are told as unused where they look like something.
                String::new()
            } else {
                plain_name(local.as_ref())
            },
            label: format!("@{}", attribute.key.as_ref()),
            value: value.trim().to_owned(),
            line,
            place: Place { range, kind: PlaceKind::Escaped },
        });
    }
    Ok(fields)
}

/// Namespace declarations and schema locations name documents, never archives.
pub(super) fn is_namespace(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    lower == "xmlns" || lower.starts_with("xmlns:") || lower.ends_with("schemalocation")
}

/// `xml:base` is not applied: nobody knows whether the vendor's own readers would.
pub(super) fn is_of_xml_itself(key: &str) -> bool {
    key.starts_with("xml:")
}

fn resolve(reference: &BytesRef<'_>, line: usize) -> Result<String, IndexError> {
    if let Some(character) = reference.resolve_char_ref().map_err(|error| IndexError::not_xml(line, error))? {
        return Ok(character.to_string());
    }
    resolve_predefined_entity(reference)
        .map(str::to_owned)
        .ok_or_else(|| IndexError::Entity { name: reference.chars().take(64).collect(), line })
}

fn escape_error(error: EscapeError, line: usize) -> IndexError {
    if let EscapeError::UnrecognizedEntity(_, name) = &error {
        IndexError::Entity { name: name.chars().take(64).collect(), line }
    } else {
        IndexError::not_xml(line, XmlError::Escape(error))
    }
}

/// Where a part that was borrowed from the text stands in it.
pub(super) fn range_in(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let range = start..start + part.len();
    debug_assert_eq!(text.get(range.clone()), Some(part), "the parser borrows from the text it was given");
    range
}

fn trimmed(range: Range<usize>, text: &str) -> Range<usize> {
    let part = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

/// Counts lines as the walk goes forward.
pub(super) struct Lines<'a> {
    text: &'a str,
    counted: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, counted: 0, line: 1 }
    }

    pub(super) fn at(&mut self, offset: usize) -> usize {
        if offset > self.counted && offset <= self.text.len() {
            self.line += self.text.as_bytes()[self.counted..offset].iter().filter(|byte| **byte == b'\n').count();
            self.counted = offset;
        }
        self.line
    }
}
