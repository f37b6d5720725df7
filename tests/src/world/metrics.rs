//! Reading `/metrics`: Prometheus' text format, as far as our programs write it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Every sample of one reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics(Vec<Sample>);

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Such as `posture_feed_sync_total`.
    pub name: String,
    /// Label to value.
    pub labels: BTreeMap<String, String>,
    /// The number.
    pub value: f64,
}

impl Metrics {
    /// Parses an exposition.
    ///
    /// # Errors
    /// A line is none of the format.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|line| sample(line).with_context(|| format!("{line:?} is no sample")))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The value of the sample of that name that has those labels, perhaps among others.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.all(name)
            .find(|sample| labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value)))
            .map(|sample| sample.value)
    }

    /// Every sample of a name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// Every sample.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.0
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_ends = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_ends);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    // A time stamp may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A label's value up to its closing quote, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let text = "# HELP a b\n# TYPE a counter\na 1\nb{x=\"1\",y=\"q\\\"}, \\\\\"} 2.5 1700000000\nb{x=\"2\"} NaN\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.value("a", &[]), Some(1.0));
        assert_eq!(metrics.value("b", &[("y", "q\"}, \\")]), Some(2.5));
        assert!(metrics.value("b", &[("x", "2")]).unwrap().is_nan());
        assert_eq!(metrics.value("b", &[("x", "3")]), None);
        assert!(Metrics::parse("a").is_err() && Metrics::parse("a{x=\"1} 2").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z{}=\",\\\\ 0-9\n]{0,80}") {
            let _ = Metrics::parse(&text);
        }
    }
}
