//! Versions of components.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Digest;

/// More parts than any vendor version has (`4.3.3030.6145` has four); more is a date list or an attack.
const MAX_PARTS: usize = 8;

/// A component's version: dotted numbers, or the content's digest where upstream gives none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    /// As upstream wrote it, such as `300418.0.0.0`.
    Dotted(Dotted),
    /// Stands in where there is no version; written `sha256:<64 hex digits>`.
    Digest(Digest),
}

impl Version {
    /// Whether going from `before` to `self` goes backwards. Digests have no order, so nothing is said of them.
    #[must_use]
    pub fn is_rollback_from(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Dotted(now), Self::Dotted(before)) => now < before,
            (Self::Digest(_), _) | (_, Self::Digest(_)) => false,
        }
    }

    /// For tables: a digest is cut to its first 12 hex digits.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::Dotted(dotted) => dotted.to_string(),
            Self::Digest(digest) => format!("sha256:{}", &digest.to_string()[..12]),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dotted(dotted) => dotted.fmt(f),
            Self::Digest(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(hex) = text.strip_prefix("sha256:") {
            return hex.parse().map(Self::Digest).map_err(|_| BadVersion::new(text));
        }
        text.parse().map(Self::Dotted)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Dotted numbers, kept as written; ordered number by number, where a missing one counts as 0.
#[derive(Debug, Clone)]
pub struct Dotted {
    text: String,
    parts: Vec<u64>,
}

impl Dotted {
    /// Number by number, without trailing zeros: what order and equality look at.
    fn significant(&self) -> &[u64] {
        let end = self.parts.iter().rposition(|part| *part != 0).map_or(0, |last| last + 1);
        &self.parts[..end]
    }

    /// Whether there is a dot: a lone number is a version only where its name says so.
    #[must_use]
    pub fn has_dot(&self) -> bool {
        self.parts.len() > 1
    }
}

impl PartialEq for Dotted {
    fn eq(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }
}

impl Eq for Dotted {}

impl std::hash::Hash for Dotted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}

impl PartialOrd for Dotted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Dotted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.significant().cmp(other.significant())
    }
}

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Dotted {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadVersion::new(text);
        let parts: Vec<u64> = text
            .split('.')
            .map(|part| {
                // `u64::from_str` takes a leading '+', a version does not.
                if part.bytes().all(|byte| byte.is_ascii_digit()) {
                    part.parse().map_err(|_| bad())
                } else {
                    Err(bad())
                }
            })
            .collect::<Result<_, _>>()?;
        if parts.len() > MAX_PARTS {
            return Err(bad());
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

/// A text that is neither dotted numbers nor `sha256:` with a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version (dotted numbers such as 300418.0.0.0)")]
pub struct BadVersion(String);

impl BadVersion {
    fn new(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn order_is_by_number_and_not_by_letter() {
        assert!(version("280052.0.0.0").is_rollback_from(&version("300418.0.0.0")));
        assert!(version("99.0.0.0").is_rollback_from(&version("101.6.3.0")));
        assert!(!version("101.6.3.0").is_rollback_from(&version("101.6.3")));
        assert_eq!(version("101.6.3.0"), version("101.6.3"));
        let digest = Version::Digest(Digest::of(b"x"));
        assert!(!digest.is_rollback_from(&version("1.0")) && !version("1.0").is_rollback_from(&digest));
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in
            ["", ".", "1.", "1..2", "+1.0", "1.0a", "1 .0", "1.2.3.4.5.6.7.8.9", "99999999999999999999.0", "sha256:12"]
        {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_prints_the_same(text in "\\PC{0,40}|[0-9.]{0,30}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.to_string(), text);
            }
        }
    }
}
