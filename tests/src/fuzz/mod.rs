//! Fuzzing: what is fuzzed, seeds to begin with, and inputs that once found something. `tests/fuzz` runs the targets for
//! long, and a test replays seeds and finds.

mod seeds;
pub mod targets;

use std::path::PathBuf;

use anyhow::{Context, Result};

/// A reader of bytes from outside, and what to try it with.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As `cargo fuzz run` names it.
    pub name: &'static str,
    /// Gives it the bytes; panics where it does what it must not.
    pub run: fn(&[u8]),
    /// Inputs that it takes, or refuses for a reason each, the same on every machine.
    pub seeds: fn() -> Result<Vec<Vec<u8>>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "zip", run: targets::zip, seeds: seeds::zip },
    Target { name: "bundle", run: targets::bundle, seeds: seeds::bundle },
    Target { name: "index", run: targets::index, seeds: seeds::index },
    Target { name: "archive", run: targets::archive, seeds: seeds::archive },
    Target { name: "increment", run: targets::increment, seeds: seeds::increment },
    Target { name: "manifest", run: targets::manifest, seeds: seeds::manifest },
    Target { name: "report", run: targets::report, seeds: seeds::report },
];

/// `tests/fuzz`.
#[must_use]
pub fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

impl Target {
    /// Where fuzzing keeps and takes its inputs; no part of the repository.
    #[must_use]
    pub fn corpus(&self) -> PathBuf {
        directory().join("corpus").join(self.name)
    }

    /// Inputs that once found something, or that a fuzzer needed long for: they stay, as part of the repository.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn found(&self) -> Result<Vec<Vec<u8>>> {
        let folder = directory().join("found").join(self.name);
        let mut inputs = Vec::new();
        // A target that never found anything has no folder.
        for entry in walkdir::WalkDir::new(&folder).sort_by_file_name().into_iter().filter_map(Result::ok) {
            if entry.file_type().is_file() {
                let bytes = std::fs::read(entry.path()).with_context(|| entry.path().display().to_string())?;
                inputs.push(bytes);
            }
        }
        Ok(inputs)
    }
}
