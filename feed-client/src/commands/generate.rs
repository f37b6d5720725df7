//! `feed-client generate`: man pages and shell completions from the command line's own description, for packages.

use std::path::PathBuf;

use bundles::report::Failure;
use clap::{Args, CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use super::{Cli, failed};
use crate::durable::StorageError;

/// `feed-client generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// Where the folders man/ and completions/ are made
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

pub(super) fn generate(arguments: &Generate) -> Result<(), Failure> {
    let (man, completions) = (arguments.out.join("man"), arguments.out.join("completions"));
    for directory in [&man, &completions] {
        std::fs::create_dir_all(directory).map_err(StorageError::at("create", directory)).map_err(failed)?;
    }
    clap_mangen::generate_to(Cli::command(), &man).map_err(StorageError::at("write to", &man)).map_err(failed)?;
    for &shell in Shell::value_variants() {
        clap_complete::generate_to(shell, &mut Cli::command(), "feed-client", &completions)
            .map_err(StorageError::at("write to", &completions))
            .map_err(failed)?;
    }
    Ok(())
}
