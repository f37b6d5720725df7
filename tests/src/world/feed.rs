//! The feed's way through the world: waiting for a release, and what Update Information must say.

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Feed};
use bundles::{Component, Digest};

use super::World;
use super::wait::{DEADLINE, wait_until};
use crate::peers::Digests;

impl World {
    /// Waits until the server has published release `serial`.
    ///
    /// # Errors
    /// It does not within the deadline.
    pub async fn released(&self, serial: u64) -> Result<()> {
        let what = format!("release {serial} is published");
        let published = async || {
            let metrics = self.metrics().await;
            #[allow(clippy::cast_precision_loss, reason = "a test's serials are small")]
            metrics.is_ok_and(|metrics| metrics.value("posture_feed_release_serial", &[]) == Some(serial as f64))
        };
        wait_until(DEADLINE, &what, published).await
    }

    /// The digests of upstream's archives and index, by the vendor's names.
    ///
    /// # Errors
    /// Upstream serves a directory.
    pub fn upstream_digests(&self) -> Result<Digests> {
        let feed = self.upstream().feed().context("upstream serves a directory")?;
        let mut digests = archive_digests(&feed);
        let index = feed.index(&self.upstream().url());
        digests.insert(feed.index_name.to_string(), Digest::of(&index).to_string());
        Ok(digests)
    }
}

/// The digests of a feed's archives.
#[must_use]
pub fn archive_digests(feed: &Feed) -> Digests {
    feed.files.iter().map(|(name, bytes)| (name.to_string(), Digest::of(bytes).to_string())).collect()
}

/// Whether a panel shows the five versions of an edition, each in its row.
///
/// # Errors
/// A row is missing or shows another version; the error holds the panel.
pub fn shows_edition(panel: &str, edition: &Edition) -> Result<()> {
    for component in Component::KNOWN {
        let label = component.label().context("a known component has a row")?;
        let version = edition.versions.get(&component).context("an edition has all five")?.to_string();
        let row = panel.lines().find(|line| line.starts_with(label));
        let shown = row.and_then(|row| row.strip_prefix(label)).map(str::trim);
        ensure!(shown == Some(version.as_str()), "{label} is to be {version}, but the panel says:\n{panel}");
    }
    Ok(())
}
