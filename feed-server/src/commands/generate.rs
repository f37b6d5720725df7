//! `feed-server generate`: man pages and shell completions from the command line's own description, for packages.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use super::{Cli, door::cannot_write};

/// `feed-server generate`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where the folders man/ and completions/ are made
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Writes them.
///
/// # Errors
/// A file cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (man, completions) = (arguments.out.join("man"), arguments.out.join("completions"));
    for directory in [&man, &completions] {
        std::fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
    }
    clap_mangen::generate_to(Cli::command(), &man).map_err(|error| cannot_write(&man, &error))?;
    for &shell in Shell::value_variants() {
        clap_complete::generate_to(shell, &mut Cli::command(), "feed-server", &completions)
            .map_err(|error| cannot_write(&completions, &error))?;
    }
    Ok(())
}
