//! Walking a TOML document so that every mistake is found with its line, and no key is accepted that nothing reads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigErrors, Mistake};

/// Above this likeness (0 to 1, Jaro-Winkler) a known key is suggested; below it a suggestion only misleads.
const LIKENESS: f64 = 0.8;

/// Collects mistakes while the document is walked.
pub(super) struct Mistakes<'t> {
    text: &'t str,
    found: RefCell<Vec<Mistake>>,
}

impl<'t> Mistakes<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::default() }
    }

    fn add(&self, span: &Range<usize>, key: String, message: String) {
        let line = line_of(self.text, span);
        self.found.borrow_mut().push(Mistake { line, key, message });
    }

    /// `Ok` where nothing was found.
    pub(super) fn none_or_all(self) -> Result<(), ConfigErrors> {
        let mut mistakes = self.found.into_inner();
        // Where a line is not TOML, what its remains would mean is noise.
        let broken: Vec<usize> = mistakes.iter().filter(|m| m.key.is_empty()).map(|m| m.line).collect();
        mistakes.retain(|mistake| mistake.key.is_empty() || !broken.contains(&mistake.line));
        mistakes.sort_by_key(|mistake| mistake.line);
        if mistakes.is_empty() { Ok(()) } else { Err(ConfigErrors::new(mistakes)) }
    }
}

/// The line, counted from 1, on which something begins.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// The line of each key that has a value which is no table, and of each table; keys are written as messages have them.
pub(super) fn lines(text: &str) -> BTreeMap<String, usize> {
    fn walk(text: &str, name: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
        for (key, value) in table {
            let shown = shown(key.get_ref());
            let path = if name.is_empty() { shown } else { format!("{name}.{shown}") };
            if let Some(table) = value.get_ref().as_table() {
                walk(text, &path, table, lines);
            }
            lines.insert(path, line_of(text, &key.span()));
        }
    }
    let (table, _) = DeTable::parse_recoverable(text);
    let mut lines = BTreeMap::new();
    walk(text, "", table.get_ref(), &mut lines);
    lines
}

/// A value with the key under which it stands.
pub(super) struct Entry<'s, 't> {
    pub(super) value: &'s DeValue<'t>,
    key: String,
    span: Range<usize>,
    mistakes: &'s Mistakes<'t>,
}

impl<'s, 't> Entry<'s, 't> {
    /// The values of a list, each with its own line. Where this is none, that is reported and there are none.
    pub(super) fn items(&self, wanted: &str) -> Vec<Entry<'s, 't>> {
        let array = self.value.as_array();
        if array.is_none() {
            self.wrong_type(&format!("a list of {wanted}, in brackets"));
        }
        let items = array.map(|array| array.iter()).into_iter().flatten();
        items
            .map(|item| Entry {
                value: item.get_ref(),
                key: self.key.clone(),
                span: item.span(),
                mistakes: self.mistakes,
            })
            .collect()
    }

    /// The table that this value is, such as `{ a = 1 }` in a list.
    pub(super) fn table(&self) -> Option<Section<'s, 't>> {
        let table = self.value.as_table().cloned()?;
        Some(Section { name: self.key.clone(), table: Some(table), asked: RefCell::default(), mistakes: self.mistakes })
    }

    /// Whether it says nothing: a list of nothing, or a table of such.
    pub(super) fn is_empty(&self) -> bool {
        fn says_nothing(value: &DeValue<'_>) -> bool {
            match (value.as_array(), value.as_table()) {
                (Some(array), _) => array.is_empty(),
                (None, Some(table)) => table.iter().all(|(_, value)| says_nothing(value.get_ref())),
                (None, None) => false,
            }
        }
        says_nothing(self.value)
    }

    /// Reports this value.
    pub(super) fn wrong(&self, message: impl Into<String>) {
        self.mistakes.add(&self.span, self.key.clone(), message.into());
    }

    /// Reports that the value is of another type.
    pub(super) fn wrong_type(&self, wanted: &str) {
        self.wrong(format!("is {}; write {wanted}", with_article(self.value.type_str())));
    }
}

fn with_article(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {type_name}")
}

/// A table that knows which of its keys were asked for; [`Section::finish`] reports the others.
pub(super) struct Section<'s, 't> {
    name: String,
    table: Option<DeTable<'t>>,
    asked: RefCell<Vec<&'static str>>,
    mistakes: &'s Mistakes<'t>,
}

impl<'s, 't> Section<'s, 't> {
    pub(super) fn root(text: &'t str, mistakes: &'s Mistakes<'t>) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            mistakes.add(&error.span().unwrap_or(0..0), String::new(), format!("is not TOML: {}", error.message()));
        }
        let table = Some(table.into_inner());
        Self { name: String::new(), table, asked: RefCell::default(), mistakes }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn found(&self, key: &'static str) -> Option<(&Spanned<toml::de::DeString<'t>>, &Spanned<DeValue<'t>>)> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table.as_ref()?.get_key_value(key)
    }

    /// The value of a key, for whoever reads it to judge.
    pub(super) fn entry(&self, key: &'static str) -> Option<Entry<'_, 't>> {
        let (_, value) = self.found(key)?;
        Some(Entry { value: value.get_ref(), key: self.path(key), span: value.span(), mistakes: self.mistakes })
    }

    /// What `read` makes of the value of a key; `None` where there is no such key or `read` has reported it.
    pub(super) fn get<T>(&self, key: &'static str, read: impl FnOnce(&Entry<'_, 't>) -> Option<T>) -> Option<T> {
        self.entry(key).and_then(|entry| read(&entry))
    }

    /// A table inside this one; an empty one where there is none.
    pub(super) fn section(&self, key: &'static str) -> Self {
        let table = self.entry(key).and_then(|entry| {
            let table = entry.value.as_table().cloned();
            if table.is_none() {
                entry.wrong_type(&format!("a table: [{}]", entry.key));
            }
            table
        });
        Self { name: self.path(key), table, asked: RefCell::default(), mistakes: self.mistakes }
    }

    /// All pairs of a table whose keys are free, in the order in which they were written.
    pub(super) fn free(&self) -> Vec<(&str, Entry<'_, 't>)> {
        let mut pairs: Vec<_> = self.table.iter().flatten().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        pairs
            .into_iter()
            .map(|(key, value)| {
                let entry = Entry {
                    key: self.path(&shown(key.get_ref())),
                    span: key.span(),
                    value: value.get_ref(),
                    mistakes: self.mistakes,
                };
                (key.get_ref().as_ref(), entry)
            })
            .collect()
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.iter().flatten() {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) {
                continue;
            }
            let nearest = asked
                .iter()
                .map(|known| (strsim::jaro_winkler(known, name), *known))
                .filter(|(likeness, _)| *likeness > LIKENESS)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let message = match nearest {
                Some((_, known)) => format!("is not a key; did you mean {}?", self.path(known)),
                None => format!("is not a key here; known are {}", asked.join(", ")),
            };
            self.mistakes.add(&key.span(), self.path(&shown(name)), message);
        }
    }
}

/// A key as it can stand in a message: one line, not endless.
pub(super) fn shown(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { key.chars().take(60).collect() } else { format!("{:?}", key.chars().take(60).collect::<String>()) }
}
