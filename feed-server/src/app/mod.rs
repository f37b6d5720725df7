//! What the parts of a running server share.

pub mod audit;
mod backup;
pub mod certificate;
pub mod facts;
pub mod failures;
pub mod history;
pub mod holding;
pub mod imports;
pub mod ise;
pub mod manners;
pub mod refusals;
pub mod role;
pub mod runs;
pub mod sessions;
pub mod settings;
pub mod tokens;
pub mod trust;
pub mod uploads;
pub mod warnings;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use bundles::report::Failure;
use bundles::{Manifest, Reason, Reasoned, Serial};
use jiff::Timestamp;
use url::Url;

pub use crate::config::Role;
use crate::config::{Config, UpstreamKind};
use crate::headends::Inbox;
use crate::increments::{Prepared, Preparer};
use crate::metrics::Metrics;
use crate::publish::{ChangeError, Keys, Published, Publisher, Quorum, Sources};
use crate::store::audit::{Act, AuditResult, Doing, NewRecord};
use crate::store::records::{HeadendRecord, ReportRecord, RunRecord, Trigger};
use crate::store::{Batch, Learned, Store, StoreError};
use crate::tokens::Uses;
use crate::upstream::Environment;
use failures::Failures;
use refusals::Refusals;
use runs::{Request, Runs, Wishes};
use sessions::Sessions;
use uploads::Uploads;

/// When the server first started on this data directory.
const FIRST_START: &str = "first_start";

/// What the parts of a running server share.
#[derive(Debug)]
pub struct App {
    /// The configuration.
    pub config: Config,
    /// What is kept.
    pub store: Store,
    /// Takes headends' reports.
    pub inbox: Inbox,
    /// What signs; a relay has none.
    pub keys: Option<Keys>,
    /// Makes what is served.
    pub publisher: Publisher,
    /// What is served.
    pub published: Arc<ArcSwap<Published>>,
    /// Makes other forms of what is served.
    pub preparer: Arc<Preparer>,
    /// Those that there are.
    pub prepared: Arc<ArcSwap<Prepared>>,
    /// Counters.
    pub metrics: Metrics,
    /// The one run at a time.
    pub runs: Runs,
    /// What upstream and the proxy asked not to be asked.
    pub manners: manners::KeptManners,
    /// When the server first started on this data directory.
    pub first_start: Timestamp,
    /// The certificate that the server presents; none where it does not answer by TLS, or does not answer at all.
    pub certificate: OnceLock<Arc<certificate::ServerCertificate>>,
    /// Held while metrics are gathered, which reads every headend's report: anyone may ask for them, and as often as they
    /// like.
    pub gathering: tokio::sync::Mutex<()>,
    /// When tokens were last used.
    pub uses: Uses,
    /// Attempts that were refused lately, for the audit trail.
    pub refusals: Refusals,
    /// Those that failed, by where they came from.
    pub failures: Failures,
    /// Who is logged in to the console.
    pub sessions: Sessions,
    /// Zips that wait to be imported.
    pub uploads: Uploads,
    /// Sees what ISE deployments do.
    pub ise: ise::Observer,
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
    /// Opens the data directory, makes an origin's keys where there are none, and serves what was published last.
    ///
    /// # Errors
    /// The data directory is in use, cannot be read or written, or is a newer program's or of the other role. A disk that has become full is no
    /// error: then what was published is served, and the store takes part again as soon as there is room.
    pub async fn open(config: Config, public_url: Option<Url>, clock: fn() -> Timestamp) -> Result<Opened, Failure> {
        let opening = config.clone();
        let opened = tokio::task::spawn_blocking(move || open(&opening, public_url, clock()));
        let Parts { store, first_start, manners, keys, keys_created, publisher, preparer } =
            opened.await.map_err(|error| internal(&error))??;
        let uploads = Uploads::open(store.directory());
        let app = Self {
            metrics: Metrics::new().map_err(|error| internal(&error))?,
            published: publisher.published(),
            prepared: preparer.prepared(),
            preparer: Arc::new(preparer),
            config,
            ise: ise::Observer::open(&store),
            inbox: Inbox::open(store.clone()).map_err(|error| internal(&error))?,
            store,
            keys,
            publisher,
            runs: Runs::default(),
            manners,
            first_start,
            certificate: OnceLock::new(),
            gathering: tokio::sync::Mutex::default(),
            uses: Uses::default(),
            refusals: Refusals::default(),
            failures: Failures::default(),
            sessions: Sessions::default(),
            uploads,
            clock,
            changes: Mutex::new(()),
        };
        if keys_created {
            app.tell(Doing::by_itself(Act::KeysInit), AuditResult::Done);
        }
        Ok(Opened { app, keys_created })
    }

    /// Makes the first keys of an origin that never started, as somebody asked.
    ///
    /// # Errors
    /// There are keys already; the data directory is in use, or a relay's; or what could not be done.
    pub fn make_keys(config: &Config, quorum: Quorum, doing: Doing, now: Timestamp) -> Result<(), Failure> {
        let directory = &config.data.directory;
        if config.upstream.role() == Role::Relay {
            return Err(Failure::of(&ChangeError::Relay));
        }
        let store = Store::open(directory).map_err(|error| Failure::of(&error))?;
        role::hold(&store, Role::Origin).map_err(|error| Failure::of(&error))?;
        let made =
            Keys::create(&directory.join(role::KEYS), quorum, &sources(config)).map_err(|error| Failure::of(&error));
        let record = NewRecord::new(doing, AuditResult::of(&made));
        let kept = store.audit(Batch::new(), &[record], now, audit::kept_for(config.data.audit_days));
        made.and_then(|()| kept.map_err(|error| Failure::of(&error)))
    }

    /// What this server is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.config.upstream.role()
    }

    /// The feed-server that a relay follows; `None` where it is fed by hand, and on an origin.
    #[must_use]
    pub fn followed(&self) -> Option<&Url> {
        let upstream = &self.config.upstream;
        (self.role() == Role::Relay && upstream.fetches()).then_some(&upstream.url)
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
    pub fn update_now(&self, wishes: Wishes) -> Result<Request, Failure> {
        self.ask(Trigger::Operator, wishes)
    }

    /// Asks for an update run.
    ///
    /// # Errors
    /// As [`Self::update_now`].
    pub fn ask(&self, trigger: Trigger, wishes: Wishes) -> Result<Request, Failure> {
        if !self.config.upstream.fetches() {
            return Err(Failure::new(Reason::BadRequest, nothing_is_fetched(self.config.upstream.kind)));
        }
        let number = || {
            self.store.next_run_id().map_err(|error| {
                tracing::error!(error = error.whole_message(), "no run can begin");
                Failure::new(error.reason(), error.reason().sentence())
            })
        };
        self.runs.ask(trigger, wishes, number)
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

    /// What runs taught of upstream: the store's, and what the last one of this process taught where the store could not
    /// take it.
    #[must_use]
    pub fn learned(&self) -> Learned {
        let mut learned = if_readable(self.store.run_facts()).learned;
        if let Some(last) = self.runs.last() {
            learned.learn(&last);
        }
        learned
    }

    /// The retained releases, and since when each is here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn release_times(&self) -> Result<Vec<(Serial, Timestamp)>, StoreError> {
        let releases = self.store.releases(self.config.data.retain_releases)?;
        Ok(releases.into_iter().map(|release| (release.manifest.serial, release.since())).collect())
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

    fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
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

fn nothing_is_fetched(kind: UpstreamKind) -> &'static str {
    match kind {
        UpstreamKind::Vendor | UpstreamKind::None => {
            "nothing is fetched here ([upstream] kind = \"none\"); set it to \"vendor\" to fetch"
        }
        UpstreamKind::Mirror => {
            "this relay is fed by hand and fetches nothing; import a bundle with `feed-server bundle import ZIP`, or set \
             [upstream] url to the feed-server to follow"
        }
    }
}

struct Parts {
    store: Store,
    first_start: Timestamp,
    manners: manners::KeptManners,
    keys: Option<Keys>,
    keys_created: bool,
    publisher: Publisher,
    preparer: Preparer,
}

fn open(config: &Config, public_url: Option<Url>, now: Timestamp) -> Result<Parts, Failure> {
    let directory = &config.data.directory;
    let of = |error: StoreError| Failure::of(&error);
    let store = Store::open_even_if_full(directory).map_err(of)?;
    let role = config.upstream.role();
    role::hold(&store, role).map_err(|error| Failure::of(&error))?;
    let first_start = match first_start(&store, now) {
        // What is not known counts from now: nothing can be fetched before there is room anyhow.
        Err(error) if error.lacks_room() => now,
        first_start => first_start.map_err(of)?,
    };
    let manners = manners::open(&store, &config.upstream);
    let (keys, keys_created) = match role {
        Role::Origin => {
            let opened = Keys::open_or_create_from(&directory.join(role::KEYS), &sources(config));
            opened.map(|(keys, created)| (Some(keys), created)).map_err(|error| Failure::of(&error))?
        }
        Role::Relay => (None, false),
    };
    let publisher =
        Publisher::open(store.clone(), directory, config, keys.clone(), now).map_err(|error| Failure::of(&error))?;
    if let Some(url) = public_url {
        publisher.set_public_url(url);
    }
    let preparer = Preparer::open(store.clone(), config.increments, &publisher.published().load());
    Ok(Parts { store, first_start, manners, keys, keys_created, publisher, preparer })
}

/// Where signing keys are besides the data directory, and what opens them.
fn sources(config: &Config) -> Sources {
    Sources::new(config.signing.clone(), Environment::of_process())
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
