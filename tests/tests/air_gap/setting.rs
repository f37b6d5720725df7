//! What every scenario of the air gap begins with, and what must hold at the end of each.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::peers::{self, Digests};
use tests::world::{Output, World, WorldBuilder};

/// An origin with a first release, and the root that was carried to the other side before everything else.
pub(super) async fn origin() -> Result<(World, String)> {
    let origin = World::builder().build().await?;
    origin.sync().await?.success()?;
    let root = origin.offline_root().await?;
    Ok((origin, root))
}

/// A relay of that origin, fed by hand.
pub(super) fn relay(root: &str) -> WorldBuilder {
    World::builder().relay(root)
}

/// What a server publishes, file by file: served bytes are unchanged where this is.
pub(super) fn published(world: &World) -> Result<Digests> {
    peers::zips::files_below(&world.data().join("tree"))
}

/// That an act left nothing behind but what it is for.
pub(super) fn nothing_is_left(world: &World) -> Result<()> {
    for folder in ["staging", "tree/.scratch"] {
        let left: Vec<_> = match std::fs::read_dir(world.data().join(folder)) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).context(folder),
        };
        ensure!(left.is_empty(), "{left:?} is left in {folder}");
    }
    Ok(())
}

/// Fetches what a server serves under a path into a file of the world.
pub(super) fn fetched(world: &World, path: &str) -> Result<Vec<u8>> {
    peers::curl(&world.server_url()?.join(path)?, None)
}

/// Every target of the newest release, as python-tuf downloads them from the offline repository under that root.
pub(super) fn offline_targets(world: &World, root: &str) -> Result<Digests> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("root.json");
    std::fs::write(&file, root)?;
    peers::python_tuf(&world.server_url()?.join("offline")?, &file, &scratch.path().join("client"))
}

/// That a command failed for one of these reasons: feed-server ends its sentence with the word, feed-client has a line for it.
pub(super) fn refused(output: &Output, reasons: &[&str]) -> Result<()> {
    let said = |reason: &&str| {
        output.stderr.contains(&format!("({reason})")) || output.stderr.contains(&format!("reason: {reason} "))
    };
    let failed = output.code().is_some_and(|code| code != 0);
    ensure!(failed && reasons.iter().any(said), "{reasons:?} was to be expected, but: {output}");
    Ok(())
}

/// The digest of a file.
pub(super) fn digest(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    Ok(bundles::Digest::of(&bytes).to_string())
}
