//! What stands beside each zip: its digest for `sha256sum -c`, and the page to print.

use bundles::offline_zip;
use bundles::sheet::Sheet;

use super::PublishError;
use super::tree::Tree;

/// Behind the zip's name.
pub(super) const DIGEST: &str = ".sha256";

/// Behind the zip's name.
pub(super) const SHEET: &str = ".sheet.txt";

/// A zip's name without what is behind it in the names of its companions.
pub(super) fn zip_of(name: &str) -> &str {
    name.strip_suffix(DIGEST).or_else(|| name.strip_suffix(SHEET)).unwrap_or(name)
}

/// The line of the digest file of the zip at `path` in the tree, as it stands there.
pub(super) fn is_digest_there(tree: &Tree, path: &str, sheet: &Sheet) -> Result<bool, PublishError> {
    let line = offline_zip::sha256_line(&sheet.zip.sha256, &sheet.zip.name);
    Ok(tree.read(&format!("{path}{DIGEST}"))?.as_deref() == Some(line.as_bytes()))
}

/// Writes both beside the zip at `path` in the tree, which the sheet tells of.
pub(super) fn write(tree: &Tree, path: &str, sheet: &Sheet) -> Result<(), PublishError> {
    let line = offline_zip::sha256_line(&sheet.zip.sha256, &sheet.zip.name);
    tree.write(&format!("{path}{DIGEST}"), line.as_bytes())?;
    tree.write(&format!("{path}{SHEET}"), sheet.to_string().as_bytes())
}

/// Removes both: before another zip takes the place of the one that they are of.
pub(super) fn remove(tree: &Tree, path: &str) -> Result<(), PublishError> {
    tree.remove(&format!("{path}{SHEET}"))?;
    tree.remove(&format!("{path}{DIGEST}"))?;
    // Also where power is cut: a zip never stands beside another's digest.
    tree.settle()
}
