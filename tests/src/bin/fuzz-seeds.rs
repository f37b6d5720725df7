//! Puts the seeds where `cargo fuzz` looks for them, beside what it has found so far.

use std::process::ExitCode;

use anyhow::{Context, Result};
use bundles::Digest;
use clap::Parser;
use tests::fuzz::TARGETS;

/// Writes the inputs that fuzzing begins with to tests/fuzz/corpus
#[derive(Debug, Parser)]
struct Arguments {}

fn main() -> ExitCode {
    Arguments::parse();
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<()> {
    for target in TARGETS {
        let corpus = target.corpus();
        std::fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
        let inputs = [(target.seeds)()?, target.found()?].concat();
        for input in &inputs {
            std::fs::write(corpus.join(Digest::of(input).to_string()), input)?;
        }
        println!("{}: {} inputs in {}", target.name, inputs.len(), corpus.display());
    }
    Ok(())
}
