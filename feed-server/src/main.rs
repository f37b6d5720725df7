//! `feed-server`: parses the command line and dispatches.

use std::process::ExitCode;

use bundles::probe;
use clap::Parser as _;
use feed_server::commands::{self, Cli};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to standard output with code 0. A closed terminal is no news.
            let _ = error.print();
            if error.use_stderr() && probe::is_asked_for(std::env::args_os()) {
                return ExitCode::from(commands::status::check::misused());
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.global.json;
    match commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            commands::tell(&error, json);
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
