//! The `feed-client` program: parses and dispatches.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use feed_client::commands::{Cli, dispatch, report_failure};

/// A download's or a hash's thread that is still at it when the client is told to end is not waited for any longer.
const LAST_WAIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = Cli::parse();
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
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report_failure(&failure, json);
            ExitCode::from(failure.reason.exit_code())
        }
    }
}
