//! `posture-bundle-<serial>.zip`: a release with all that is needed to trust it, carried by hand to relays and headends
//! (design, section 6).
//!
//! | member | is |
//! | --- | --- |
//! | `bundle.json` | [`Facts`]: readable, not trusted |
//! | `README.txt` | what this is, and how to check it without software of ours |
//! | `metadata/N.root.json` | every root of the offline repository, from 1 |
//! | `metadata/timestamp.json`, `V.snapshot.json`, `V.targets.json` | the rest of its signed metadata |
//! | `targets/<sha256>.stable.json`, `…release-N.json` | the manifest, under both of its names |
//! | `targets/<sha256>.<path>` | index, archives and the vendor's own zip, byte for byte as upstream made them |
//!
//! Payloads are not in it: each is its archive opened, which whoever imports does anew and holds to what is signed. So a
//! bundle is as small as the feed, and nothing in it is opaque to a virus scanner.
//!
//! Reading and trusting are two steps. [`Bundle::open`] finds out whether it is a bundle at all; [`Bundle::check`] whether
//! it is genuine, in time and not older than what was seen. Neither reads the release's files: whoever takes the bundle
//! holds all of them to their digests as they stream, those too that it has already. So no bit of a bundle that is taken is
//! another than was written, but those that mean nothing to any reader.

mod check;
mod error;
mod explain;
mod facts;
mod part;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use check::{CheckedBundle, MAX_CLOCK_LAG, Trust};
pub use error::BundleError;
pub use facts::{FACTS, FORMAT, Facts};
pub use read::{Bundle, is_bundle};
pub use write::{Contents, Open, README, SCANNERS_STOP_AT, input_bytes, write};

pub(crate) use check::{check_claims, check_clock, check_expiry, check_serial};
pub(crate) use explain::authenticate;
pub(crate) use facts::span;
pub(crate) use read::part_of;

use crate::release::FileRef;
use crate::{FileName, Manifest, Serial};

/// The name without a number: that of the newest release.
pub const NEWEST: &str = "posture-bundle.zip";

/// `posture-bundle-<serial>.zip`
#[must_use]
pub fn file_name(serial: Serial) -> String {
    format!("posture-bundle-{serial}.zip")
}

/// What a bundle carries of a release: index, archives, the vendor's own zip; each file once.
#[must_use]
pub fn carried(manifest: &Manifest) -> Vec<&FileRef> {
    let archives = manifest.components.iter().flat_map(|released| &released.files).map(|file| &file.archive);
    let mut seen = std::collections::HashSet::<(&FileName, crate::Digest)>::new();
    let files = manifest.index.iter().chain(archives).chain(&manifest.offline_zip);
    files.filter(|file| seen.insert((&file.name, file.sha256))).collect()
}
