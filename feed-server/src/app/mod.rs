//! What the parts of a running server share.

pub mod chain;
pub mod facts;
pub mod runs;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bundles::report::Failure;
use bundles::{Manifest, Reason, Reasoned, Serial};
use jiff::Timestamp;
use url::Url;

use crate::config::{Config, UpstreamKind};
use crate::metrics::Metrics;
use crate::publish::{Keys, Published, Publisher};
use crate::store::records::{HeadendRecord, ReportRecord, RunRecord, Trigger};
use crate::store::{Store, StoreError};
use runs::{Request, Runs};

/// Where signing keys are in the data directory.
const KEYS: &str = "keys";

/// When the server first started on this data directory.
const FIRST_START: &str = "first_start";

/// What the parts of a running server share.
#[derive(Debug)]
pub struct App {
    /// The configuration.
    pub config: Config,
    /// What is kept.
    pub store: Store,
    /// What signs.
    pub keys: Keys,
    /// Makes what is served.
    pub publisher: Publisher,
    /// What is served.
    pub published: Arc<ArcSwap<Published>>,
    /// Counters.
    pub metrics: Metrics,
    /// The one run at a time.
    pub runs: Runs,
    /// The certificates that upstream presented last.
    pub upstream_chain: chain::UpstreamChain,
    /// When the server first started on this data directory.
    pub first_start: Timestamp,
    /// Held while metrics are gathered, which reads every headend's report: anyone may ask for them, and as often as they
    /// like.
    pub gathering: tokio::sync::Mutex<()>,
    clock: fn() -> Timestamp,
    changes: Mutex<()>,
}

/// An app and what people are to be told about it.
#[derive(Debug)]
pub struct Opened {
    /// The app.
    pub app: App,
    /// Whether the signing keys were made just now.
    pub keys_created: bool,
}

impl App {
    /// Opens the data directory, makes keys where there are none, and serves what was published last.
    ///
    /// # Errors
    /// The data directory is in use, cannot be read or written, or is a newer program's. A disk that has become full is no
    /// error: then what was published is served, and the store takes part again as soon as there is room.
    pub async fn open(config: Config, public_url: Option<Url>, clock: fn() -> Timestamp) -> Result<Opened, Failure> {
        let opening = config.clone();
        let opened = tokio::task::spawn_blocking(move || open(&opening, public_url, clock()));
        let Parts { store, first_start, upstream_chain, keys, keys_created, publisher } =
            opened.await.map_err(|error| internal(&error))??;
        let app = Self {
            metrics: Metrics::new().map_err(|error| internal(&error))?,
            published: publisher.published(),
            config,
            store,
            keys,
            publisher,
            runs: Runs::default(),
            upstream_chain,
            first_start,
            gathering: tokio::sync::Mutex::default(),
            clock,
            changes: Mutex::new(()),
        };
        Ok(Opened { app, keys_created })
    }

    /// When signed metadata expires.
    #[must_use]
    pub fn metadata_expires(&self) -> Vec<facts::Expiry> {
        self.publisher.metadata_expiries()
    }

    /// Now, in whole seconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Asks for an update run now.
    ///
    /// # Errors
    /// One is going on; nothing is fetched here; or the store cannot be read.
    pub fn update_now(&self, accept_version_rollback: bool) -> Result<Request, Failure> {
        self.ask(Trigger::Operator, accept_version_rollback)
    }

    /// Asks for an update run.
    ///
    /// # Errors
    /// As [`Self::update_now`].
    pub fn ask(&self, trigger: Trigger, accept_version_rollback: bool) -> Result<Request, Failure> {
        match self.config.upstream.kind {
            UpstreamKind::Vendor => {}
            UpstreamKind::None => {
                let message = "nothing is fetched here ([upstream] kind = \"none\"); set it to \"vendor\" to fetch";
                return Err(Failure::new(Reason::BadRequest, message));
            }
        }
        let number = || {
            self.store.next_run_id().map_err(|error| {
                tracing::error!(error = error.whole_message(), "no run can begin");
                Failure::new(error.reason(), error.reason().sentence())
            })
        };
        self.runs.ask(trigger, accept_version_rollback, number)
    }

    /// The newest runs, newest first: the store's, and the last one of this process where the store could not take it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn recent_runs(&self, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        let mut runs = self.store.runs(limit)?;
        if let Some(last) = self.runs.last() {
            match runs.iter().position(|run| run.id == last.id) {
                Some(kept) => runs[kept] = last,
                None if runs.first().is_none_or(|newest| newest.id < last.id) => runs.insert(0, last),
                None => {}
            }
        }
        runs.truncate(limit);
        Ok(runs)
    }

    /// One run.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn run(&self, id: u64) -> Result<Option<RunRecord>, StoreError> {
        match self.runs.last() {
            Some(last) if last.id == id => Ok(Some(last)),
            Some(_) | None => self.store.run(id),
        }
    }

    /// The newest release: the store's, or the one that is served where the store cannot be read.
    #[must_use]
    pub fn newest(&self) -> Option<Manifest> {
        match self.store.newest_release() {
            Ok(newest) => newest.map(|release| release.manifest),
            Err(error) => {
                untold(&error);
                self.published.load().newest().cloned()
            }
        }
    }

    /// Keeps what is known of upstream's certificates.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep_upstream_chain(&self) -> Result<(), StoreError> {
        self.store.put_state(chain::STATE, &self.upstream_chain.to_keep())
    }

    /// Number and time of the retained releases.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn release_times(&self) -> Result<Vec<(Serial, Timestamp)>, StoreError> {
        let releases = self.store.releases(self.config.data.retain_releases)?;
        Ok(releases.into_iter().map(|release| (release.manifest.serial, release.manifest.created)).collect())
    }

    /// All headends with their last reports.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn headends(&self) -> Result<Vec<(HeadendRecord, Option<ReportRecord>)>, StoreError> {
        let mut reports: std::collections::HashMap<_, _> = self.store.reports()?.into_iter().collect();
        let with_report = |headend: HeadendRecord| {
            let report = reports.remove(&headend.id);
            (headend, report)
        };
        Ok(self.store.headends()?.into_iter().map(with_report).collect())
    }

    /// Looks and changes without anybody else changing in between.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn change<T>(&self, change: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let _only = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        change(&self.store)
    }
}

/// What is in the store, or nothing where it cannot be read: who asks how things are is told the rest.
pub(crate) fn if_readable<T: Default>(read: Result<T, StoreError>) -> T {
    read.unwrap_or_else(|error| {
        untold(&error);
        T::default()
    })
}

fn untold(error: &StoreError) {
    // Runs and starts say it loudly; this is said at every look.
    tracing::debug!(error = error.whole_message(), "the catalog cannot be read; what is in it is not told");
}

/// Whether a data directory has signing keys, and so is a mirror's.
///
/// # Errors
/// It cannot be looked at.
pub fn has_keys(data_dir: &Path) -> io::Result<bool> {
    data_dir.join(KEYS).try_exists()
}

struct Parts {
    store: Store,
    first_start: Timestamp,
    upstream_chain: chain::UpstreamChain,
    keys: Keys,
    keys_created: bool,
    publisher: Publisher,
}

fn open(config: &Config, public_url: Option<Url>, now: Timestamp) -> Result<Parts, Failure> {
    let directory = &config.data.directory;
    let of = |error: StoreError| Failure::of(&error);
    let store = Store::open_even_if_full(directory).map_err(of)?;
    let first_start = match first_start(&store, now) {
        // What is not known counts from now: nothing can be fetched before there is room anyhow.
        Err(error) if error.lacks_room() => now,
        first_start => first_start.map_err(of)?,
    };
    let upstream_chain = chain::UpstreamChain::from_kept(if_readable(store.state(chain::STATE)).unwrap_or_default());
    let (keys, keys_created) = Keys::open_or_create(&directory.join(KEYS)).map_err(|error| Failure::of(&error))?;
    let publisher =
        Publisher::open(store.clone(), directory, config, keys.clone(), now).map_err(|error| Failure::of(&error))?;
    if let Some(url) = public_url {
        publisher.set_public_url(url);
    }
    Ok(Parts { store, first_start, upstream_chain, keys, keys_created, publisher })
}

fn first_start(store: &Store, now: Timestamp) -> Result<Timestamp, StoreError> {
    match store.state(FIRST_START)? {
        Some(first) => Ok(first),
        None => store.put_state(FIRST_START, &now).map(|()| now),
    }
}

/// Something that only a mistake in this program brings about.
pub fn internal(error: &dyn std::error::Error) -> Failure {
    Failure::new(Reason::Internal, format!("{}: {error}", Reason::Internal.sentence()))
}
