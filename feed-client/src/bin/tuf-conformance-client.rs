//! Speaks the command protocol of the TUF conformance suite, so that it can judge what headends verify with: the same
//! refresh, store and downloads. Nobody needs it on a headend.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundles::report::Failure;
use bundles::{Digest, Reason};
use clap::{Args, Parser, Subcommand};
use feed_client::clock::Edge;
use feed_client::download::{Partials, Wanted};
use feed_client::durable::{self, Readers, StorageError};
use feed_client::fetch::Http;
use feed_client::progress::Progress;
use feed_client::repository::{Location, Repository, Store};
use url::Url;

/// The root of `init`, beside what was verified since. What it is called keeps it from looking like that.
const PINNED: &str = "pinned-root";

/// A client for the TUF conformance suite, made of what feed-client verifies with.
#[derive(Debug, Parser)]
#[command(name = "tuf-conformance-client", version)]
struct Cli {
    #[command(flatten)]
    given: Given,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Given {
    /// Verified metadata
    #[arg(long, value_name = "DIR")]
    metadata_dir: PathBuf,
    /// Where the repository's metadata is
    #[arg(long, value_name = "URL")]
    metadata_url: Option<Url>,
    /// A target to download; as often as there are
    #[arg(long = "target-name", value_name = "PATH")]
    target_names: Vec<String>,
    /// Where the repository's targets are
    #[arg(long, value_name = "URL")]
    target_base_url: Option<Url>,
    /// Where downloaded targets go
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trust this root from now on
    Init {
        /// The root
        root: PathBuf,
    },
    /// Bring the metadata up to date
    Refresh,
    /// The same, and download targets
    Download,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // It may be what was asked for.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| Failure::new(Reason::Internal, format!("no runtime: {error}")))
        .and_then(|runtime| runtime.block_on(run(&cli)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tuf-conformance-client: {} ({})", failure.message, failure.reason);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<(), Failure> {
    let given = &cli.given;
    match &cli.command {
        Command::Init { root } => {
            let bytes = std::fs::read(root).map_err(StorageError::at("read", root)).map_err(failed)?;
            durable::write(&given.metadata_dir.join(PINNED), &bytes, Readers::Anyone).map_err(failed)?;
            durable::write(&given.metadata_dir.join("root.json"), &bytes, Readers::Anyone).map_err(failed)
        }
        Command::Refresh => given.refresh(Edge::system()).await.map(drop),
        Command::Download => given.download(Edge::system()).await,
    }
}

impl Given {
    async fn refresh(&self, edge: Edge) -> Result<(Http, Store, Repository), Failure> {
        let metadata = self.metadata_url.as_ref().ok_or_else(|| needed("--metadata-url"))?;
        let location = Location::at(metadata.clone(), self.target_base_url.as_ref().unwrap_or(metadata).clone());
        let pinned = self.metadata_dir.join(PINNED);
        let root = durable::read_if_there(&pinned).map_err(failed)?.ok_or_else(|| needed("init"))?;
        let anchors = certs::PinnedVerifier::new(certs::Anchors::all_public());
        let tls = certs::client_config(anchors.map_err(|error| Failure::new(Reason::Internal, error.to_string()))?);
        let http = Http::new(tls, None, None, "check the URL").map_err(failed)?;
        let store = Store::open(&self.metadata_dir).keeping_delegated();
        let repository = Repository::refresh(&http, &location, &root, &store, edge.now()).await.map_err(failed)?;
        Ok((http, store, repository))
    }

    async fn download(&self, edge: Edge) -> Result<(), Failure> {
        let directory = self.target_dir.as_deref().ok_or_else(|| needed("--target-dir"))?;
        if self.target_base_url.is_none() || self.target_names.is_empty() {
            return Err(needed("--target-base-url and --target-name"));
        }
        let (http, store, mut repository) = self.refresh(edge).await?;
        for name in &self.target_names {
            let target = repository.find(name, &store, edge.now()).await.map_err(failed)?;
            let target =
                target.ok_or_else(|| Failure::new(Reason::NotFound, format!("nobody vouches for {name:?}")))?;
            // One file for each path, whatever the path is.
            let into = directory.join(Digest::of(name.as_bytes()).to_string());
            let Some((sha256, length)) = target.sha256() else {
                let bytes = repository.bytes_of(&target).await.map_err(failed)?;
                durable::write(&into, &bytes, Readers::Anyone).map_err(failed)?;
                continue;
            };
            if is_here(&into, sha256, length)? {
                continue;
            }
            let url = repository.url_of(&target);
            fetch(&http, url, target.path(), (sha256, length), &into).await?;
        }
        Ok(())
    }
}

async fn fetch(http: &Http, url: Url, name: &str, signed: (Digest, u64), into: &Path) -> Result<(), Failure> {
    // Not among the targets, whose every file counts.
    let aside = tempfile::tempdir_in(into.parent().and_then(Path::parent).unwrap_or(Path::new(".")))
        .map_err(StorageError::at("create a directory beside", into))
        .map_err(failed)?;
    let paths = feed_client::data::Paths::new(aside.path(), None);
    let (sha256, length) = signed;
    let wanted = Wanted {
        http,
        url,
        name,
        sha256,
        length,
        base: None,
        partials: &Partials::of(&paths),
        progress: &Progress::hidden(),
    };
    let complete = aside.path().join("complete");
    wanted.fetch(&complete).await.map_err(failed)?;
    durable::rename(&complete, into).map_err(failed)
}

fn is_here(path: &Path, sha256: Digest, length: u64) -> Result<bool, Failure> {
    let here = durable::read_if_there(path).map_err(failed)?;
    Ok(here.is_some_and(|bytes| bytes.len() as u64 == length && Digest::of(&bytes) == sha256))
}

fn needed(what: &str) -> Failure {
    Failure::new(Reason::BadRequest, format!("{what} is needed"))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: impl bundles::Reasoned) -> Failure {
    Failure::of(&error)
}
