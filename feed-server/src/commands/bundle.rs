//! `feed-server bundle …`

mod build;
mod import;
mod inspect;

use std::fs::File;
use std::path::Path;

use bundles::Reason;
use bundles::report::Failure;
use clap::Subcommand;

use super::Global;

/// Zips to carry.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a release's bundle, for relays and headends without a network to here, with its .sha256 and a page to print
    Build(build::Arguments),
    /// Bring in a zip that was carried here: checked first, then published at once
    Import(import::Arguments),
    /// Show what is in a bundle, every check and its result, and whether it can be imported here; changes nothing
    Inspect(inspect::Arguments),
}

/// Builds a zip, imports one, or looks at one.
///
/// # Errors
/// There is no such release, no way to the data, or the file cannot be written; or the import's failure.
pub async fn run(global: &Global, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Build(arguments) => build::run(global, arguments).await,
        Verb::Import(arguments) => import::run(global, arguments).await,
        Verb::Inspect(arguments) => inspect::run(global, arguments).await,
    }
}

/// A zip that somebody carried here, and its length.
fn open(zip: &Path) -> Result<(File, u64), Failure> {
    let unreadable = |error: std::io::Error| {
        let reason = if error.kind() == std::io::ErrorKind::NotFound { Reason::NotFound } else { Reason::Storage };
        Failure::new(reason, format!("{} cannot be read ({error}); check the path and permissions", zip.display()))
    };
    let metadata = std::fs::metadata(zip).map_err(unreadable)?;
    if !metadata.is_file() {
        let message = format!("{} is no file; name the zip itself, and give it unopened", zip.display());
        return Err(Failure::new(Reason::BadRequest, message));
    }
    let file = File::open(zip).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    Ok((file, length))
}
