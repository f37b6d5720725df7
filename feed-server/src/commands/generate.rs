//! `feed-server generate`: man pages and shell completions from the command line's own description, for packages, and
//! what the reference in `docs/` is made of.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use super::{Cli, door::cannot_write};
use crate::http::api::description;
use crate::metrics;

/// `feed-server generate`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where the folders man/, completions/ and reference/ are made
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Writes them.
///
/// # Errors
/// A file cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let [man, completions, reference] = ["man", "completions", "reference"].map(|name| arguments.out.join(name));
    for directory in [&man, &completions, &reference] {
        std::fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
    }
    clap_mangen::generate_to(Cli::command(), &man).map_err(|error| cannot_write(&man, &error))?;
    for &shell in Shell::value_variants() {
        clap_complete::generate_to(shell, &mut Cli::command(), "feed-server", &completions)
            .map_err(|error| cannot_write(&completions, &error))?;
    }
    let described: Vec<_> = metrics::described().collect();
    for (name, text) in [
        ("feed-server-metrics.json", serde_json::to_string_pretty(&described)?),
        ("feed-server-api.json", description::text().to_owned()),
    ] {
        let path = reference.join(name);
        std::fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
    }
    Ok(())
}
