//! What a program writes for whoever helps from far away: one text, with a list of what is in it first, in which no secret is, and
//! on request nobody's name or address either.

mod redact;

use std::fmt::Write as _;

pub use redact::{Kind, Redaction};

/// What is in the text, in order.
#[derive(Debug, Clone, Default)]
pub struct Collection {
    sections: Vec<Section>,
}

#[derive(Debug, Clone)]
struct Section {
    title: &'static str,
    about: &'static str,
    text: String,
}

impl Collection {
    /// Adds a section; where there is nothing to be had, why.
    pub fn add(&mut self, title: &'static str, about: &'static str, text: Result<String, String>) {
        let text = text.unwrap_or_else(|why| format!("not available: {why}"));
        self.sections.push(Section { title, about, text: scrub(&text) });
    }

    /// The whole text. `heading` stands above it; with a redaction, what is in the sections is replaced by it.
    #[must_use]
    pub fn text(&self, heading: &str, redaction: Option<&mut Redaction>) -> String {
        let mut texts: Vec<String> = self.sections.iter().map(|section| section.text.clone()).collect();
        if let Some(redaction) = redaction {
            for text in &texts {
                redaction.discover(text);
            }
            for text in &mut texts {
                *text = redaction.apply(text);
            }
        }
        let mut whole = format!("{heading}\n\nWhat is inside:\n");
        let width = self.sections.iter().map(|section| section.title.len()).max().unwrap_or(0);
        for (index, section) in self.sections.iter().enumerate() {
            // Writing to a String does not fail.
            let _ = writeln!(whole, "{:>4}  {:<width$}  {}", index + 1, section.title, section.about);
        }
        for (index, (section, text)) in self.sections.iter().zip(&texts).enumerate() {
            let _ = write!(whole, "\n==== {} {}\n\n{}\n", index + 1, section.title, text.trim_end());
        }
        whole
    }
}

const MASK: &str = "(masked)";

/// Takes out what looks like a secret, wherever it comes from: nothing here is to have any, and this is for the day on which
/// something has. Tokens of ours, what stands before `@` in URLs, what follows `Bearer` and `Basic`, private keys in PEM.
fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut is_key = false;
    for line in text.split_inclusive('\n') {
        let begins = line.contains("-----BEGIN") && line.contains("PRIVATE KEY");
        if begins {
            clean.push_str(MASK);
            clean.push('\n');
        }
        // In JSON a whole key may be one line.
        is_key = (is_key || begins) && !line.contains("-----END");
        if !is_key && !begins && !line.contains("-----END") {
            clean.push_str(&line_without_secrets(line));
        }
    }
    clean
}

fn line_without_secrets(line: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ',' | ')' | '`' | '\\');
    let line = masked_after(line, "://", |rest| {
        let authority = rest.split(|c: char| ends(c) || matches!(c, '/' | '?' | '#')).next().unwrap_or_default();
        authority.rfind('@')
    });
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let token = |rest: &str| Some(rest.find(|c| !is_of_token(c)).unwrap_or(rest.len())).filter(|length| *length >= 16);
    let line = masked_after(&line, "pf_", token);
    let word = |rest: &str| Some(rest.find(ends).unwrap_or(rest.len())).filter(|length| *length >= 8);
    let line = masked_after(&line, "Bearer ", word);
    masked_after(&line, "Basic ", word)
}

/// Masks as many bytes behind each `mark` as `secret` says.
fn masked_after(text: &str, mark: &str, secret: impl Fn(&str) -> Option<usize>) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let (before, behind) = rest.split_at(at + mark.len());
        clean.push_str(before);
        rest = match secret(behind) {
            Some(length) => {
                clean.push_str(MASK);
                &behind[length..]
            }
            None => behind,
        };
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_comes_first() {
        let mut collection = Collection::default();
        collection.add("version", "the program", Ok("feed-server 1\n".to_owned()));
        collection.add("status", "how it is", Err("nobody answers".to_owned()));
        assert_eq!(
            collection.text("Of a server", None),
            "Of a server\n\nWhat is inside:\n   1  version  the program\n   2  status   how it is\n\n==== 1 version\n\nfeed-server \
             1\n\n==== 2 status\n\nnot available: nobody answers\n"
        );
    }

    #[test]
    fn secrets_are_masked_wherever_they_come_from() {
        for (text, clean) in [
            (
                "http://feed:hunter2@proxy:3128/x and http://proxy/a@b",
                "http://(masked)@proxy:3128/x and http://proxy/a@b",
            ),
            ("token \"pf_0123456789abcdef_-x\", pf_short", "token \"pf_(masked)\", pf_short"),
            (
                "Authorization: Bearer abcdefgh.ijk\nBasic ZmVlZDpodW50ZXIy",
                "Authorization: Bearer (masked)\nBasic (masked)",
            ),
            ("a\n-----BEGIN PRIVATE KEY-----\nMC4\n-----END PRIVATE KEY-----\nb", "a\n(masked)\nb"),
            ("Basic use of a proxy", "Basic use of a proxy"),
        ] {
            assert_eq!(scrub(text), clean);
        }
    }
}
