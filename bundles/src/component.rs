//! Components: the parts of the feed that are updated one by one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Names longer than this are not the vendor's; they become directory names on headends.
const MAX_SUFFIX: usize = 64;

const COMPLIANCE: &str = "compliance-module-";
const OTHER: &str = "other-";

/// One updatable part of the feed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Predefined checks and rules.
    Conditions,
    /// Recognised antivirus and antispyware products, Windows.
    AvAsChartWindows,
    /// Recognised antivirus and antispyware products, macOS.
    AvAsChartMacosx,
    /// Recognised antivirus and antispyware products, Linux.
    AvAsChartLinux,
    /// Supported operating systems.
    SupportedOs,
    /// `compliance-module-<name>`.
    ComplianceModule(Suffix),
    /// `other-<name>`: not recognised, carried all the same.
    Other(Suffix),
}

impl Component {
    /// The five components of Update Information, in its order.
    pub const KNOWN: [Self; 5] =
        [Self::Conditions, Self::AvAsChartWindows, Self::AvAsChartMacosx, Self::AvAsChartLinux, Self::SupportedOs];

    /// `other-<name>` for something that is not recognised; whatever does not fit a component's name becomes `-`.
    #[must_use]
    pub fn other(name: &str) -> Self {
        Self::Other(Suffix::from_any(name))
    }

    /// The label of this component's row in Update Information; `None` where the panel has no row for it.
    #[must_use]
    pub fn label(&self) -> Option<&'static str> {
        match self {
            Self::Conditions => Some("Cisco conditions version"),
            Self::AvAsChartWindows => Some("Cisco AV/AS support chart version for windows"),
            Self::AvAsChartMacosx => Some("Cisco AV/AS support chart version for Mac OSX"),
            Self::AvAsChartLinux => Some("Cisco AV/AS support chart version for Linux"),
            Self::SupportedOs => Some("Cisco supported OS version"),
            Self::ComplianceModule(_) | Self::Other(_) => None,
        }
    }

    /// For metric labels: a closed set, so all `other-*` are `other` and all modules `compliance-module`.
    #[must_use]
    pub fn metric_label(&self) -> &'static str {
        match self {
            Self::Conditions => "conditions",
            Self::AvAsChartWindows => "av-as-chart-windows",
            Self::AvAsChartMacosx => "av-as-chart-macosx",
            Self::AvAsChartLinux => "av-as-chart-linux",
            Self::SupportedOs => "supported-os",
            Self::ComplianceModule(_) => "compliance-module",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ComplianceModule(Suffix(name)) => write!(f, "{COMPLIANCE}{name}"),
            Self::Other(Suffix(name)) => write!(f, "{OTHER}{name}"),
            Self::Conditions
            | Self::AvAsChartWindows
            | Self::AvAsChartMacosx
            | Self::AvAsChartLinux
            | Self::SupportedOs => f.write_str(self.metric_label()),
        }
    }
}

impl FromStr for Component {
    type Err = BadComponent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(known) = Self::KNOWN.iter().find(|known| known.metric_label() == text) {
            return Ok(known.clone());
        }
        let bad = || BadComponent(text.chars().take(100).collect());
        if let Some(name) = text.strip_prefix(COMPLIANCE) {
            return Suffix::parse(name).map(Self::ComplianceModule).ok_or_else(bad);
        }
        text.strip_prefix(OTHER).and_then(Suffix::parse).map(Self::Other).ok_or_else(bad)
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The free part of a component's name: 1 to 64 of `a-z 0-9 . -`, beginning with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suffix(String);

impl Suffix {
    /// `None` where the text is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        (begins_well && text.len() <= MAX_SUFFIX && text.bytes().all(good)).then(|| Self(text.to_owned()))
    }

    /// Lower-cases, and puts `-` in place of what does not fit.
    fn from_any(text: &str) -> Self {
        let mut name = String::new();
        for character in text.chars().take(MAX_SUFFIX) {
            match character.to_ascii_lowercase() {
                fitting @ ('a'..='z' | '0'..='9' | '.') if !name.is_empty() || fitting != '.' => name.push(fitting),
                _ if name.is_empty() || name.ends_with('-') => {}
                _ => name.push('-'),
            }
        }
        let name = name.trim_end_matches(['-', '.']);
        Self(if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() })
    }
}

/// A text that names no component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a component")]
pub struct BadComponent(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_known_component_reads_back() {
        for component in Component::KNOWN {
            assert_eq!(component.to_string().parse(), Ok(component));
        }
        assert_eq!("other-xyz".parse(), Ok(Component::other("XYZ")));
        assert!("other-".parse::<Component>().is_err());
        assert!("other-../x".parse::<Component>().is_err());
        assert!("compliance-module-Windows".parse::<Component>().is_err());
    }

    proptest! {
        #[test]
        fn any_name_makes_a_component_that_reads_back(name in "\\PC{0,100}") {
            let component = Component::other(&name);
            prop_assert_eq!(component.to_string().parse(), Ok(component));
        }
    }
}
