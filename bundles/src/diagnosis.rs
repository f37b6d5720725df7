//! What a doctor says, of whichever program: a line for each step, and the verdict. People read it on a terminal, programs
//! and support tickets as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::Reason;
use crate::report::Failure;

#[cfg(test)]
mod tests;

/// The steps of a doctor.
pub trait Step: Copy + PartialEq {
    /// Columns for the word.
    const WIDTH: usize;

    /// One word.
    fn as_str(self) -> &'static str;
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It is as it should be.
    Ok,
    /// It works today, and somebody should look at it.
    Warning,
    /// It is why updates do not come, or will not be kept.
    Failed,
    /// There is nothing of the kind here.
    None,
    /// An earlier step failed.
    NotTried,
}

impl Mark {
    /// How people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::None => "none",
            Self::NotTried => "not tried",
        }
    }
}

/// A step and what was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line<S> {
    /// Which step.
    pub step: S,
    /// What came of it.
    pub result: Mark,
    /// What it was about: a host, a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What was seen, on one line.
    pub seen: String,
    /// More of it, for people; as facts, it stands elsewhere in the report.
    #[serde(skip)]
    pub details: Vec<String>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_seconds: Option<f64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl<S> Line<S> {
    /// A line without a target, details or a time.
    #[must_use]
    pub fn new(step: S, result: Mark, seen: impl AsRef<str>) -> Self {
        let seen = plain(seen.as_ref());
        Self { step, result, target: None, seen, details: Vec::new(), took_seconds: None, failure: None }
    }

    /// A step that failed. What was seen is the failure's message, which is told in full at the end.
    #[must_use]
    pub fn failed(step: S, failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::new(step, Mark::Failed, "") }
    }

    /// What it was about.
    #[must_use]
    pub fn about(mut self, target: impl fmt::Display) -> Self {
        self.target = Some(plain(&target.to_string()));
        self
    }

    /// With more for people, a line each.
    #[must_use]
    pub fn with(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details.into_iter().map(|detail| plain(&detail)));
        self
    }

    /// How long it took.
    #[must_use]
    pub fn took(mut self, took: Duration) -> Self {
        self.took_seconds = Some(took.as_secs_f64());
        self
    }
}

impl<S: Step> Line<S> {
    /// For people. The first line that failed is told in full at the end; here, what is known beside that.
    #[must_use]
    pub fn to_text(&self, is_told_later: bool) -> String {
        let mut told: Vec<&str> = Vec::new();
        told.extend(self.target.as_deref());
        told.extend(Some(self.seen.as_str()).filter(|seen| !seen.is_empty()));
        match &self.failure {
            Some(failure) if !is_told_later => told.push(&failure.message),
            Some(failure) if told.is_empty() => told.push(failure.reason.as_str()),
            Some(_) | None => {}
        }
        let took = self.took_seconds.map_or_else(String::new, |seconds| match seconds * 1_000.0 {
            short if short < 10.0 => format!(" ({short:.1} ms)"),
            milliseconds => format!(" ({milliseconds:.0} ms)"),
        });
        let (step, result, width) = (self.step.as_str(), self.result.as_str(), S::WIDTH);
        let first = format!("{step:<width$} {result:<9} {}{took}", told.join(": "));
        let details = self.details.iter().map(|detail| format!("{:<width$}{detail}\n", "", width = width + 11));
        format!("{}\n{}", first.trim_end(), details.collect::<String>())
    }
}

/// Headers, names in certificates and indexes come from outside: none of them may give orders to a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What follows from the lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict<S> {
    /// `ok`, or the reason of the first step that failed.
    pub result: &'static str,
    /// What the command exits with.
    pub exit_code: u8,
    /// The first step that failed.
    pub failed_step: Option<S>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What to check next: the reason's sentence.
    pub advice: Option<&'static str>,
    /// Every step, in the order taken.
    pub steps: Vec<Line<S>>,
}

impl<S> Default for Verdict<S> {
    fn default() -> Self {
        Self { result: "ok", exit_code: 0, failed_step: None, failure: None, advice: None, steps: Vec::new() }
    }
}

impl<S: Step> Verdict<S> {
    /// Of every step, in the order taken.
    #[must_use]
    pub fn of(steps: Vec<Line<S>>) -> Self {
        let failed = steps.iter().find(|line| line.result == Mark::Failed);
        let mut verdict = Self::default();
        if let Some((line, failure)) = failed.and_then(|line| Some((line, line.failure.clone()?))) {
            verdict.result = failure.reason.as_str();
            verdict.exit_code = failure.reason.exit_code();
            verdict.failed_step = Some(line.step);
            verdict.advice = Some(failure.reason.sentence());
            verdict.failure = Some(failure);
        }
        Self { steps, ..verdict }
    }

    /// What stands behind the last line, for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (Some(failure), Some(step)) = (&self.failure, self.failed_step) else {
            return match self.steps.iter().filter(|line| line.result == Mark::Warning).count() {
                0 => "\nEverything is as it should be.\n".to_owned(),
                1 => "\nIt works; there is 1 warning above.\n".to_owned(),
                count => format!("\nIt works; there are {count} warnings above.\n"),
            };
        };
        let message: String = failure.message.lines().map(|line| format!("  {line}\n")).collect();
        let advice = beside(&failure.message, failure.reason).map(|advice| format!("  {advice}\n")).unwrap_or_default();
        let step = step.as_str();
        format!("\nFailed at {step} for {} (exit code {}):\n{message}{advice}", failure.reason, self.exit_code)
    }

    /// What the command ends with where a step failed.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn into_result(self) -> Result<(), Failure> {
        match (self.failure, self.failed_step) {
            (Some(failure), Some(step)) => {
                let message = format!("the step {} failed; the report says what to check next", step.as_str());
                Err(Failure::new(failure.reason, message))
            }
            (_, _) => Ok(()),
        }
    }
}

/// Which program looked, and on what machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    /// `feed-server` or `feed-client`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it calls itself to those it asks.
    pub user_agent: &'static str,
    /// The operating system, as Rust names it.
    pub system: &'static str,
    /// The machine, as Rust names it.
    pub architecture: &'static str,
    /// The kernel's release.
    pub kernel: String,
}

impl Program {
    /// The program that asks, on the machine that it was built for and runs on, with this kernel.
    #[must_use]
    pub fn new(name: &'static str, version: &'static str, user_agent: &'static str, kernel: impl Into<String>) -> Self {
        let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
        Self { name, version, user_agent, system, architecture, kernel: kernel.into() }
    }
}

/// The part of a sentence's words from which on a message that has them says the same.
const SAID: (usize, usize) = (3, 5);

/// Where the message always knows better: `bad_request`'s sentence refers to it, and of the way to the other side it says who
/// named a proxy, whether there was a password at all, which port was asked for and who should be asked why. The sentences
/// guess there, and speak to the mirror alone.
const TOLD_BY_MESSAGE: &[Reason] = &[
    Reason::BadRequest,
    Reason::Connect,
    Reason::ProxyConnect,
    Reason::ProxyAuth,
    Reason::ProxyRefused,
    Reason::TlsUntrusted,
    Reason::TlsIntercepted,
];

/// The reason's sentence, unless the message says the same: most messages know better.
fn beside(message: &str, reason: Reason) -> Option<&'static str> {
    if TOLD_BY_MESSAGE.contains(&reason) {
        return None;
    }
    let (said, own) = (words(message), words(reason.sentence()));
    let known = own.iter().filter(|word| said.contains(word)).count();
    (known * SAID.1 < own.len() * SAID.0).then(|| reason.sentence())
}

/// Lower-case words of four letters or more: shorter ones say nothing alone.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3);
    words.map(str::to_lowercase).collect()
}
