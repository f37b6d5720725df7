//! `feed-client enroll`

use std::path::PathBuf;

use bundles::report::Failure;
use bundles::{Reason, Reasoned as _};
use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use url::Url;

use super::{Global, failed, print};
use crate::clock::Edge;
use crate::config::{HeadendId, server_url};
use crate::durable::{self, Readers, StorageError};
use crate::fetch::Http;
use crate::lock::Lock;
use crate::repository::{self, Location, RepositoryError, Side};
use crate::settings::{CONFIG_NAME, Enrolment, Local, read_token};
use crate::state::State;

/// A root is some kilobytes; a larger file is another file (sigstore-tuf's own limit for roots).
const MAX_ROOT_BYTES: usize = 512_000;

/// What to tie this headend to.
#[derive(Debug, Args)]
pub struct Enroll {
    /// The server's base URL, such as https://feed.example.net
    #[arg(long, value_name = "URL", value_parser = server_url)]
    server: Url,
    /// The root to trust from now on: root.json as the origin exported it, carried here by a way you trust
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// This headend's name on the server [default: the host name]
    #[arg(long, value_name = "ID")]
    id: Option<HeadendId>,
    /// A file with the token that the server gave for this headend; without one, nothing is reported
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Forget the newest release number seen: only when the origin was rebuilt and counts anew, for it lets old data in
    #[arg(long)]
    forget_release_numbers: bool,
}

pub(super) async fn enroll(global: &Global, arguments: Enroll, edge: Edge) -> Result<(), Failure> {
    let Some(root_file) = arguments.root else {
        return Err(Failure::new(
            Reason::BadRequest,
            "--root FILE is needed: the root says whose releases this headend believes, so it must not come from the \
             server itself; export it on the origin with `feed-server keys export-root` and carry it here",
        ));
    };
    let id = match arguments.id {
        Some(id) => id,
        None => host_name()?,
    };
    let token = arguments.token_file.as_deref().map(read_token).transpose().map_err(failed)?;
    let root = durable::read_given("read", &root_file, MAX_ROOT_BYTES).map_err(failed)?;
    if root.len() > MAX_ROOT_BYTES {
        let what = format!(
            "{} has more than {} and is no root file; give the one that `feed-server keys export-root` \
             wrote",
            root_file.display(),
            HumanBytes(MAX_ROOT_BYTES as u64)
        );
        return Err(Failure::new(Reason::BadRequest, what));
    }
    let facts = repository::check_root(&root).map_err(failed)?;

    let local = Local::load_to_enroll(global.config.as_deref(), &global.data).map_err(failed)?;
    let paths = &local.paths;
    let http = local.http().map_err(failed)?;
    let repository = find_repository(&http, &arguments.server, &root, edge).await?;

    std::fs::create_dir_all(paths.data()).map_err(StorageError::at("create", paths.data())).map_err(failed)?;
    let _lock = Lock::take(&paths.lock()).await.map_err(failed)?;
    if arguments.forget_release_numbers {
        let mut state = State::load(paths).map_err(failed)?;
        state.highest_serial = None;
        state.hold = None;
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
    let reports = local.config.headend.token_file.is_some() || paths.token().exists();
    durable::write(&paths.pinned_root(), &root, Readers::Anyone).map_err(failed)?;
    let enrolment = Enrolment { server: arguments.server, id, repository };
    enrolment.save(paths).map_err(failed)?;

    let mut notes = Vec::new();
    if let Some(before) = &before {
        notes.push(format!(
            "It was enrolled as {} with {} (repository {}).",
            before.id, before.server, before.repository
        ));
    }
    notes.extend(stored.note(reports).map(str::to_owned));
    if repository == Side::Offline {
        notes.push(
            "The root is the offline repository's: this headend takes the metadata that bundles carry, and not the online \
             repository (/repo)."
                .to_owned(),
        );
    }
    notes.extend(configuration_note(&local));
    let text = format!(
        "Enrolled as {} with {} (repository {repository}, root version {}, expires {}).\n{}Next: feed-client update",
        enrolment.id,
        enrolment.server,
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

fn host_name() -> Result<HeadendId, Failure> {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    name.parse().map_err(|_| {
        let what = format!("the host name {name:?} is no id for a headend; give one with --id");
        Failure::new(Reason::BadRequest, what)
    })
}
