//! An index without its content: names of elements and attributes stay, values become placeholders of the same shape.
//!
//! What stays of values: the scheme, host and port of URLs, and whatever tells which component a file is or how it is
//! packed (`osgroups`, `win`, `.tar.gz`, …: words of this program's own tables). Of the rest, letters become `x`, digits
//! `9`, and digits of checksums `a`; punctuation and lengths stay. Two different names become two different placeholders.

use std::collections::{HashMap, HashSet};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::{Checksum, index};

/// Words of [`crate::index::Patterns`] and of packing, longest first where one begins another.
const KEPT: [&str; 24] = [
    "osgroups",
    "osgroup",
    "supported",
    "compliance",
    "conditions",
    "condition",
    "charts",
    "chart",
    "checks",
    "check",
    "rules",
    "rule",
    "windows",
    "win",
    "macosx",
    "macos",
    "mac",
    "osx",
    "darwin",
    "linux",
    "sha256",
    "sha1",
    "sha512",
    "md5",
];

/// Endings that say how a file is packed.
const ENDINGS: [&str; 6] = [".tar.gz", ".tgz", ".gz", ".zip", ".xml", ".tar"];

/// The shape of an index, in UTF-8; `None` where the bytes are no XML, so that there is no structure to keep.
#[must_use]
pub fn shape(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = index::decoded_text(bytes)?;
    let mut reader = Reader::from_str(&text);
    reader.config_mut().check_end_names = true;
    let mut shaper = Shaper::default();
    let (mut written, mut depth, mut elements) = (String::new(), 0_usize, 0_usize);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                shaper.tag(&start, "", &mut written)?;
                (depth, elements) = (depth + 1, elements + 1);
            }
            Event::Empty(start) => {
                shaper.tag(&start, "/", &mut written)?;
                elements += 1;
            }
            Event::End(end) => {
                depth = depth.checked_sub(1)?;
                written.push_str(&format!("</{}>", end.name().as_ref()));
            }
            Event::Text(piece) => shaper.value(&piece, &mut written),
            Event::CData(piece) => {
                written.push_str("<![CDATA[");
                shaper.value(&piece, &mut written);
                written.push_str("]]>");
            }
            Event::GeneralRef(name) => written.push_str(&format!("&{};", &*name)),
            Event::Comment(piece) => written.push_str(&format!("<!--{}-->", plain(&piece))),
            Event::Decl(_) => written.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"),
            // Neither is read, and both may say anything.
            Event::PI(_) | Event::DocType(_) => {}
            Event::Eof => break,
        }
    }
    (depth == 0 && elements > 0).then(|| written.into_bytes())
}

#[derive(Default)]
struct Shaper {
    /// The placeholder of each word seen, so that the same stays the same.
    known: HashMap<String, String>,
    taken: HashSet<String>,
    /// How many words had the same placeholder so far: counted from one each time, an index full of names that are alike
    /// would take hours.
    alike: HashMap<String, usize>,
}

impl Shaper {
    fn tag(&mut self, start: &BytesStart<'_>, end: &str, written: &mut String) -> Option<()> {
        written.push_str(&format!("<{}", start.name().as_ref()));
        let mut attributes = start.attributes();
        // Whether a name stands twice is the reader's to say, and to see it costs the square of their number.
        for attribute in attributes.with_checks(false) {
            let attribute = attribute.ok()?;
            let key = attribute.key.as_ref();
            written.push_str(&format!(" {key}=\""));
            // A namespace is a name, and part of the structure.
            if key == "xmlns" || key.starts_with("xmlns:") {
                written.push_str(&attribute.value.replace('"', "&quot;"));
            } else {
                let mut value = String::new();
                self.value(&attribute.value, &mut value);
                written.push_str(&value.replace('"', "&quot;"));
            }
            written.push('"');
        }
        written.push_str(&format!("{end}>"));
        Some(())
    }

    /// Word by word; white space, separators and entities stay.
    fn value(&mut self, raw: &str, written: &mut String) {
        let mut rest = raw;
        while !rest.is_empty() {
            let between = rest.find(|c: char| !is_between(c)).unwrap_or(rest.len());
            written.push_str(&rest[..between]);
            rest = &rest[between..];
            let end = rest.find(is_between).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if !word.is_empty() {
                let placeholder = self.word(word);
                written.push_str(&placeholder);
            }
            rest = after;
        }
    }

    fn word(&mut self, word: &str) -> String {
        if let Some(known) = self.known.get(word) {
            return known.clone();
        }
        let plain = placeholder(word);
        let mut placeholder = plain.clone();
        // Names of files must stay apart, or two of them would share one.
        if ENDINGS.iter().any(|ending| word.to_ascii_lowercase().contains(ending)) {
            while !self.taken.insert(placeholder.clone()) {
                let number = self.alike.entry(plain.clone()).or_default();
                *number += 1;
                placeholder = numbered(&plain, *number);
            }
        }
        self.known.insert(word.to_owned(), placeholder.clone());
        placeholder
    }
}

fn is_between(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '|' | '(' | ')' | '[' | ']' | '{' | '}' | '"' | '\'' | '<' | '>' | '&')
}

/// One word: a URL, a digest, a number, a name.
fn placeholder(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://") {
        let path = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // Credentials before the host are content, and more than that.
        let host = rest[..path].rsplit('@').next().unwrap_or_default();
        return format!("{scheme}://{host}{}", plain(&rest[path..]));
    }
    let (algorithm, digits) = match word.split_once([':', '=']) {
        Some((algorithm, digits)) => (&word[..=algorithm.len()], digits),
        None => ("", word),
    };
    if Checksum::parse(digits).is_some() {
        return format!("{}{}", plain(algorithm), "a".repeat(digits.len()));
    }
    plain(word)
}

/// Letters and digits replaced, but for the words that are kept.
fn plain(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut written = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let kept =
            KEPT.iter().chain(&ENDINGS).find(|word| lower.get(at..).is_some_and(|rest| rest.starts_with(**word)));
        let is_ending = kept.is_some_and(|word| word.starts_with('.'));
        let ends = kept.is_none_or(|word| {
            let next = lower.get(at + word.len()..).and_then(|rest| rest.chars().next());
            !is_ending || next.is_none_or(|next| !next.is_alphanumeric())
        });
        if let Some(word) = kept.filter(|_| ends) {
            written.push_str(&text[at..at + word.len()]);
            at += word.len();
            continue;
        }
        written.push(match character {
            digit if digit.is_ascii_digit() => '9',
            upper if upper.is_uppercase() => 'X',
            letter if letter.is_alphanumeric() => 'x',
            control if control.is_control() && !control.is_whitespace() => 'x',
            other => other,
        });
        at += character.len_utf8();
    }
    written
}

/// With a number before the ending, so that it differs.
fn numbered(placeholder: &str, number: usize) -> String {
    let lower = placeholder.to_ascii_lowercase();
    let at = ENDINGS.iter().filter_map(|ending| lower.rfind(ending)).min().unwrap_or(placeholder.len());
    format!("{}{number}{}", &placeholder[..at], &placeholder[at..])
}
