//! Small, realistic, deterministic feeds: for tests, the demo and the lab upstream. The same edition and options give
//! the same bytes on every machine.
//!
//! Everything here is made up in the manner of the vendor's public documents; what is inside of the real archives nobody
//! outside the vendor has published.

mod charts;
mod conditions;
mod dialect;
mod edition;
pub mod hostile;
mod offline;
mod origin;
mod pack;
mod rng;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use url::Url;

use crate::{Component, FileName};

pub use self::dialect::{Dialect, UnknownDialect};
pub use self::edition::Edition;
pub use self::offline::ZipShape;
pub use self::origin::{Origin, Release, bundle_of};

/// What a feed is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How the index is written.
    pub dialect: Dialect,
    /// Rows of the Windows chart; the macOS and Linux charts have a fifth and a twentieth of them, at least three.
    pub rows: usize,
    /// Real chart files in place of made ones.
    pub charts: Vec<RealChart>,
    /// Bytes that do not compress, added to the conditions archive: for benchmarks with an archive of 100 MB.
    pub padding: u64,
}

impl Options {
    /// A feed of some kilobytes, for tests.
    #[must_use]
    pub fn small() -> Self {
        Self { rows: 20, ..Self::default() }
    }
}

impl Default for Options {
    /// Of realistic size: a Windows chart of 5,000 rows and 3 MB of XML.
    fn default() -> Self {
        Self { dialect: Dialect::Attributes, rows: 5_000, charts: Vec::new(), padding: 0 }
    }
}

/// A real chart in two successive versions, used for the first and the second edition as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealChart {
    /// [`Component::AvAsChartMacosx`] or [`Component::AvAsChartLinux`]; any of the five works.
    pub component: Component,
    /// The file's name inside the archive, the same for both versions.
    pub member: FileName,
    /// The older one.
    pub first: Vec<u8>,
    /// The newer one; later editions add a comment to it, so that their content differs.
    pub second: Vec<u8>,
}

/// A feed: what a directory on the vendor's server holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// `posture-update.xml`.
    pub index_name: FileName,
    /// The archives by name, all `.tar.gz`.
    pub files: BTreeMap<FileName, Vec<u8>>,
    /// Which edition it is.
    pub edition: Edition,
    dialect: Dialect,
    components: Vec<(FileName, Component)>,
}

/// The archives of each component, in the index's order. Supported operating systems come in two files, as the vendor's
/// log names them.
const ARCHIVES: [(&str, Component); 6] = [
    ("conditions.tar.gz", Component::Conditions),
    ("avchart-win.tar.gz", Component::AvAsChartWindows),
    ("avchart-macosx.tar.gz", Component::AvAsChartMacosx),
    ("avchart-linux.tar.gz", Component::AvAsChartLinux),
    ("osgroups.tar.gz", Component::SupportedOs),
    ("osgroupsV2.tar.gz", Component::SupportedOs),
];

impl Feed {
    /// Makes the archives of an edition. Components that the edition has no version for are left out.
    #[must_use]
    pub fn make(edition: &Edition, options: &Options) -> Self {
        let mut files = BTreeMap::new();
        let mut components = Vec::new();
        for (name, component) in ARCHIVES {
            if !edition.versions.contains_key(&component) {
                continue;
            }
            let name = file_name(name);
            let members = members(&name, &component, edition, options);
            let padding = if component == Component::Conditions { options.padding } else { 0 };
            files.insert(name.clone(), pack::tar_gz(&members, padding));
            components.push((name, component));
        }
        Self {
            index_name: file_name("posture-update.xml"),
            files,
            edition: edition.clone(),
            dialect: options.dialect,
            components,
        }
    }

    /// The index, as it stands at the URL `base`, beside the archives.
    #[must_use]
    pub fn index(&self, base: &Url) -> Vec<u8> {
        let rows = self.components.iter().filter_map(|(name, component)| {
            let version = self.edition.versions.get(component)?;
            Some((component, version, name, self.files.get(name)?))
        });
        let rows = rows.map(|(component, version, name, bytes)| dialect::Row { component, version, name, bytes });
        self.dialect.write(&rows.collect::<Vec<_>>(), base)
    }
}

/// The members of an archive, by path.
fn members(name: &FileName, component: &Component, edition: &Edition, options: &Options) -> Vec<(String, Vec<u8>)> {
    let real: Vec<_> = options
        .charts
        .iter()
        .filter(|chart| &chart.component == component)
        .map(|chart| (chart.member.to_string(), charts::real(chart, edition)))
        .collect();
    if !real.is_empty() {
        return real;
    }
    let text = match component {
        Component::Conditions => return conditions::members(edition),
        Component::AvAsChartWindows => ("Windows_ANTIMALWARE.xml", charts::windows(edition, options.rows)),
        Component::AvAsChartMacosx => ("Mac_ANTIMALWARE.xml", charts::macosx(edition, (options.rows / 5).max(3))),
        Component::AvAsChartLinux => ("Linux_ANTIMALWARE.xml", charts::linux(edition, (options.rows / 20).max(3))),
        Component::SupportedOs if name.as_str().contains("V2") => ("osgroupsV2.xml", charts::os_groups(edition, true)),
        Component::SupportedOs | Component::ComplianceModule(_) | Component::Other(_) => {
            ("osgroups.xml", charts::os_groups(edition, false))
        }
    };
    vec![(text.0.to_owned(), text.1.into_bytes())]
}

fn file_name(text: &str) -> FileName {
    FileName::parse(text).expect("the names in this module are file names")
}
