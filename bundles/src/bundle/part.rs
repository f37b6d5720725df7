//! The names of a bundle's members, and what each stands for.

use std::fmt;

use super::{FACTS, README};
use crate::{Digest, TargetName};

/// One member of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Facts,
    Readme,
    Root(u64),
    Timestamp,
    Snapshot(u64),
    Targets(u64),
    Target(Digest, TargetName),
}

impl Part {
    /// `None` where no bundle has a member of that name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name.split_once('/') {
            None if name == FACTS => Some(Self::Facts),
            None if name == README => Some(Self::Readme),
            None => None,
            Some(("metadata", "timestamp.json")) => Some(Self::Timestamp),
            Some(("metadata", file)) => {
                let (version, role) = file.split_once('.')?;
                // One spelling for each number: `01.root.json` would be a second root 1.
                let version = version.parse::<u64>().ok().filter(|number| number.to_string() == version)?;
                match role {
                    "root.json" => Some(Self::Root(version)),
                    "snapshot.json" => Some(Self::Snapshot(version)),
                    "targets.json" => Some(Self::Targets(version)),
                    _ => None,
                }
            }
            Some(("targets", file)) => {
                let (digest, name) = file.split_once('.')?;
                let part = Self::Target(digest.parse().ok()?, TargetName::parse(name).ok()?);
                // Digests have upper case as well, in others' hands.
                (part.to_string() == format!("targets/{file}")).then_some(part)
            }
            Some(_) => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Facts => f.write_str(FACTS),
            Self::Readme => f.write_str(README),
            Self::Root(version) => write!(f, "metadata/{version}.root.json"),
            Self::Timestamp => f.write_str("metadata/timestamp.json"),
            Self::Snapshot(version) => write!(f, "metadata/{version}.snapshot.json"),
            Self::Targets(version) => write!(f, "metadata/{version}.targets.json"),
            Self::Target(digest, name) => write!(f, "targets/{}", name.served_as(digest)),
        }
    }
}
