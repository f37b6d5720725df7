//! The receipt of an import: what came in, when, where and signed by whom, for the books that are kept about what is carried
//! across. As JSON, and as one line that a person can copy onto paper:
//!
//! `PF1 R42 P41 20260314T142450Z vpn-gw-1 B9f86-d081-884c-7d65 K2c26-b46b #e3b0-c442`
//!
//! | part | is |
//! | --- | --- |
//! | `PF1` | the form of the line |
//! | `R42` | the release that runs now |
//! | `P41` | the one that ran before; `P0` for none, and `R42 P42` where it ran already |
//! | `20260314T142450Z` | when, in UTC |
//! | `vpn-gw-1` | the headend's id |
//! | `B9f86-…` | the first 16 digits of the bundle's SHA-256, as on its sheet |
//! | `K2c26-…` | the first 8 digits of the SHA-256 of the root that vouches for it |
//! | `#e3b0-…` | the first 8 digits of the SHA-256 of everything before ` #`: a misread digit shows |
//!
//! Whoever reads a copied line checks it with `printf %s 'PF1 … K2c26-b46b' | sha256sum`.

use std::collections::BTreeMap;

use bundles::inspection::ZipFacts;
use bundles::signed::RootFacts;
use bundles::{Component, Digest, Manifest, Serial, Version};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::HeadendId;

/// The format of receipts, and of their lines.
const FORMAT: u32 = 1;

/// Digits of the bundle's SHA-256 in the line: nobody finds another bundle of the same 64 bits by chance.
const BUNDLE_DIGITS: usize = 16;

/// Digits of the root's fingerprint in the line: it is compared with some few that are known.
const ROOT_DIGITS: usize = 8;

/// Digits of the check: of four thousand million misreadings, one passes.
const CHECK_DIGITS: usize = 8;

/// Digits that belong together: what a person keeps in mind from one paper to the next, and as sheets have them.
const GROUP: usize = 4;

/// Where it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The machine's name for itself.
    pub host: String,
    /// The headend's id.
    pub headend: HeadendId,
}

/// What was taken.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    /// The release that runs now.
    pub manifest: &'a Manifest,
    /// The one that ran before; the same one where it ran already.
    pub previous: Option<Serial>,
    /// The bundle.
    pub bundle: &'a ZipFacts,
    /// The root that vouches for it.
    pub root: RootFacts,
}

/// Everything that the receipt says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Always `FORMAT`.
    pub format: u32,
    /// When.
    pub at: Timestamp,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The release that runs now.
    pub serial: Serial,
    /// The one that ran before; the same one where it ran already.
    pub previous_serial: Option<Serial>,
    /// When the origin made the release.
    pub created: Timestamp,
    /// What runs now.
    pub versions: BTreeMap<Component, Version>,
    /// The bundle.
    pub bundle: ZipFacts,
    /// The root that vouches for it.
    pub signer: RootFacts,
    /// Which program took it.
    pub client_version: &'static str,
    /// All that matters, for a pen.
    pub line: String,
}

impl Receipt {
    /// The receipt for what was taken at `at`.
    #[must_use]
    pub fn new(at: Timestamp, place: Place, taken: Taken<'_>) -> Self {
        let Taken { manifest, previous, bundle, root } = taken;
        let versions = manifest.components.iter().map(|it| (it.component.clone(), it.version.clone()));
        let line = [
            format!("PF{FORMAT}"),
            format!("R{}", manifest.serial),
            format!("P{}", previous.map_or(0, Serial::get)),
            at.strftime("%Y%m%dT%H%M%SZ").to_string(),
            place.headend.to_string(),
            format!("B{}", grouped(&bundle.sha256, BUNDLE_DIGITS)),
            format!("K{}", grouped(&root.fingerprint, ROOT_DIGITS)),
        ]
        .join(" ");
        let check = grouped(&Digest::of(line.as_bytes()), CHECK_DIGITS);
        Self {
            format: FORMAT,
            at,
            serial: manifest.serial,
            previous_serial: previous,
            created: manifest.created,
            versions: versions.collect(),
            bundle: bundle.clone(),
            signer: root,
            client_version: env!("CARGO_PKG_VERSION"),
            line: format!("{line} #{check}"),
            place,
        }
    }

    /// The bytes of a receipt's file.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and maps with string keys: serde_json has nothing to refuse here.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

/// The first digits of a digest, in groups.
fn grouped(digest: &Digest, digits: usize) -> String {
    let hex = digest.to_string();
    let groups: Vec<_> = (0..digits).step_by(GROUP).filter_map(|from| hex.get(from..from + GROUP)).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use bundles::release::{Source, SourceKind};
    use proptest::prelude::*;

    use super::*;

    fn receipt() -> Receipt {
        let manifest = Manifest {
            format: 1,
            serial: Serial::new(42).unwrap(),
            created: "2026-03-14T02:24:50Z".parse().unwrap(),
            source: Source { kind: SourceKind::VendorFeed, url: None, sha256: None, vouched_by: None },
            components: Vec::new(),
            index: None,
            offline_zip: None,
        };
        let at: Timestamp = "2026-03-14T14:24:50.5Z".parse().unwrap();
        let place = Place { host: "vpn-gw-1.example.net".to_owned(), headend: "vpn-gw-1".parse().unwrap() };
        let bundle = ZipFacts { name: "posture-bundle-42.zip".to_owned(), sha256: Digest::of(b"test"), length: 4 };
        let root = RootFacts { version: 1, expires: at, fingerprint: Digest::of(b"foo") };
        Receipt::new(at, place, Taken { manifest: &manifest, previous: Serial::new(41), bundle: &bundle, root })
    }

    /// As somebody checks it who has the line on paper and `sha256sum`.
    fn holds(line: &str) -> bool {
        let Some((said, check)) = line.rsplit_once(" #") else { return false };
        grouped(&Digest::of(said.as_bytes()), CHECK_DIGITS) == check
    }

    #[test]
    fn the_line_is_the_documented_one() {
        let receipt = receipt();
        let (said, _) = receipt.line.rsplit_once(" #").unwrap();
        assert_eq!(said, "PF1 R42 P41 20260314T142450Z vpn-gw-1 B9f86-d081-884c-7d65 K2c26-b46b");
        assert!(holds(&receipt.line), "{}", receipt.line);
        let json: serde_json::Value = serde_json::from_slice(&receipt.to_json()).unwrap();
        assert_eq!(json["headend"], "vpn-gw-1");
        assert_eq!(json["bundle"]["sha256"], Digest::of(b"test").to_string());
        assert_eq!(json["line"], receipt.line);
    }

    proptest! {
        #[test]
        fn a_misread_character_shows(at in any::<proptest::sample::Index>(), instead in "[0-9a-zA-Z-]") {
            let line = receipt().line;
            let at = at.index(line.len());
            prop_assume!(line[at..=at] != instead);
            let misread = format!("{}{instead}{}", &line[..at], &line[at + 1..]);
            prop_assert!(!holds(&misread), "{misread}");
        }
    }
}
