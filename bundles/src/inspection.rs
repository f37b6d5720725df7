//! What there is to say of a bundle to whoever holds it, before anything is changed: every check and its result, going on
//! after one that failed, and what is in it beside what is here.

mod checks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, BundleError, Facts, Trust, authenticate, span};
use crate::diagnosis::{Line, Mark, Step, Verdict};
use crate::report::Failure;
use crate::signed::{Metadata, RootFacts};
use crate::{Component, Digest, Limits, Reasoned as _, Serial, Version};

/// What is checked, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The zip's structure is exactly that of a bundle.
    Whole,
    /// No member has a name that bundles do not have.
    Names,
    /// Every root from 1 is there, each signed by the keys of the one before, and the trusted one is among them.
    RootChain,
    /// Timestamp, snapshot, targets and manifest are signed under them, none older than held; `bundle.json` is true.
    Signatures,
    /// The release was not made after this machine's clock.
    Clock,
    /// The signatures have not ended.
    ValidUntil,
    /// The release is not older than what was seen here.
    Newest,
    /// The members are exactly those of the release, and the one for people is not damaged.
    Members,
    /// Every file has the signed digest.
    Files,
    /// Every archive opens to its signed payload.
    Archives,
}

impl Step for Check {
    const WIDTH: usize = 13;

    fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Names => "names",
            Self::RootChain => "root chain",
            Self::Signatures => "signatures",
            Self::Clock => "clock",
            Self::ValidUntil => "valid until",
            Self::Newest => "newest",
            Self::Members => "members",
            Self::Files => "files",
            Self::Archives => "archives",
        }
    }
}

/// The file that was inspected, to compare with its sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZipFacts {
    /// Its name.
    pub name: String,
    /// In bytes.
    pub length: u64,
    /// Of the whole file.
    pub sha256: Digest,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// Whether it is the origin that is trusted here.
    pub is_trusted: bool,
    /// The bundle's newest root.
    pub root: RootFacts,
    /// The keys that signed each role's metadata, by their ids.
    pub keys: BTreeMap<&'static str, BTreeSet<String>>,
}

/// What is here, where the bundle was inspected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Here {
    /// What this is, such as "relay in /var/lib/posture-feed".
    pub what: String,
    /// The release that is here.
    pub serial: Option<Serial>,
    /// Its versions.
    pub versions: BTreeMap<Component, Version>,
}

/// Whether it can be imported here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Importable {
    /// Whether.
    pub can: bool,
    /// Why, or why not.
    pub why: String,
}

/// What was found out.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The file, where the caller told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip: Option<ZipFacts>,
    /// What the bundle says of itself; held to the signatures by [`Check::Signatures`]. Absent where it is no bundle.
    pub bundle: Option<Facts>,
    /// Who signed; absent where the metadata is not even in itself signed.
    pub signer: Option<Signer>,
    /// SHA-256 of the root that is trusted here.
    pub trusted_root: Digest,
    /// What is here, where the caller told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<Here>,
    /// Whether it can be imported here.
    pub import: Importable,
    /// Every check, and what follows.
    #[serde(flatten)]
    pub verdict: Verdict<Check>,
}

/// Looks at everything. Nothing is changed, and nothing is in memory but the metadata. `limits` hold for archives.
pub fn inspect<F: Read + Seek>(bundle: &mut Bundle<F>, trust: &Trust<'_>, limits: &Limits) -> Inspection {
    checks::run(bundle, trust, limits)
}

impl Inspection {
    /// Of a file that does not open as a bundle.
    #[must_use]
    pub fn of_no_bundle(error: &BundleError, trust: &Trust<'_>) -> Self {
        let lines = vec![Line::failed(Check::Whole, Failure::of(error))];
        Self::new(None, None, trust, lines)
    }

    fn new(bundle: Option<Facts>, signer: Option<Signer>, trust: &Trust<'_>, lines: Vec<Line<Check>>) -> Self {
        let verdict = Verdict::of(lines);
        let is_here = bundle.as_ref().is_some_and(|facts| trust.highest_serial == Some(facts.serial));
        let (can, why) = match &verdict.failure {
            Some(failure) => (false, failure.message.clone()),
            None if is_here => (true, "every check passed, and this release is here already".to_owned()),
            None => (true, "every check passed".to_owned()),
        };
        let trusted_root = Digest::of(trust.root);
        Self { zip: None, bundle, signer, trusted_root, here: None, import: Importable { can, why }, verdict }
    }

    /// With the file's own facts.
    #[must_use]
    pub fn with_zip(mut self, zip: ZipFacts) -> Self {
        // Who made the stick named the file.
        let ZipFacts { name, length, sha256 } = zip;
        let name = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        self.zip = Some(ZipFacts { name, length, sha256 });
        self
    }

    /// With what is here beside it.
    #[must_use]
    pub fn with_here(mut self, here: Here) -> Self {
        self.here = Some(here);
        self
    }

    /// Where it cannot be imported for a reason of its own: an origin makes releases itself, say. A check that failed goes
    /// first.
    #[must_use]
    pub fn not_importable(mut self, why: impl Into<String>) -> Self {
        if self.import.can {
            self.import = Importable { can: false, why: why.into() };
        }
        self
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(zip) = &self.zip {
            writeln!(f, "{} ({} bytes)\nSHA-256      {}\n", zip.name, zip.length, zip.sha256)?;
        }
        if let Some(facts) = &self.bundle {
            let claimed =
                if self.signer.as_ref().is_some_and(|it| it.is_trusted) { "" } else { " (nobody trusted says so)" };
            writeln!(f, "Release      {}, made {}{claimed}", facts.serial, facts.created)?;
            writeln!(f, "Valid until  {}", facts.valid_until)?;
            writeln!(f, "Source       {}", facts.source)?;
        }
        if let Some(signer) = &self.signer {
            let trusted = if signer.is_trusted { "trusted here" } else { "NOT trusted here" };
            writeln!(f, "Signer       root {}, SHA-256 {}: {trusted}", signer.root.version, signer.root.fingerprint)?;
            for (role, keys) in &signer.keys {
                for key in keys {
                    writeln!(f, "             {role:<9}  key {key}")?;
                }
            }
        }
        writeln!(f, "Trusted      root with SHA-256 {}", self.trusted_root)?;
        self.fmt_versions(f)?;
        writeln!(f)?;
        for line in &self.verdict.steps {
            let is_told_later = Some(line.step) == self.verdict.failed_step;
            f.write_str(&line.to_text(is_told_later))?;
        }
        f.write_str(&self.verdict.to_text())?;
        match &self.import {
            Importable { can: true, why } => writeln!(f, "Can be imported here: yes; {why}."),
            // Told in full just above.
            Importable { can: false, .. } if self.verdict.failure.is_some() => writeln!(f, "Can be imported here: no."),
            Importable { can: false, why } => writeln!(f, "Can be imported here: no; {why}"),
        }
    }
}

impl Inspection {
    fn fmt_versions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let empty = BTreeMap::new();
        let inside = self.bundle.as_ref().map_or(&empty, |facts| &facts.versions);
        let here = self.here.as_ref().map_or(&empty, |here| &here.versions);
        let components: BTreeSet<&Component> = inside.keys().chain(here.keys()).collect();
        if let Some(here) = &self.here {
            match here.serial {
                Some(serial) => writeln!(f, "Here         {}, release {serial}", here.what)?,
                None => writeln!(f, "Here         {}, no release", here.what)?,
            }
        }
        if !components.is_empty() {
            let second = if self.here.is_some() { "here" } else { "" };
            writeln!(f, "\n{}", format!("{:<27} {:<20} {second}", "Versions", "in the bundle").trim_end())?;
        }
        let short = |version: Option<&Version>| version.map_or_else(|| "-".to_owned(), Version::short);
        for component in components {
            let second = self.here.as_ref().map_or_else(String::new, |_| short(here.get(component)));
            let line = format!("{:<27} {:<20} {second}", component.to_string(), short(inside.get(component)));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
