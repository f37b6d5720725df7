//! The lab upstream as a program of its own: plays the vendor for whoever tries the mirror by hand.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bundles::fake::{Dialect, Edition, Options};
use clap::{Parser, ValueEnum};
use tests::lab::{Fault, LabUpstream};

/// Plays the vendor's posture feed on this machine, over TLS 1.2 with a chain of the vendor's shape.
///
/// It serves /web/secure/spa/posture-update.xml and the archives beside it: a fake feed at the
/// versions of Update Information ("before", then "after"), the files of a directory, or a capture.
/// The root certificate is made afresh at each start; write it with --write-ca, and name the file in
/// the mirror's trust_anchors:
///
///     cargo run -p tests --bin lab-upstream -- --write-ca /tmp/lab-ca.pem --control 127.0.0.1:8444
///
///     [upstream]
///     url = "https://localhost:8443/web/secure/spa/posture-update.xml"
///     trust_anchors = ["/tmp/lab-ca.pem"]
#[derive(Debug, Parser)]
#[command(name = "lab-upstream", verbatim_doc_comment, after_help = control_help(), max_term_width = 120)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,

    /// The host name in URLs and locators; the certificate is for it as well as for this machine's own names.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    host: String,

    /// Serve the files of this directory instead of a fake feed, at /web/secure/spa/ and at their own paths.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dialect", "edition", "rows", "no_real_charts"])]
    directory: Option<PathBuf>,

    /// Replay this capture (`feed-server capture`) instead of a fake feed, at the paths at which it was captured.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["directory", "dialect", "edition", "rows", "no_real_charts"])]
    capture: Option<PathBuf>,

    /// How the index is written: attributes, elements, upper-case, cdata, mixed, no-versions or listed.
    #[arg(long, value_name = "DIALECT", default_value = Dialect::Attributes.as_str())]
    dialect: Dialect,

    /// Which edition of the fake feed comes first; the control endpoint's /publish-next moves on.
    #[arg(long, value_enum, default_value_t = EditionName::Before)]
    edition: EditionName,

    /// Rows of the Windows chart; 5,000, as without it, make some 3 MB of XML.
    #[arg(long, value_name = "N")]
    rows: Option<usize>,

    /// Make the macOS and Linux charts up, even where the real ones are beside the workspace (../shared, or
    /// POSTURE_FEED_SHARED).
    #[arg(long)]
    no_real_charts: bool,

    /// Write the root certificate there, as PEM.
    #[arg(long, value_name = "FILE")]
    write_ca: Option<PathBuf>,

    /// Open the control endpoint (plain HTTP) there; see below.
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EditionName {
    /// The versions of Update Information before the update.
    Before,
    /// And after it.
    After,
}

fn control_help() -> String {
    use std::fmt::Write as _;
    let mut help = String::from(
        "Control endpoint (curl -X …):\n  \
         GET    /                          what is served and what is broken now\n  \
         POST   /publish-next              publish the next edition\n  \
         POST   /fault?name=NAME[&at=WHAT] let an accident happen (WHAT: index, archives, everything)\n  \
         DELETE /fault                     take all accidents away\n  \
         GET    /log                       every request so far; DELETE forgets them\n\n\
         Accidents:\n",
    );
    for fault in Fault::ALL {
        // A String takes whatever is written to it.
        let _ = writeln!(help, "  {:<22} {}", fault.name(), fault.description());
    }
    help.push_str("\nEnds on SIGINT or SIGTERM.");
    help
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().with_target(false).init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-upstream: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything is printed, so that whoever waits for the first line can end us.
    let ended = runtime.block_on(async { signals() })?;
    let lab = start(arguments)?;
    if let Some(path) = &arguments.write_ca {
        lab.write_ca(path)?;
    }
    announce(&lab, arguments)?;
    runtime.block_on(ended);
    Ok(())
}

fn announce(lab: &LabUpstream, arguments: &Arguments) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "index:   {}", lab.url())?;
    if let Some(path) = &arguments.write_ca {
        writeln!(out, "ca:      {}", path.display())?;
    }
    if let Some(control) = lab.control() {
        writeln!(out, "control: http://{control}/")?;
    }
    Ok(out.flush()?)
}

fn start(arguments: &Arguments) -> Result<LabUpstream> {
    let names = ["www.cisco.com", arguments.host.as_str()];
    let chain = certs::lab::Chain::builder().names(names).loopback().build()?;
    let mut builder = LabUpstream::builder().listen(arguments.listen).host(&arguments.host).chain(chain);
    if let Some(control) = arguments.control {
        builder = builder.control(control);
    }
    if let Some(capture) = &arguments.capture {
        return builder.capture(capture).start();
    }
    if let Some(directory) = &arguments.directory {
        let directory = std::fs::canonicalize(directory).with_context(|| directory.display().to_string())?;
        return builder.directory(directory).start();
    }
    let edition = match arguments.edition {
        EditionName::Before => Edition::before(),
        EditionName::After => Edition::after(),
    };
    builder.options(options(arguments)).edition(edition).start()
}

fn options(arguments: &Arguments) -> Options {
    let mut options = if arguments.no_real_charts { Options::default() } else { tests::shared::realistic() };
    options.dialect = arguments.dialect;
    if let Some(rows) = arguments.rows {
        options.rows = rows;
    }
    options
}

/// Registers for both signals at once; the future ends with the first of them.
fn signals() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
