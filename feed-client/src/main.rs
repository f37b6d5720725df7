//! The `feed-client` program: parses and dispatches.

use std::process::ExitCode;
use std::time::Duration;

use bundles::probe;
use clap::Parser as _;
use feed_client::commands::{Cli, dispatch, misused, report_failure};

/// A download's or a hash's thread that is still at it when the client is told to end is not waited for any longer.
const LAST_WAIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to standard output with code 0. A closed terminal is no news.
            let _ = error.print();
            if error.use_stderr() && probe::is_asked_for(std::env::args_os()) {
                return ExitCode::from(misused());
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("feed-client: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(LAST_WAIT);
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            report_failure(&failure, json);
            ExitCode::from(failure.reason.exit_code())
        }
    }
}
