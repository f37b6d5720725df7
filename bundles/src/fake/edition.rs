//! Editions: the versions of all components at one moment.

use std::collections::BTreeMap;

use crate::{Component, Version};

/// Versions as Update Information shows them in the vendor's documents, "before" and "after".
const DOCUMENTED: [(Component, &str, &str); 5] = [
    (Component::Conditions, "280052.0.0.0", "300418.0.0.0"),
    (Component::AvAsChartWindows, "263.0.0.0", "297.0.0.0"),
    (Component::AvAsChartMacosx, "181.0.0.0", "214.0.0.0"),
    (Component::AvAsChartLinux, "33.0.0.0", "66.0.0.0"),
    (Component::SupportedOs, "84.6.2.0", "101.6.3.0"),
];

/// The versions of all components at one moment, and the how manieth moment it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// One version for each component; remove one to leave a component out of the feed.
    pub versions: BTreeMap<Component, Version>,
    number: u32,
}

impl Edition {
    /// The first edition: the versions that the vendor's documents show before an update.
    #[must_use]
    pub fn before() -> Self {
        Self::documented(1, |(_, before, _)| before)
    }

    /// The second edition: the versions that the vendor's documents show after the update.
    #[must_use]
    pub fn after() -> Self {
        Self::documented(2, |(_, _, after)| after)
    }

    fn documented(number: u32, column: impl Fn((Component, &'static str, &'static str)) -> &'static str) -> Self {
        let versions =
            DOCUMENTED.into_iter().filter_map(|row| Some((row.0.clone(), column(row).parse().ok()?))).collect();
        Self { versions, number }
    }

    /// The edition after this one: each component a little newer, and few rows of content changed. After the first comes
    /// the second of the documents.
    #[must_use]
    pub fn next(&self) -> Self {
        if *self == Self::before() {
            return Self::after();
        }
        let versions = self.versions.iter().map(|(component, version)| {
            let step = if *component == Component::Conditions { 137 } else { 1 };
            (component.clone(), later(version, step))
        });
        Self { versions: versions.collect(), number: self.number + 1 }
    }

    /// 1, 2, 3, …
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }
}

/// The same version with its first number raised.
fn later(version: &Version, step: u64) -> Version {
    let text = version.to_string();
    let (first, rest) = text.split_once('.').unwrap_or((&text, "0"));
    let raised = first.parse::<u64>().ok().and_then(|first| format!("{}.{rest}", first + step).parse().ok());
    raised.unwrap_or_else(|| version.clone())
}
