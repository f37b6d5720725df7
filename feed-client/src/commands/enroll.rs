//! `feed-client enroll`

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use bundles::report::Failure;
use bundles::signed::RootFacts;
use bundles::{Digest, Reason, Reasoned as _};
use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use url::Url;

use super::{Global, failed, print};
use crate::clock::Edge;
use crate::config::{HeadendId, server_url};
use crate::data::Paths;
use crate::durable::{self, Readers, StorageError};
use crate::fetch::Http;
use crate::lock::Lock;
use crate::mend;
use crate::refusals::Asker;
use crate::repository::{self, Location, RepositoryError, Side, Store};
use crate::settings::{CONFIG_NAME, Enrolment, Local, read_token};

/// A root is some kilobytes; a larger file is another file (sigstore-tuf's own limit for roots).
const MAX_ROOT_BYTES: usize = 512_000;

/// What to tie this headend to.
#[derive(Debug, Args)]
pub struct Enroll {
    /// The server's base URL, such as https://feed.example.net; without one, releases come by `feed-client import` alone
    #[arg(long, value_name = "URL", value_parser = server_url)]
    server: Option<Url>,
    /// The root to trust from now on, as the origin exported it, carried here by a way you trust; without --server that of
    /// the offline repository
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The SHA-256 of the root to trust, as the origin shows it: instead of --root, the server's own root is taken if it is that one;
    /// without either, its SHA-256 is shown and asked about
    #[arg(long, value_name = "SHA256", value_parser = fingerprint)]
    fingerprint: Option<Digest>,
    /// This headend's name on the server and on receipts [default: the host name]
    #[arg(long, value_name = "ID")]
    id: Option<HeadendId>,
    /// A file with the token that the server gave for this headend; without one, nothing is reported
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Forget the newest release number seen: only when the origin was rebuilt and counts anew, for it lets old data in
    #[arg(long)]
    forget_release_numbers: bool,
}

pub(super) async fn enroll(global: &Global, arguments: Enroll, edge: Edge) -> Result<(), Failure> {
    let id = match arguments.id {
        Some(id) => id,
        None => id_of_host()?,
    };
    let token = arguments.token_file.as_deref().map(read_token).transpose().map_err(failed)?;
    let local = Local::load_to_enroll(global.config.as_deref(), &global.data).map_err(failed)?;
    let local = local.minding(global.refusals(Asker::Operator, edge));
    let paths = &local.paths;
    let (root, facts) = match (&arguments.root, &arguments.server) {
        (Some(file), _) => read_root(file)?,
        (None, Some(server)) => ask_for_root(&local.http(server).map_err(failed)?, server).await?,
        (None, None) => {
            return Err(Failure::new(
                Reason::BadRequest,
                "--root FILE is needed: the root says whose releases this headend believes, so it must not come from the \
                 bundle itself; export it on the origin with `feed-server keys export-root --offline` and carry it here",
            ));
        }
    };
    match arguments.fingerprint {
        Some(expected) if expected != facts.fingerprint => {
            let what = format!(
                "the root has SHA-256 {}, and {expected} was to be expected; nothing is trusted. Compare with what \
                 `feed-server keys list` shows on the origin; whoever answers may not be it",
                facts.fingerprint
            );
            return Err(Failure::new(Reason::Signature, what));
        }
        None if arguments.root.is_none() => confirm(&facts)?,
        Some(_) | None => {}
    }
    let repository = match &arguments.server {
        Some(server) => {
            let http = local.http(server).map_err(failed)?;
            find_repository(&http, server, &root, edge).await?
        }
        // Nothing is here that the root could open; the first bundle will show.
        None => Side::Offline,
    };

    std::fs::create_dir_all(paths.data()).map_err(StorageError::at("create", paths.data())).map_err(failed)?;
    let _lock = Lock::take(&paths.lock()).await.map_err(failed)?;
    let same_root = durable::read_if_there(&paths.pinned_root()).map_err(failed)?.is_some_and(|before| before == root);
    let mut state = mend::load(paths).map_err(failed)?;
    let known = state.clone();
    mend::take_note(&mut state, paths, edge.now()).map_err(failed)?;
    if arguments.forget_release_numbers {
        state.highest_serial = None;
        state.hold = None;
    }
    if !same_root {
        forget_others(paths, repository, &root).map_err(failed)?;
        (state.root, state.refreshed) = (None, None);
    }
    if state != known {
        state.save(paths).map_err(failed)?;
    }
    let before = Enrolment::load_to_replace(paths).map_err(failed)?;
    let stored = match (&token, &before) {
        (Some(token), _) => {
            durable::write(&paths.token(), token.secret().as_bytes(), Readers::OwnerOnly).map_err(failed)?;
            StoredToken::Given
        }
        (None, _) if !paths.token().exists() => StoredToken::None,
        // It is this headend's there, and the server does not show it a second time.
        (None, Some(before)) if before.server == arguments.server && before.id == id => StoredToken::Kept,
        // Another server must not be shown it.
        (None, _) => {
            durable::remove_file(&paths.token()).map_err(failed)?;
            StoredToken::Removed
        }
    };
    let headend = &local.config.headend;
    let reports = headend.token_file.is_some() || headend.certificate.is_some() || paths.token().exists();
    if !same_root {
        // What another root vouched for is believed no longer than that root; the next update brings it anew.
        durable::remove_file(&paths.offline_root()).map_err(failed)?;
    }
    durable::write(&paths.pinned_root(), &root, Readers::Anyone).map_err(failed)?;
    let enrolment = Enrolment { server: arguments.server, id, repository };
    enrolment.save(paths).map_err(failed)?;

    let mut notes = Vec::new();
    if let Some(before) = &before {
        notes.push(match &before.server {
            Some(server) => {
                format!("It was enrolled as {} with {server} (repository {}).", before.id, before.repository)
            }
            None => format!("It was enrolled as {}, without a server.", before.id),
        });
    }
    if enrolment.server.is_some() {
        notes.extend(stored.note(reports).map(str::to_owned));
    } else if local.config.server.url.is_none() {
        notes.push("There is no server: releases come with `feed-client import ZIP` alone.".to_owned());
    }
    if repository == Side::Offline && enrolment.server.is_some() {
        notes.push(
            "The root is the offline repository's: this headend takes the metadata that bundles carry, and not the online \
             repository (/repo)."
                .to_owned(),
        );
    }
    notes.extend(configuration_note(&local));
    let (with, next) = match &enrolment.server {
        Some(server) => (format!("with {server} (repository {repository}, "), "update"),
        None => (format!("for imports alone (SHA-256 of the root {}, ", facts.fingerprint), "import ZIP"),
    };
    let text = format!(
        "Enrolled as {} {with}root version {}, expires {}).\n{}Next: feed-client {next}",
        enrolment.id,
        facts.version,
        facts.expires,
        notes.iter().map(|note| format!("{note}\n")).collect::<String>(),
    );
    let facts = json!({
        "server": enrolment.server, "id": enrolment.id, "repository": repository.path(),
        "root": facts, "reports": reports, "replaced": before, "notes": notes,
    });
    print(global.json, &facts, &text)
}

/// Another origin's past is no floor for this one, whose versions count by themselves.
fn forget_others(paths: &Paths, enrolled: Side, root: &[u8]) -> Result<(), RepositoryError> {
    if Store::open(&paths.metadata(enrolled)).is_past_of(root)? {
        return Ok(());
    }
    for side in Side::BOTH {
        // The offline repository is the same origin's as the online one; not so the other way about, which nothing shows.
        if side == enrolled || side == Side::Offline {
            Store::open(&paths.metadata(side)).forget()?;
        }
    }
    Ok(())
}

/// The server's newest root, for which nobody vouches yet.
async fn ask_for_root(http: &Http, server: &Url) -> Result<(Vec<u8>, RootFacts), Failure> {
    let root = repository::newest_root(http, &Location::new(server, Side::Online)).await.map_err(failed)?;
    let facts = repository::check_root(&root).map_err(failed)?;
    Ok((root, facts))
}

/// Shows the server's root to somebody who can compare it, and asks. Where nobody is there to be asked, nothing is trusted.
fn confirm(facts: &RootFacts) -> Result<(), Failure> {
    let shown = facts.fingerprint.to_string();
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let what = format!(
            "--root FILE or --fingerprint SHA256 is needed: the root says whose releases this headend believes, so somebody has to \
             vouch for it. The server's has SHA-256 {shown} (version {}); compare with what `feed-server keys list` shows on the origin",
            facts.version
        );
        return Err(Failure::new(Reason::BadRequest, what));
    }
    eprintln!("The server's root (version {}, expires {}) has SHA-256\n\n    {shown}\n", facts.version, facts.expires);
    eprint!("Compare with what `feed-server keys list` shows on the origin. Is it the same? (yes/no) ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Failure::new(Reason::BadRequest, "the root was not confirmed, so nothing is trusted and nothing was changed"))
}

/// As people write one: in groups, with colons, in capitals.
fn fingerprint(text: &str) -> Result<Digest, String> {
    let plain: String = text.chars().filter(|it| !it.is_whitespace() && *it != ':').collect();
    plain.to_ascii_lowercase().parse().map_err(|_| "is not a SHA-256 of 64 hexadecimal digits".to_owned())
}

/// A root that an operator vouches for.
pub(super) fn read_root(path: &Path) -> Result<(Vec<u8>, RootFacts), Failure> {
    let root = durable::read_given("read", path, MAX_ROOT_BYTES).map_err(failed)?;
    if root.len() > MAX_ROOT_BYTES {
        let what = format!(
            "{} has more than {} and is no root file; give the one that `feed-server keys export-root` \
             wrote",
            path.display(),
            HumanBytes(MAX_ROOT_BYTES as u64)
        );
        return Err(Failure::new(Reason::BadRequest, what));
    }
    let facts = repository::check_root(&root).map_err(failed)?;
    Ok((root, facts))
}

/// What became of the token in the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoredToken {
    Given,
    Kept,
    Removed,
    None,
}

impl StoredToken {
    fn note(self, reports: bool) -> Option<&'static str> {
        match self {
            Self::Given => None,
            Self::Kept => Some("The token stored before is kept, since server and id are the same."),
            Self::Removed if reports => Some("The token stored before is removed: it was for another server or id."),
            Self::Removed => Some(
                "The token stored before is removed: it was for another server or id. Without --token-file nothing is \
                 reported to the server.",
            ),
            Self::None if reports => None,
            Self::None => Some("Without --token-file nothing is reported to the server."),
        }
    }
}

/// Enrolment does not store the configuration, and a command that does not read it fails at TLS at the latest.
fn configuration_note(local: &Local) -> Option<String> {
    let file = local.config_file.as_ref()?;
    let usual = local.paths.data().join(CONFIG_NAME);
    let same = match (file.canonicalize(), usual.canonicalize()) {
        (Ok(file), Ok(usual)) => file == usual,
        _ => false,
    };
    (!same).then(|| {
        format!(
            "Later commands need the same --config {} (or POSTURE_FEED_CLIENT_CONFIG), or the file as {}.",
            file.display(),
            usual.display()
        )
    })
}

/// The repository that the root opens. Where neither is, the reason is the one of the side that came further: a root of
/// another origin fails at both by its signatures.
async fn find_repository(http: &Http, server: &Url, root: &[u8], edge: Edge) -> Result<Side, Failure> {
    let mut first: Option<RepositoryError> = None;
    for side in Side::BOTH {
        match repository::try_root(http, &Location::new(server, side), root, edge.now()).await {
            Ok(()) => return Ok(side),
            Err(error) => {
                tracing::debug!(%side, "the root does not open it: {}", error.whole_message());
                // A server that cannot be reached cannot be reached for the other side either.
                if !matches!(error.reason(), Reason::Signature | Reason::NotFound | Reason::Rollback) {
                    return Err(failed(error));
                }
                let better = first.as_ref().is_none_or(|first| first.reason() == Reason::NotFound);
                if better {
                    first = Some(error);
                }
            }
        }
    }
    Err(first.map_or_else(|| Failure::new(Reason::Internal, "no repository was tried"), failed))
}

/// What this machine calls itself.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn id_of_host() -> Result<HeadendId, Failure> {
    let name = host_name();
    name.parse().map_err(|_| {
        let what = format!("the host name {name:?} is no id for a headend; give one with --id");
        Failure::new(Reason::BadRequest, what)
    })
}
