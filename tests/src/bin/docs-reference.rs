//! Writes the reference in `docs/reference` anew.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tests::reference;

/// Writes docs/reference from what the programs say of themselves
#[derive(Debug, Parser)]
struct Arguments {}

#[tokio::main]
async fn main() -> ExitCode {
    Arguments::parse();
    match write().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn write() -> Result<()> {
    let directory = reference::directory();
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    for page in reference::pages().await? {
        let path = directory.join(page.name);
        std::fs::write(&path, page.text).with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(())
}
