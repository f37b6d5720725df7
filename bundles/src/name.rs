//! Names of files, of signed targets and of members of zips. All end up in paths and URLs, so none can hold what is
//! special there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Digest;

/// Room for the target prefix (17) and the digest prefix (65) within the 255 bytes that file systems allow.
const MAX_LENGTH: usize = 160;

/// What file systems allow for one part of a path, in bytes.
const MAX_PART: usize = 255;

/// Folders below folders: ours have one.
const MAX_PARTS: usize = 4;

/// A flat file name: 1 to 160 of `A-Z a-z 0-9 . _ + -`, beginning with a letter, a digit or `_`, and not a device name
/// of Windows. It is a path of one part everywhere and needs no escaping in a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// Takes a name as it is.
    ///
    /// # Errors
    /// The text is not such a name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.len() <= MAX_LENGTH && is_plain(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName(text.chars().take(200).collect()))
        }
    }

    /// The last part of a locator's path, percent-decoding undone by `_` where a character does not fit.
    ///
    /// # Errors
    /// Nothing is left that could be a name, or it is too long.
    pub fn from_locator(locator: &str) -> Result<Self, BadName> {
        let path = locator.split(['?', '#']).next().unwrap_or_default();
        let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
        let fitting: String = last
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-') { c } else { '_' })
            .collect();
        Self::parse(&fitting).map_err(|_| BadName(locator.chars().take(200).collect()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the opened payload: `x.tar.gz` and `x.tgz` hold `x.tar`, `x.gz` holds `x`; the name itself where the
    /// file is not compressed.
    #[must_use]
    pub fn payload(&self) -> Self {
        let lower = self.0.to_ascii_lowercase();
        let stem = |suffix: usize| &self.0[..self.0.len() - suffix];
        let name = if lower.ends_with(".tgz") {
            format!("{}.tar", stem(4))
        } else if lower.ends_with(".gz") {
            stem(3).to_owned()
        } else {
            self.0.clone()
        };
        Self::parse(&name).unwrap_or_else(|_| self.clone())
    }
}

/// Whether a text is one part of a path everywhere, and means nothing else anywhere.
fn is_plain(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-');
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first && text.bytes().all(good) && !text.ends_with('.') && !is_windows_device(text)
}

/// Names that Windows takes for devices whatever the extension: a bundle is carried across such machines.
pub(crate) fn is_windows_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul")
        || stem
            .strip_prefix("com")
            .or_else(|| stem.strip_prefix("lpt"))
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FileName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for FileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A text that is not a plain file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a plain file name")]
pub struct BadName(String);

/// The path of a target in signed metadata: flat, `<first 16 hex of sha256>-<name>` for content, or the plain name of a
/// manifest or of the offline root (design, section 6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName(FileName);

impl TargetName {
    /// The target of a content file, so that two releases' `osgroups.tar.gz` live side by side.
    ///
    /// # Errors
    /// The name is too long to be prefixed.
    pub fn of_content(digest: &Digest, name: &FileName) -> Result<Self, BadName> {
        FileName::parse(&format!("{}-{name}", digest.short())).map(Self)
    }

    /// The target of a release's manifest.
    #[must_use]
    pub fn of_manifest(serial: crate::Serial) -> Self {
        Self(FileName(format!("release-{serial}.json")))
    }

    /// The target of a channel's manifest, `stable.json`.
    #[must_use]
    pub fn of_channel_stable() -> Self {
        Self(FileName("stable.json".to_owned()))
    }

    /// The offline repository's root as a target of the online one.
    #[must_use]
    pub fn of_offline_root() -> Self {
        Self(FileName("offline-root.json".to_owned()))
    }

    /// Takes a path from metadata.
    ///
    /// # Errors
    /// The text is not a flat name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        FileName::parse(text).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The file name under `targets/` of a consistent snapshot: `<sha256>.<path>`.
    #[must_use]
    pub fn served_as(&self, digest: &Digest) -> String {
        format!("{digest}.{}", self.0)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The path of a member in a zip of ours: one file name, or folders and one, `/` between them. Each part is as plain as a
/// [`FileName`], and as long as file systems allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberPath(String);

impl MemberPath {
    /// Takes a path as it is.
    ///
    /// # Errors
    /// It has a part that is no plain name, or more parts or longer ones than any of ours.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let fits = |part: &str| part.len() <= MAX_PART && is_plain(part);
        if text.split('/').count() <= MAX_PARTS && text.split('/').all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName(text.chars().take(200).collect()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<FileName> for MemberPath {
    fn from(name: FileName) -> Self {
        Self(name.0)
    }
}

impl fmt::Display for MemberPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_paths_or_windows_would_take_otherwise_are_refused() {
        for text in
            ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "c:", "nul", "CON.txt", "com1.tar", "x.", "é", "a\0"]
        {
            assert!(FileName::parse(text).is_err(), "{text:?}");
        }
        for text in ["osgroups.tar.gz", "_x", "a+b-c_d.1", "comm.tar", "com10"] {
            assert!(FileName::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn members_stand_below_folders_and_nowhere_else() {
        for text in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\\b", "c:/a", "a/nul", "1/2/3/4/5"] {
            assert!(MemberPath::parse(text).is_err(), "{text:?}");
        }
        let digest = Digest::of(b"");
        for text in ["bundle.json", "metadata/1.root.json", &format!("targets/{digest}.{}-a.tar.gz", digest.short())] {
            assert!(MemberPath::parse(text).is_ok(), "{text:?}");
        }
        assert!(MemberPath::parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn payload_names() {
        for (archive, payload) in [
            ("a.tar.gz", "a.tar"),
            ("a.tgz", "a.tar"),
            ("a.xml.gz", "a.xml"),
            ("a.tar", "a.tar"),
            ("a.zip", "a.zip"),
            ("A.TAR.GZ", "A.TAR"),
        ] {
            assert_eq!(FileName::parse(archive).unwrap().payload().as_str(), payload);
        }
    }

    #[test]
    fn locators_give_their_last_part() {
        for (locator, name) in [
            ("https://h/x/osgroups.tar.gz?a=/b", "osgroups.tar.gz"),
            ("../../etc/passwd", "passwd"),
            ("dir\\x y.zip", "x_y.zip"),
        ] {
            assert_eq!(FileName::from_locator(locator).unwrap().as_str(), name);
        }
        assert!(FileName::from_locator("https://h/").is_err());
        assert!(FileName::from_locator("..").is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_locator_a_name_is_one_plain_path_part(locator in "\\PC{0,300}") {
            if let Ok(name) = FileName::from_locator(&locator) {
                prop_assert_eq!(std::path::Path::new(name.as_str()).components().count(), 1);
                prop_assert!(FileName::parse(name.as_str()).is_ok());
                prop_assert!(FileName::parse(name.payload().as_str()).is_ok());
            }
        }
    }
}
