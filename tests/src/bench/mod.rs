//! What the benchmarks have in common.

pub mod others;
pub mod rows;

use std::process::ExitCode;

use anyhow::Result;

/// How a benchmark ends: `met` says whether its bars were, which counts where it is `strict`.
#[must_use]
pub fn exit(met: Result<bool>, strict: bool) -> ExitCode {
    match met {
        Ok(met) if met || !strict => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
