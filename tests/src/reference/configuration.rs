//! Configuration, by the files in `deploy/` that explain every key. Tests of the programs hold their defaults and examples to the
//! code; here each key that a program knows is held to be in them.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use toml::Value;

use super::{Program, plain};
use crate::shared::workspace;

/// A table of the file.
#[derive(Debug, Default)]
struct Section {
    name: String,
    about: String,
    entries: Vec<Entry>,
}

/// One key, or several that share their explanation.
#[derive(Debug)]
struct Entry {
    about: String,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    name: String,
    value: String,
    is_example: bool,
}

pub(super) fn text(programs: &[Program]) -> Result<String> {
    let mut text = String::new();
    for program in programs {
        let file = format!("{}.toml", program.name);
        let path = workspace().join("deploy").join(&file);
        let written = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (preface, sections) = parse(&written);
        complete(program, &sections, "").with_context(|| format!("deploy/{file}"))?;
        let _ = write!(text, "## {file}\n\n{}\n", plain(&preface));
        for section in &sections {
            let _ = write!(text, "\n### [{}] of {}\n", section.name, program.name);
            if !section.about.is_empty() {
                let _ = write!(text, "\n{}\n", plain(&section.about));
            }
            for entry in &section.entries {
                text.push('\n');
                for key in &entry.keys {
                    let what = if key.is_example { "no default; for example" } else { "default" };
                    let _ = writeln!(text, "- `{}` ({}): {what} `{}`", key.name, key.kind()?, key.value);
                }
                if !entry.about.is_empty() {
                    let _ = write!(text, "\n  {}\n", plain(&entry.about));
                }
            }
        }
        text.push('\n');
    }
    Ok(text)
}

impl Key {
    /// What may stand there, by what does.
    fn kind(&self) -> Result<&'static str> {
        let document = format!("value = {}", self.value);
        let table: toml::Table = toml::from_str(&document).with_context(|| document.clone())?;
        Ok(match table.get("value").context("a value")? {
            Value::String(text) if is_number_with(text, &["s", "m", "h", "d"]) => "duration",
            Value::String(text) if is_number_with(text, &["KiB", "MiB", "GiB"]) => "size",
            Value::String(text) if text.split(':').all(|part| part.len() == 2 && is_number_with(part, &[""])) => {
                "duration"
            }
            Value::String(_) => "text",
            // Sizes are written so where no unit fits.
            Value::Integer(_) if self.name.ends_with("_bytes") => "size",
            Value::Integer(_) => "whole number",
            Value::Boolean(_) => "true or false",
            Value::Array(_) => "list",
            Value::Float(_) | Value::Datetime(_) | Value::Table(_) => "other",
        })
    }
}

fn is_number_with(text: &str, units: &[&str]) -> bool {
    units.iter().any(|unit| {
        text.strip_suffix(unit).is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// What stands at the beginning, and the tables.
fn parse(text: &str) -> (String, Vec<Section>) {
    let (mut preface, mut about) = (String::new(), String::new());
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), about: std::mem::take(&mut about), ..Section::default() });
        } else if let Some(key) = key(line) {
            let about = std::mem::take(&mut about);
            let Some(section) = sections.last_mut() else { continue };
            match section.entries.last_mut() {
                Some(entry) if about.is_empty() => entry.keys.push(key),
                Some(_) | None => section.entries.push(Entry { about, keys: vec![key] }),
            }
        } else if let Some(comment) = line.strip_prefix('#') {
            about.push_str(comment);
        } else if sections.is_empty() {
            preface.push_str(&std::mem::take(&mut about));
        }
    }
    (preface, sections)
}

fn key(line: &str) -> Option<Key> {
    let (name, value) = line.trim_start_matches("# ").split_once(" = ")?;
    let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let is_quoted = name.starts_with('"') && name.ends_with('"') && !name.contains(' ');
    let is_key = is_name || is_quoted;
    is_key.then(|| Key { name: name.to_owned(), value: value.trim().to_owned(), is_example: line.starts_with('#') })
}

/// Held to what the program says when it meets a key that is none.
fn complete(program: &Program, sections: &[Section], name: &str) -> Result<()> {
    for known in known(program, name)? {
        let below = if name.is_empty() { known.clone() } else { format!("{name}.{known}") };
        let section = sections.iter().find(|section| section.name == name);
        let mut keys = section.into_iter().flat_map(|section| &section.entries).flat_map(|entry| &entry.keys);
        if keys.any(|key| key.name == known) {
            continue;
        }
        let inner = sections.iter().find(|section| section.name == below);
        let inner = inner.with_context(|| format!("{} knows {below}, which is not explained", program.name))?;
        // Where any key may stand, as in the table of components, none is wrong.
        if inner.entries.iter().flat_map(|entry| &entry.keys).all(|key| key.name.starts_with('"')) {
            continue;
        }
        complete(program, sections, &below)?;
    }
    Ok(())
}

fn known(program: &Program, section: &str) -> Result<Vec<String>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("none.toml");
    let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
    std::fs::write(&file, format!("{header}qqqq = 1\n"))?;
    let (_, said) = program.run(&["check-config", "--config", &file.to_string_lossy()])?;
    let line = said.lines().find(|line| line.contains("qqqq"));
    let list = line.and_then(|line| line.split_once("known are")).map(|(_, list)| list.trim_start_matches(':'));
    let list = list.with_context(|| format!("{} check-config: {said}", program.name))?;
    // The reason of the failure may stand behind the last.
    let list = list.split(" (").next().unwrap_or_default();
    let known: Vec<_> = list.split(',').map(|key| key.trim().to_owned()).collect();
    ensure!(known.iter().all(|key| !key.is_empty()), "{said}");
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_follow_each_other_share_what_is_said_of_them() {
        let (preface, sections) = parse(
            "# All keys.\n\n# Of times.\n[a]\n# How\n# often.\nevery = \"2h\"\n\n# Files.\n# x = \"y\"\n# z = 4\n",
        );
        assert_eq!(preface, " All keys.");
        assert_eq!((sections.len(), sections[0].about.as_str()), (1, " Of times."));
        let told: Vec<_> = sections[0].entries.iter().map(|entry| (entry.about.as_str(), entry.keys.len())).collect();
        assert_eq!(told, [(" How often.", 1), (" Files.", 2)]);
        assert_eq!(sections[0].entries[0].keys[0].kind().unwrap(), "duration");
        assert!(sections[0].entries[1].keys[1].is_example);
    }
}
