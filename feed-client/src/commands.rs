//! The command line: a file per verb; `main` parses and dispatches.

mod check_config;
#[cfg(debug_assertions)]
mod crash_points;
mod doctor;
mod enroll;
mod generate;
mod import;
mod inspect;
mod rollback;
mod run;
mod status;
mod support;
mod update;

use std::path::PathBuf;

use bundles::report::Failure;
use bundles::{Reason, Reasoned};
use clap::{Args, Parser, Subcommand};

use crate::clock::Edge;
use crate::data::Paths;
use crate::logging::{self, LogFormat};
use crate::refusals::{Asker, Refusals};
use crate::settings::{DEFAULT_DATA, Local, Settings, SettingsError};

/// Keeps this headend's posture data up to date: polls a feed-server, or takes bundles that are carried here; verifies what
/// is signed, applies releases whole.
#[derive(Debug, Parser)]
#[command(name = "feed-client", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done or already up to date; 1 failed otherwise, or the hook refused; 2 usage or \
    configuration; 10 DNS, connection or time-out; 12 not trusted: TLS, signature, expiry, rollback, freeze, clock; 13 the \
    server answered wrongly, or there is no such release; 14 content: truncated, too large, wrong digest, bad archive; 15 storage; 16 another feed-client is \
    at work.";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Configuration file [default: feed-client.toml in the data directory, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "POSTURE_FEED_CLIENT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data directory: enrolment, state and, unless apply.directory says otherwise, releases
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_DATA, env = "POSTURE_FEED_CLIENT_DATA")]
    pub data: PathBuf,
    /// Print facts and errors as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How log lines look on standard error
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tie this headend to a server, or to a root alone: stores its URL, this headend's id and token, and the root to trust
    Enroll(enroll::Enroll),
    /// Be up to date now: refresh, verify, download, apply, report; tries a held release again
    Update,
    /// Be up to date with a bundle that was carried here: verify, apply, and print a receipt; tries a held release again
    Import(import::Import),
    /// Show what a bundle holds, what runs here, every check, and whether it could be imported; changes nothing
    Inspect(inspect::Inspect),
    /// Show Update Information, what runs, what is held, and when the next poll is due
    Status(status::Status),
    /// Go back to an older release that is here, and hold until a newer one or an explicit update
    Rollback(rollback::Rollback),
    /// Try every step towards the server, and say what is seen at each and what to check; changes nothing
    Doctor,
    /// Poll for ever: SIGHUP reads the configuration again and asks at once, SIGTERM ends
    Run,
    /// Read the configuration and the files it names, and tell every mistake
    CheckConfig,
    /// Write what whoever helps from far away wants to know to one text file, without secrets
    Support(support::Support),
    /// Write man pages and shell completions, for packages, and what the reference is made of
    #[command(hide = true)]
    Generate(generate::Generate),
    /// The points at which tests kill the client
    #[cfg(debug_assertions)]
    #[command(hide = true)]
    CrashPoints,
}

/// Sets up logging and does what was asked. Gives the exit code: 0, but for a probe.
///
/// # Errors
/// What the command ends with; [`report_failure`] says it to people.
pub async fn dispatch(cli: Cli) -> Result<u8, Failure> {
    // What these have to say goes to standard output; the log would only repeat it.
    let quiet = matches!(
        cli.command,
        Command::Status(_) | Command::Support(_) | Command::Doctor | Command::Inspect(_) | Command::CheckConfig
    );
    logging::start(cli.global.log_format, cli.global.verbose, quiet);
    let edge = Edge::system();
    let global = &cli.global;
    match cli.command {
        Command::Enroll(arguments) => enroll::enroll(global, arguments, edge).await,
        Command::Update => update::update(global, edge).await,
        Command::Import(arguments) => import::import(global, arguments, edge).await,
        Command::Inspect(arguments) => inspect::inspect(global, &arguments, edge),
        Command::Status(arguments) if arguments.check => return status::check(global, &arguments, edge),
        Command::Status(_) => status::status(global, edge),
        Command::Rollback(arguments) => rollback::rollback(global, arguments, edge).await,
        Command::Doctor => doctor::doctor(global, edge).await,
        Command::Run => run::run(global, edge).await,
        Command::CheckConfig => check_config::check_config(global, edge),
        Command::Support(arguments) => support::support(global, &arguments, edge),
        Command::Generate(arguments) => generate::generate(&arguments),
        #[cfg(debug_assertions)]
        Command::CrashPoints => {
            crash_points::print();
            Ok(())
        }
    }?;
    Ok(0)
}

/// Tells a monitoring system that its probe's command line cannot be read. Gives the exit code.
pub fn misused() -> u8 {
    status::misused()
}

/// Says on standard error why a command failed, in words or as `{"error":{"reason":…,"message":…}}`.
pub fn report_failure(failure: &Failure, json: bool) {
    if json {
        eprintln!("{}", serde_json::json!({ "error": failure }));
    } else {
        eprintln!("feed-client: {}", failure.message);
        eprintln!("reason: {} (exit code {})", failure.reason, failure.reason.exit_code());
    }
}

impl Global {
    fn local(&self) -> Result<Local, Failure> {
        Local::load(self.config.as_deref(), &self.data).map_err(failed)
    }

    /// What the proxy refused, for a command that asks for somebody.
    fn refusals(&self, asker: Asker, edge: Edge) -> Refusals {
        Refusals::new(asker, &Paths::new(&self.data, None), edge)
    }

    fn settings(&self, refusals: &Refusals) -> Result<Settings, Failure> {
        let settings =
            self.local()?.minding(refusals.clone()).settings().map_err(|error: SettingsError| failed(error))?;
        for directory in [settings.paths.data(), settings.paths.apply()] {
            std::fs::create_dir_all(directory)
                .map_err(crate::durable::StorageError::at("create", directory))
                .map_err(failed)?;
        }
        Ok(settings)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: impl Reasoned) -> Failure {
    Failure::of(&error)
}

/// Prints facts: as JSON where asked for, else as text for people.
fn print(json: bool, facts: &impl serde::Serialize, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let printed = if json {
        serde_json::to_writer_pretty(&mut out, facts).map_err(Into::into).and_then(|()| writeln!(out))
    } else {
        writeln!(out, "{}", text.trim_end())
    };
    match printed {
        // Whoever reads may have read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(Reason::Storage, format!("standard output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}
