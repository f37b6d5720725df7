//! The command line: a file per verb. Verbs speak to the server that runs on the data directory, or to one of their own.

pub mod audit;
pub mod backup;
pub mod bundle;
pub mod capture;
mod chain;
pub mod check_config;
pub mod doctor;
pub mod door;
pub mod generate;
pub mod headend;
pub mod health;
pub mod inspect;
pub mod ise;
pub mod keys;
pub mod logging;
pub mod output;
pub mod release;
pub mod restore;
pub mod serve;
mod service;
pub mod status;
pub mod support;
pub mod sync;
pub mod token;
pub mod token_file;

use std::path::PathBuf;

use bundles::report::Failure;
use bundles::{Reason, Reasoned};
use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::config::{self, Config, Origin, Upstream};
use logging::LogFormat;

/// Mirrors the vendor's posture update feed and distributes it to headends.
#[derive(Debug, Parser)]
#[command(name = "feed-server", version, propagate_version = true, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

// Held to `Reason::exit_code` by the tests.
const EXIT_CODES: &str = "Exit codes: 0 done, or nothing new; 1 failed otherwise; 2 usage or configuration; 10 DNS, connection \
    or time-out; 11 proxy; 12 not trusted: TLS, signature, expiry, clock, older versions; 13 upstream answered wrongly, or asks \
    for a pause; 14 content: truncated, too large, wrong digest, bad archive, other host, not as expected; 15 storage; 16 another \
    run is going on.";

/// What every verb takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file (TOML); without it every key has its default
    #[arg(long, global = true, value_name = "FILE", env = "POSTURE_FEED_SERVER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data directory; goes before the configuration's [default: ./feed-data]
    #[arg(long, global = true, value_name = "DIR", env = DATA_VARIABLE)]
    pub data: Option<PathBuf>,
    /// Print facts as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more; twice for even more (RUST_LOG goes before it)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How log lines look, on standard error
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl Global {
    /// The configuration that these say.
    ///
    /// # Errors
    /// Every mistake in the file.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => config::read(path).map_err(failed)?,
            None => Config::default(),
        };
        if let Some(data) = &self.data {
            config.data.directory.clone_from(data);
            config.origins.given("data.directory", Self::data_origin(data));
        }
        Ok(config)
    }

    /// clap does not say which of the two it was; where both say the same, it does not matter.
    fn data_origin(data: &std::path::Path) -> Origin {
        match std::env::var_os(DATA_VARIABLE) {
            Some(value) if value == data.as_os_str() => Origin::Environment { variable: DATA_VARIABLE.to_owned() },
            Some(_) | None => Origin::CommandLine { option: "--data" },
        }
    }
}

/// What names the data directory where no option does.
const DATA_VARIABLE: &str = "POSTURE_FEED_SERVER_DATA";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Fetch on schedule and serve, until SIGTERM
    Serve,
    /// Update now
    Sync(sync::Arguments),
    /// Show Update Information, the newest release, the next run, warnings and upstream's certificates (-v: all of them)
    Status(status::Arguments),
    /// Ask the server that runs here whether it answers, for health checks; opens and changes nothing
    Health,
    /// Find out why updates fail: every step of the way upstream, and this machine; changes nothing
    Doctor(doctor::Arguments),
    /// Read the configuration and the files it names, and tell every mistake
    CheckConfig(check_config::Arguments),
    /// Show what is understood of an index, a zip or a capture, and what is not
    Inspect(inspect::Arguments),
    /// Keep what upstream answers in one file, to look at, share and replay
    Capture(capture::Arguments),
    /// What there is to run
    #[command(subcommand)]
    Release(release::Verb),
    /// Zips to carry
    #[command(subcommand)]
    Bundle(bundle::Verb),
    /// Headends that may report
    #[command(subcommand)]
    Headend(headend::Verb),
    /// ISE deployments, as far as they can be seen, and what to type there
    #[command(subcommand)]
    Ise(ise::Verb),
    /// Administrators' tokens
    #[command(subcommand)]
    Token(token::Verb),
    /// Who did what, when and from where, and who was refused (--json: a line of JSON each)
    Audit(audit::Arguments),
    /// Signing keys and the roots that headends trust
    #[command(subcommand)]
    Keys(keys::Verb),
    /// Write what whoever helps from far away wants to know to one text file, without secrets
    Support(support::Arguments),
    /// Write man pages and shell completions, for packages, and what the reference is made of
    #[command(hide = true)]
    Generate(generate::Arguments),
    /// Write all that has to survive to one file, from the running server or where none runs; private keys too
    Backup(backup::Arguments),
    /// Make an empty or absent data directory of a backup
    Restore(restore::Arguments),
    /// List the points at which a test can kill this program (POSTURE_FEED_CRASH_AT)
    #[cfg(debug_assertions)]
    #[command(hide = true)]
    CrashPoints,
}

/// Does what the command line says.
///
/// Gives the exit code: 0, but for a probe.
///
/// # Errors
/// A [`Failure`] somewhere in the chain gives the exit code.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    logging::start(&cli.global, matches!(cli.verb, Verb::Serve))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(dispatch(cli))
}

async fn dispatch(Cli { global, verb }: Cli) -> anyhow::Result<u8> {
    if let Verb::Status(arguments) = &verb
        && arguments.check
    {
        return status::check::run(&global, arguments).await;
    }
    match verb {
        Verb::Serve => serve::run(&global).await,
        Verb::Sync(arguments) => sync::run(&global, arguments).await,
        Verb::Status(_) => status::run(&global).await,
        Verb::Health => health::run(&global).await,
        Verb::Doctor(arguments) => doctor::run(&global, arguments).await,
        Verb::CheckConfig(arguments) => check_config::run(&global, &arguments),
        Verb::Inspect(arguments) => inspect::run(&global, arguments).await,
        Verb::Capture(arguments) => capture::run(&global, arguments).await,
        Verb::Release(verb) => release::run(&global, verb).await,
        Verb::Bundle(verb) => bundle::run(&global, verb).await,
        Verb::Headend(verb) => headend::run(&global, verb).await,
        Verb::Ise(verb) => ise::run(&global, verb).await,
        Verb::Token(verb) => token::run(&global, verb).await,
        Verb::Audit(arguments) => audit::run(&global, arguments).await,
        Verb::Keys(verb) => keys::run(&global, verb).await,
        Verb::Support(arguments) => support::run(&global, arguments).await,
        Verb::Generate(arguments) => generate::run(&arguments),
        Verb::Backup(arguments) => backup::run(&global, arguments).await,
        Verb::Restore(arguments) => restore::run(&global, arguments).await,
        #[cfg(debug_assertions)]
        Verb::CrashPoints => output::print(&(crate::crash::POINTS.join("\n") + "\n")),
    }?;
    Ok(0)
}

/// The configured upstream with its index there, to be looked at once. Whom a run may ask may be asked for it, too.
fn upstream_at(configured: &Upstream, index: &Url) -> Upstream {
    let fallback_urls = std::iter::once(&configured.url).chain(&configured.fallback_urls).cloned().collect();
    Upstream { url: index.clone(), fallback_urls, ..configured.clone() }
}

/// The failure that a command ends with, from any error of the house.
// By value, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub fn failed(error: impl Reasoned) -> anyhow::Error {
    Failure::of(&error).into()
}

/// The exit code of an error (design, section 8).
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    failure_in(error).map_or(Reason::Internal, |failure| failure.reason).exit_code()
}

/// An id as part of an API path.
///
/// # Errors
/// It is none, so nothing is called that.
pub fn segment(id: &str) -> anyhow::Result<&str> {
    if crate::headends::is_id(id) {
        return Ok(id);
    }
    Err(Failure::new(Reason::NotFound, format!("nothing can be called {id:?}; list what there is, and try again"))
        .into())
}

/// Tells people, or programs where they asked for JSON, why the command failed.
pub fn tell(error: &anyhow::Error, json: bool) {
    let failure = failure_in(error).cloned().unwrap_or_else(|| Failure::new(Reason::Internal, format!("{error:#}")));
    if json {
        eprintln!("{}", serde_json::to_string(&failure).unwrap_or_default());
    } else {
        // A configuration's mistakes are a line each.
        for line in failure.to_string().lines() {
            eprintln!("feed-server: {line}");
        }
    }
}

fn failure_in(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_tells_every_exit_code() {
        for code in Reason::ALL.iter().map(|reason| reason.exit_code()) {
            assert!(EXIT_CODES.contains(&format!("; {code} ")), "{code}");
        }
    }
}
