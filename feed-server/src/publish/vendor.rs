//! The vendor's layout, for ISE: the index with every locator led to its own release's folder, so that a run that began
//! before a release ends with the bytes that its index named (design, section 6).

use std::io::Read as _;

use bundles::index::{Index, Patterns};
use bundles::{FileName, Limits, Manifest, Serial};
use url::Url;

use super::tree::Tree;
use super::{PublishError, Repository, targets};
use crate::crash;
use crate::store::{Store, StoreError};

/// Where the index is, in the tree and in URLs.
pub(super) const INDEX: &str = "web/secure/spa/posture-update.xml";
const RELEASES: &str = "web/secure/spa/r";

/// How the index is written.
#[derive(Debug)]
pub(super) struct Rewriting {
    /// `None`: not at all.
    pub(super) patterns: Option<Patterns>,
    pub(super) limits: Limits,
    /// What relative locators were relative to, where a release does not say.
    pub(super) upstream: Url,
}

pub(super) fn archive(serial: Serial, name: &FileName) -> String {
    format!("{RELEASES}/{serial}/{name}")
}

/// Puts archives and index in place, the index last. The archives are in the folder of targets of `placed`.
pub(super) fn publish(
    store: &Store,
    tree: &Tree,
    placed: Repository,
    manifests: &[Manifest],
    rewriting: &Rewriting,
    public_url: Option<&Url>,
) -> Result<(), PublishError> {
    for manifest in manifests {
        let serial = manifest.serial;
        for file in manifest.components.iter().flat_map(|released| &released.files) {
            let target = file.archive.target_name().map_err(|source| PublishError::Name { serial, source })?;
            let folder = targets::folder(placed);
            let placed = format!("{folder}/{}", target.served_as(&file.archive.sha256));
            tree.link(&placed, &archive(serial, &file.archive.name))?;
        }
    }
    tree.settle()?;
    crash::point("tree.vendor_archives");
    // A release without an index (of a zip without one) cannot be had in this layout. The index of an older one would be an
    // old update, given out as the newest; one that is made up here, of a schema that the vendor has not published, would
    // pass for the vendor's. So there is none, and whoever asks is sent to the zip.
    match manifests.first().filter(|newest| newest.index.is_some()) {
        Some(manifest) => match index(store, manifest, rewriting, public_url)? {
            Some(index) => tree.write(INDEX, &index)?,
            None => {
                tracing::warn!("no index for ISE: set [serve] public_url to what ISE nodes reach this server by");
                tree.remove(INDEX)?;
            }
        },
        // Runs that began with an older index end with its archives, which stay.
        None => tree.remove(INDEX)?,
    }
    tree.settle()?;
    crash::point("tree.vendor_switched");
    Ok(())
}

/// `None` where it has to be rewritten and nobody said to what.
fn index(
    store: &Store,
    manifest: &Manifest,
    rewriting: &Rewriting,
    public_url: Option<&Url>,
) -> Result<Option<Vec<u8>>, PublishError> {
    let serial = manifest.serial;
    let mut bytes = Vec::new();
    if let Some(index) = &manifest.index {
        let mut blob = store.blobs.open(&index.sha256)?;
        blob.read_to_end(&mut bytes).map_err(|source| StoreError::Io {
            act: "read",
            path: index.name.as_str().into(),
            source,
        })?;
    }
    let Some(patterns) = &rewriting.patterns else { return Ok(Some(bytes)) };
    let Some(public_url) = public_url else { return Ok(None) };
    let upstream = manifest.source.url.as_deref().and_then(|url| Url::parse(url).ok());
    let upstream = upstream.as_ref().unwrap_or(&rewriting.upstream);
    let public = public_url.as_str().trim_end_matches('/');
    let mut unknown = None;
    let rewritten = Index::rewrite(&bytes, upstream, patterns, &rewriting.limits, &mut |entry| {
        if !has_archive(manifest, &entry.name) {
            unknown.get_or_insert_with(|| entry.name.clone());
        }
        format!("{public}/{}", archive(serial, &entry.name))
    })
    .map_err(|source| PublishError::Index { serial, source })?;
    unknown.map_or(Ok(Some(rewritten)), |name| Err(PublishError::NotInRelease { serial, name }))
}

fn has_archive(manifest: &Manifest, name: &FileName) -> bool {
    manifest.components.iter().flat_map(|released| &released.files).any(|file| &file.archive.name == name)
}

/// Removes the folders of releases that are no longer retained.
pub(super) fn clean(tree: &Tree, manifests: &[Manifest]) -> Result<(), PublishError> {
    for name in tree.list(RELEASES)? {
        if !manifests.iter().any(|manifest| manifest.serial.to_string() == name) {
            tree.remove(&format!("{RELEASES}/{name}"))?;
        }
    }
    Ok(())
}
