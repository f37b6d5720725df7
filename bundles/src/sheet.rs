//! `<zip>.sheet.txt`: the page that is printed and walks along with a zip. It holds what a person compares, signs and files,
//! and the commands that check the zip with what Windows and Linux bring along (design, section 6).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::bundle;
use crate::release::FileRef;
use crate::signed::RootFacts;
use crate::{Component, Digest, FileName, Manifest, Serial, Version};

/// Columns of an A4 page at ten characters to the inch, with the margins that printers want.
const COLUMNS: usize = 80;

/// Columns in front of a value.
const LABEL: usize = 14;

/// Lines of an A4 page at six to the inch, margins aside. What a release of the vendor's feed has fits in.
pub const LINES: usize = 64;

/// What the sheet says of one zip. Plain ASCII, the same for the same zip.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// The zip: its name, digest and length.
    pub zip: FileRef,
    /// What it is for, in a few words.
    pub kind: Kind,
    /// The release's number.
    pub serial: Serial,
    /// When the release was made.
    pub created: Timestamp,
    /// Where its content came from, in a line.
    pub source: String,
    /// The versions of the release.
    pub versions: BTreeMap<Component, Version>,
    /// The vendor's files inside.
    pub files: Vec<FileRef>,
}

/// Which zip it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For relays and headends.
    Bundle {
        /// The root that it is signed under.
        root: RootFacts,
        /// When it ends.
        valid_until: Timestamp,
    },
    /// For ISE, as the vendor made it.
    VendorsOwn,
    /// For ISE, made of the vendor's index and archives.
    BuiltFromFeed,
}

impl Sheet {
    /// Of a bundle.
    #[must_use]
    pub fn of_bundle(zip: FileRef, root: RootFacts, valid_until: Timestamp, manifest: &Manifest) -> Self {
        Self::new(zip, Kind::Bundle { root, valid_until }, manifest, bundle::carried(manifest))
    }

    /// Of a zip for ISE, the vendor's own where the release has it.
    #[must_use]
    pub fn of_offline_zip(zip: FileRef, manifest: &Manifest) -> Self {
        if manifest.offline_zip.is_some() {
            // What is inside nobody here has looked up: the vendor may have put more into it than the feed has.
            return Self::new(zip, Kind::VendorsOwn, manifest, Vec::new());
        }
        Self::new(zip, Kind::BuiltFromFeed, manifest, bundle::carried(manifest))
    }

    fn new(zip: FileRef, kind: Kind, manifest: &Manifest, files: Vec<&FileRef>) -> Self {
        Self {
            zip,
            kind,
            serial: manifest.serial,
            created: manifest.created,
            source: manifest.source.to_string(),
            versions: manifest.components.iter().map(|it| (it.component.clone(), it.version.clone())).collect(),
            files: files.into_iter().cloned().collect(),
        }
    }
}

/// A digest in groups of four, as people read it aloud, in two lines of eight groups.
fn groups(digest: &Digest) -> [String; 2] {
    let hex = digest.to_string();
    let line = |half: &str| {
        let groups = half.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned());
        groups.collect::<Vec<_>>().join(" ")
    };
    let (first, second) = hex.split_at(32);
    [line(first), line(second)]
}

fn row(f: &mut fmt::Formatter<'_>, label: &str, value: &str) -> fmt::Result {
    // Control characters and letters that a printer may not have came in with a URL.
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let value: String = value.chars().map(plain).take(COLUMNS - LABEL).collect();
    writeln!(f, "{}", format!("{label:<LABEL$}{value}").trim_end())
}

fn digest_rows(f: &mut fmt::Formatter<'_>, label: &str, digest: &Digest) -> fmt::Result {
    let [first, second] = groups(digest);
    row(f, label, &first)?;
    row(f, "", &second)
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.zip.name;
        writeln!(
            f,
            "POSTURE FEED - TRANSFER SHEET{:>width$}\n",
            format!("release number {}", self.serial),
            width = 51
        )?;
        row(f, "File", name.as_str())?;
        row(f, "Size", &format!("{} bytes", self.zip.length))?;
        digest_rows(f, "SHA-256", &self.zip.sha256)?;
        match &self.kind {
            Kind::Bundle { root, valid_until } => {
                row(f, "For", "servers and headends of Posture Feed; signed by the origin")?;
                row(f, "Valid until", &valid_until.to_string())?;
                row(
                    f,
                    "Root",
                    &format!("version {}, SHA-256 (compare with the origin's, by telephone)", root.version),
                )?;
                digest_rows(f, "", &root.fingerprint)?;
            }
            Kind::VendorsOwn => {
                row(f, "For", "ISE (offline posture update); the vendor's own zip, byte for byte")?;
            }
            Kind::BuiltFromFeed => row(f, "For", "ISE (offline posture update); built from the feed")?,
        }
        row(f, "Release made", &self.created.to_string())?;
        row(f, "Source", &self.source)?;
        for (label, (component, version)) in
            std::iter::once("Versions").chain(std::iter::repeat("")).zip(&self.versions)
        {
            row(f, label, &format!("{:<30}{}", component.to_string(), version.short()))?;
        }
        if !self.files.is_empty() {
            writeln!(f, "\nThe vendor's files inside, each with its size in bytes and its SHA-256")?;
        }
        for file in &self.files {
            let length = file.length.to_string();
            let width = COLUMNS - length.len() - 1;
            let shown: String = file.name.as_str().chars().take(width).collect();
            writeln!(f, "{shown:<width$} {length}\n {}", groups(&file.sha256).join(" "))?;
        }
        self.fmt_commands(f, name)?;
        let line = |width: usize| "_".repeat(width);
        writeln!(f, "\nMedia number  {}   Scanned with  {}", line(23), line(24))?;
        writeln!(f, "\nCarried by    {}   Date          {}", line(23), line(24))?;
        writeln!(f, "\nHanded over   {}   Received      {}", line(23), line(24))?;
        writeln!(f, "{:LABEL$}(signature){:width$}(signature)", "", "", width = 29)
    }
}

impl Sheet {
    /// The commands end their lines, so that nobody has to tell them from what to do with them.
    fn fmt_commands(&self, f: &mut fmt::Formatter<'_>, name: &FileName) -> fmt::Result {
        writeln!(
            f,
            "\nIs it whole? Run one of these in the folder of the file. What it prints is the\nSHA-256 above, in small or capital letters."
        )?;
        writeln!(f, "Windows:")?;
        writeln!(f, "    certutil -hashfile {name} SHA256")?;
        writeln!(f, "PowerShell:")?;
        writeln!(f, "    Get-FileHash -Algorithm SHA256 {name}")?;
        writeln!(f, "Linux:")?;
        writeln!(f, "    sha256sum {name}")?;
        writeln!(f, "Linux, with the .sha256 file beside it; says OK:")?;
        writeln!(f, "    sha256sum -c {name}.sha256")
    }
}
