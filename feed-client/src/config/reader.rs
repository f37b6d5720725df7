//! Walks a TOML document and collects every mistake instead of stopping at the first.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;

type Table<'i> = Spanned<DeTable<'i>>;
type Value<'i> = Spanned<DeValue<'i>>;

/// A document and the mistakes found in it so far. What was asked for is what is known; the rest is a mistake.
pub(super) struct Reader<'i> {
    text: &'i str,
    root: Table<'i>,
    asked: Vec<&'static str>,
    mistakes: Vec<Mistake>,
}

impl<'i> Reader<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mistakes = errors
            .iter()
            .map(|error| Mistake {
                line: line_of(text, error.span().map_or(0, |span| span.start)),
                what: error.message().to_owned(),
            })
            .collect();
        Self { text, root, asked: Vec::new(), mistakes }
    }

    /// Reads the table `[name]` if it is there. The closure runs in any case, so that defaults have one place.
    pub(super) fn section(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_, 'i>)) {
        self.asked.push(name);
        let empty = DeTable::new();
        let (table, at) = match self.root.get_ref().get(name) {
            None => (&empty, 0),
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (table, value.span().start),
                other => {
                    let what = format!("`{name}` must be a table, and is {}", other.type_str());
                    self.mistakes.push(Mistake { line: line_of(self.text, value.span().start), what });
                    (&empty, 0)
                }
            },
        };
        let mut section = Section { text: self.text, name, table, at, asked: Vec::new(), mistakes: &mut self.mistakes };
        read(&mut section);
        section.finish();
    }

    pub(super) fn finish(mut self) -> Result<(), Vec<Mistake>> {
        for (key, _) in self.root.get_ref().iter().filter(|(key, _)| !self.asked.contains(&key.get_ref().as_ref())) {
            let what = format!("unknown table or key `{}`; known are: {}", key.get_ref(), self.asked.join(", "));
            self.mistakes.push(Mistake { line: line_of(self.text, key.span().start), what });
        }
        self.mistakes.sort_by_key(|mistake| mistake.line);
        if self.mistakes.is_empty() { Ok(()) } else { Err(self.mistakes) }
    }
}

/// One table of the document.
pub(super) struct Section<'r, 'i> {
    text: &'i str,
    name: &'static str,
    table: &'r DeTable<'i>,
    at: usize,
    asked: Vec<&'static str>,
    mistakes: &'r mut Vec<Mistake>,
}

impl<'i> Section<'_, 'i> {
    /// Reads a string if it is there; `take` answers with the end of a sentence that begins with the key.
    pub(super) fn string(&mut self, key: &'static str, take: impl FnOnce(&str) -> Result<(), String>) {
        self.value(key, |value| match value.get_ref() {
            DeValue::String(text) => take(text),
            other => Err(format!("must be a string, and is {}", other.type_str())),
        });
    }

    /// Reads a whole number if it is there.
    pub(super) fn integer(&mut self, key: &'static str, take: impl FnOnce(i64) -> Result<(), String>) {
        self.value(key, |value| {
            let number = value.get_ref().as_integer().map(|n| i64::from_str_radix(n.as_str(), n.radix()));
            match number {
                Some(Ok(number)) => take(number),
                Some(Err(_)) => Err("is too large".to_owned()),
                None => Err(format!("must be a whole number, and is {}", value.get_ref().type_str())),
            }
        });
    }

    /// Reads an array of strings if it is there, one by one; says whether it is.
    pub(super) fn strings(&mut self, key: &'static str, mut take: impl FnMut(&str) -> Result<(), String>) -> bool {
        self.asked.push(key);
        let Some(value) = self.table.get(key) else { return false };
        let DeValue::Array(items) = value.get_ref() else {
            let what = format!("must be an array of strings, and is {}", value.get_ref().type_str());
            self.mistake(value.span().start, key, &what);
            return true;
        };
        for item in items {
            let taken = match item.get_ref() {
                DeValue::String(text) => take(text).map_err(|what| format!("has {text:?}, which {what}")),
                other => Err(format!("must hold strings only, and holds {}", other.type_str())),
            };
            if let Err(what) = taken {
                self.mistake(item.span().start, key, &what);
            }
        }
        true
    }

    fn value(&mut self, key: &'static str, take: impl FnOnce(&Value<'i>) -> Result<(), String>) {
        self.asked.push(key);
        let Some(value) = self.table.get(key) else { return };
        if let Err(what) = take(value) {
            self.mistake(value.span().start, key, &what);
        }
    }

    fn mistake(&mut self, at: usize, key: &str, what: &str) {
        let what = format!("{}.{key}: {what}", self.name);
        self.mistakes.push(Mistake { line: line_of(self.text, at.max(self.at)), what });
    }

    fn finish(self) {
        for (key, _) in self.table.iter().filter(|(key, _)| !self.asked.contains(&key.get_ref().as_ref())) {
            let what = format!("unknown key `{}.{}`; known are: {}", self.name, key.get_ref(), self.asked.join(", "));
            self.mistakes.push(Mistake { line: line_of(self.text, key.span().start), what });
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}
