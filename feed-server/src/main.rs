//! `feed-server`: parses the command line and dispatches.

use std::process::ExitCode;

use clap::Parser as _;
use feed_server::commands::{self, Cli};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to standard output with code 0. A closed terminal is no news.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.global.json;
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            commands::tell(&error, json);
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
