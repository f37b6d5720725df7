//! `feed-client generate`: man pages and shell completions from the command line's own description, for packages, and
//! what the reference in `docs/` is made of.

use std::path::PathBuf;

use bundles::report::Failure;
use clap::{Args, CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use super::{Cli, failed};
use crate::durable::StorageError;
use crate::metrics;

/// `feed-client generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// Where the folders man/, completions/ and reference/ are made
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

pub(super) fn generate(arguments: &Generate) -> Result<(), Failure> {
    let [man, completions, reference] = ["man", "completions", "reference"].map(|name| arguments.out.join(name));
    for directory in [&man, &completions, &reference] {
        std::fs::create_dir_all(directory).map_err(StorageError::at("create", directory)).map_err(failed)?;
    }
    clap_mangen::generate_to(Cli::command(), &man).map_err(StorageError::at("write to", &man)).map_err(failed)?;
    for &shell in Shell::value_variants() {
        clap_complete::generate_to(shell, &mut Cli::command(), "feed-client", &completions)
            .map_err(StorageError::at("write to", &completions))
            .map_err(failed)?;
    }
    let path = reference.join("feed-client-metrics.json");
    let described = serde_json::to_vec_pretty(metrics::FAMILIES).map_err(std::io::Error::from);
    described.and_then(|text| std::fs::write(&path, text)).map_err(StorageError::at("write to", &path)).map_err(failed)
}
