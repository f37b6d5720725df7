//! Who may know whom: the crates (design, section 3) and the order of feed-server's modules.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod crates;
mod imports;
mod modules;

use std::path::{Path, PathBuf};

/// The Rust files below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(directory)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
