//! The index and everything that it names, looked at as a run would, and thrown away.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bundles::index::Index;
use bundles::report::Failure;
use bundles::{Component, FileName, Reason, Version};
use serde::Serialize;

use super::Need;
use super::following::{MetadataFacts, ReleaseFacts};
use crate::config::Config;
use crate::sync::checked::{CheckedFeed, Staging};
use crate::sync::{self, Known, Progress, SyncError};
use crate::upstream::doctor::{Check, Line, Mark, Network, Notes};
use crate::upstream::manners::another_source_may_help;
use crate::upstream::{Answer, Content, UpstreamError, Vendor, shown};

/// What the index says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexFacts {
    /// Its root element.
    pub root: String,
    /// How it was decoded.
    pub encoding: &'static str,
    /// Files that it names.
    pub entries: usize,
    /// Hosts that they come from.
    pub hosts: BTreeSet<String>,
    /// Components that they belong to.
    pub components: BTreeSet<String>,
    /// The rows of Update Information, by the index; after the archives, by those too.
    pub versions: Vec<Row>,
    /// Values that look as if they mattered and were not used.
    pub unused: usize,
}

/// A row of Update Information.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Which component.
    pub component: Component,
    /// Its version; absent where none is known.
    pub version: Option<Version>,
}

impl Row {
    /// As people read it.
    pub(super) fn text(&self, without: &str) -> String {
        let label = self.component.label().unwrap_or_default();
        let version = self.version.as_ref().map_or_else(|| without.to_owned(), ToString::to_string);
        format!("{label:<49} {version}")
    }
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ArchivesFacts {
    /// Archives, all of which opened; of a followed release, its other files as well.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of all that was received, the index or the metadata too.
    pub received_bytes: u64,
}

/// How another URL of the index does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// The URL.
    pub url: String,
    /// Entries of its index.
    pub entries: Option<usize>,
    /// Why it is of no use either.
    pub failure: Option<Failure>,
}

impl Fallback {
    pub(super) fn line(&self) -> Line {
        let line = match (&self.failure, self.entries) {
            (Some(failure), _) => Line::new(Check::Fallback, Mark::Warning, "fails too").with([format!("{failure}")]),
            (None, Some(entries)) => {
                Line::new(Check::Fallback, Mark::Ok, format!("answers with an index of {entries} files"))
            }
            (None, None) => Line::new(Check::Fallback, Mark::NotTried, ""),
        };
        line.about(&self.url)
    }
}

/// What a look brought.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) index: Option<IndexFacts>,
    pub(super) metadata: Option<MetadataFacts>,
    pub(super) release: Option<ReleaseFacts>,
    pub(super) archives: Option<ArchivesFacts>,
    pub(super) offline_zip: Option<u64>,
    pub(super) fallbacks: Vec<Fallback>,
    pub(super) need: Option<Need>,
    pub(super) clock_offset: Option<i64>,
}

/// Why the doctor could not look at the archives, for reasons of its own.
#[derive(Debug, thiserror::Error)]
#[error(
    "archives cannot be opened in the temporary directory {directory}; check its free space and permissions, or name \
     another one in TMPDIR"
)]
pub(super) struct TemporaryError {
    directory: String,
    #[source]
    source: std::io::Error,
}

impl TemporaryError {
    pub(super) fn failure(source: std::io::Error) -> Failure {
        Failure::of(&Self { directory: std::env::temp_dir().display().to_string(), source })
    }
}

/// Where archives are opened; deleted when dropped.
///
/// # Errors
/// It cannot be made.
pub(super) fn temporary_directory() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new().prefix("posture-feed-doctor-").tempdir().map_err(TemporaryError::failure)
}

impl bundles::Reasoned for TemporaryError {
    fn reason(&self) -> Reason {
        Reason::Storage
    }
}

/// Looks at the index and at all that it names, and at the vendor's own zip, and notes a line for each step.
pub(super) async fn look(
    vendor: &Vendor,
    network: &Network,
    notes: &Notes,
    config: &Config,
    progress: &dyn Progress,
) -> Looked {
    let directory = match temporary_directory() {
        Ok(directory) => directory,
        Err(failure) => {
            notes.note(Line::failed(Check::Archives, failure));
            return Looked::default();
        }
    };
    let staging = Staging::new(directory.path().to_owned());
    let patient = Patient::new(network, notes, progress);
    // The zip apart, for it has a line of its own.
    let feed = vendor.without_offline_zip();
    let result = sync::look(&feed, Known::nothing(), &staging, &config.limits, &patient).await;
    let Stage { check, since, index, clock_offset } = patient.into_stage();
    let mut looked = Looked { index, clock_offset, ..Looked::default() };
    match result {
        Ok(sync::Looked::Feed(feed)) => {
            let archives = archives(&feed);
            looked.need = Some(need(&feed));
            let rows = looked.index.as_mut().map(|index| index.learn(&feed)).unwrap_or_default();
            let seen = format!("{} archives, {}, all opened", archives.count, indicatif::HumanBytes(archives.bytes));
            let line = Line::new(Check::Archives, Mark::Ok, seen).took(since.elapsed());
            notes.note(line.with(rows));
            looked.archives = Some(archives);
        }
        // Nothing was known that could be unchanged.
        Ok(sync::Looked::Unchanged { .. }) => {}
        Err(SyncError::Upstream(error)) => {
            let failure = Failure::of(&error);
            network.failed(&error, failure, check);
        }
        Err(SyncError::Staging(error)) => notes.note(Line::failed(check, TemporaryError::failure(error))),
        Err(error) => notes.note(Line::failed(check, Failure::of(&error))),
    }
    if let Some(url) = vendor.offline_zip_url() {
        let line = if looked.archives.is_some() {
            offline_zip(vendor, &staging, config, progress, &mut looked).await
        } else {
            Line::new(Check::OfflineZip, Mark::NotTried, "")
        };
        notes.note(line.about(shown(url)));
        if looked.archives.is_some() {
            // Another URL of the index would not help.
            return looked;
        }
    }
    if let Some(failure) = notes.failure() {
        network.be_quiet();
        looked.fallbacks = fallbacks(vendor, config, failure.reason).await;
    }
    looked
}

/// The vendor's own zip, fetched and read as a run does it.
async fn offline_zip(
    vendor: &Vendor,
    staging: &Staging,
    config: &Config,
    progress: &dyn Progress,
    looked: &mut Looked,
) -> Line {
    let since = Instant::now();
    match sync::look_at_zip(vendor, staging, &config.limits, progress).await {
        Ok(bytes) => {
            let bytes = bytes.unwrap_or_default();
            looked.offline_zip = Some(bytes);
            looked.need = looked.need.map(|need| need.and(bytes));
            let seen = format!("{}, whole and safe to unpack; carried as it is", indicatif::HumanBytes(bytes));
            Line::new(Check::OfflineZip, Mark::Ok, seen).took(since.elapsed())
        }
        Err(error) => Line::failed(Check::OfflineZip, Failure::of(&error)),
    }
}

fn archives(feed: &CheckedFeed) -> ArchivesFacts {
    let mut seen = BTreeSet::new();
    let files = feed.components.iter().flat_map(|component| &component.files);
    let lengths: Vec<u64> =
        files.filter(|file| seen.insert(file.archive.name.to_string())).map(|file| file.archive.length).collect();
    ArchivesFacts { count: lengths.len(), bytes: lengths.iter().sum(), received_bytes: feed.received_bytes }
}

/// What a run would store, with nothing there yet.
fn need(feed: &CheckedFeed) -> Need {
    let bytes = feed.new_files.iter().map(|file| file.file().length).sum();
    Need::of(bytes, feed.new_files.len() as u64)
}

/// Asks for the indexes at the other URLs, until one is good.
async fn fallbacks(vendor: &Vendor, config: &Config, reason: Reason) -> Vec<Fallback> {
    let mut found = Vec::new();
    for url in vendor.sources().into_iter().skip(1) {
        let mut fallback = Fallback { url: shown(&url), entries: None, failure: None };
        let is_good = found.iter().any(|known: &Fallback| known.entries.is_some());
        // Among those that cannot be mended so is a refused password: accounts get locked.
        if !is_good && another_source_may_help(reason) {
            match entries(&vendor.at(url), config).await {
                Ok(entries) => fallback.entries = Some(entries),
                Err(failure) => fallback.failure = Some(failure),
            }
        }
        found.push(fallback);
    }
    found
}

async fn entries(vendor: &Vendor, config: &Config) -> Result<usize, Failure> {
    let of = |error: UpstreamError| Failure::of(&error);
    let url = vendor.index_url();
    match vendor.get(url, None, config.limits.index_bytes, "index_bytes").await.map_err(of)? {
        Answer::Content(mut content) => {
            let bytes = content.whole().await.map_err(of)?;
            let index = Index::read(&bytes, &content.url, vendor.patterns(), &config.limits);
            index.map(|index| index.entries.len()).map_err(|error| Failure::of(&error))
        }
        // No condition was sent.
        Answer::NotModified { .. } => Err(Failure::new(Reason::HttpStatus, "answered 304 without a condition")),
    }
}

/// How far the look is.
struct Stage {
    check: Check,
    since: Instant,
    index: Option<IndexFacts>,
    clock_offset: Option<i64>,
}

/// The run, watched.
struct Patient<'a> {
    network: &'a Network,
    notes: &'a Notes,
    progress: &'a dyn Progress,
    stage: Mutex<Stage>,
}

impl<'a> Patient<'a> {
    fn new(network: &'a Network, notes: &'a Notes, progress: &'a dyn Progress) -> Self {
        let stage = Stage { check: Check::Http, since: Instant::now(), index: None, clock_offset: None };
        Self { network, notes, progress, stage: Mutex::new(stage) }
    }

    fn into_stage(self) -> Stage {
        self.stage.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Patient<'_> {
    fn index_came(&self, content: &Content) {
        self.network.index_came(content);
        let mut stage = self.lock();
        (stage.check, stage.since, stage.clock_offset) = (Check::Index, Instant::now(), content.clock_offset);
        self.progress.index_came(content);
    }

    fn index_read(&self, index: &Index) {
        let facts = IndexFacts::of(index);
        let mut stage = self.lock();
        self.notes.note(facts.line().took(stage.since.elapsed()));
        (stage.check, stage.since, stage.index) = (Check::Archives, Instant::now(), Some(facts));
        self.progress.index_read(index);
    }

    fn file_started(&self, name: &FileName, length: Option<u64>) {
        self.progress.file_started(name, length);
    }

    fn received(&self, bytes: u64) {
        self.progress.received(bytes);
    }

    fn file_done(&self, name: &FileName) {
        self.progress.file_done(name);
    }
}

impl IndexFacts {
    fn of(index: &Index) -> Self {
        let version = |component: &Component| {
            let of = index.entries.iter().filter(|entry| entry.component == *component);
            of.filter_map(|entry| entry.version.clone()).next()
        };
        let row = |component: Component| Row { version: version(&component), component };
        Self {
            root: index.root.clone(),
            encoding: index.encoding,
            entries: index.entries.len(),
            hosts: index.hosts(),
            components: index.entries.iter().map(|entry| entry.component.to_string()).collect(),
            versions: Component::KNOWN.into_iter().map(row).collect(),
            unused: index.unused.len() + index.unused_left_out,
        }
    }

    fn line(&self) -> Line {
        let hosts: Vec<&str> = self.hosts.iter().map(String::as_str).collect();
        let seen = format!("{} files of {} components, from {}", self.entries, self.components.len(), hosts.join(", "));
        let rows = self.versions.iter().map(|row| row.text("not in the index"));
        let unused = (self.unused > 0).then(|| {
            let values = if self.unused == 1 { "value was" } else { "values were" };
            format!("{} {values} not used; feed-server inspect shows what", self.unused)
        });
        Line::new(Check::Index, Mark::Ok, seen).with(rows.chain(unused))
    }

    /// Takes over what the archives say; the rows of which only those know.
    fn learn(&mut self, feed: &CheckedFeed) -> Vec<String> {
        let mut learnt = Vec::new();
        for row in self.versions.iter_mut().filter(|row| row.version.is_none()) {
            let of = feed.components.iter().find(|component| component.component == row.component);
            row.version = of.map(|component| component.version.clone());
            if let Some(version) = &row.version {
                learnt.push(format!("{:<49} {version}", row.component.label().unwrap_or_default()));
            }
        }
        learnt
    }
}
