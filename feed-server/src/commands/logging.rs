//! Log lines, on standard error.

use std::io::IsTerminal as _;

use bundles::Reason;
use bundles::report::Failure;
use tracing_subscriber::EnvFilter;

use super::Global;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. A server tells what it does; other verbs only what goes wrong, for they print what they do.
///
/// # Errors
/// RUST_LOG cannot be read.
pub fn start(global: &Global, serves: bool) -> anyhow::Result<()> {
    let ours = match (global.verbose, serves) {
        (0, false) => "warn",
        (0, true) => "info",
        (1, _) => "debug",
        (_, _) => "trace",
    };
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives)
            .map_err(|error| Failure::new(Reason::BadRequest, format!("RUST_LOG cannot be read: {error}")))?,
        Ok(_) | Err(_) => EnvFilter::new(format!("warn,feed_server={ours},certs={ours},bundles={ours}")),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    Ok(())
}
