//! The run: index, hosts, archives, versions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bundles::index::{Entry, Index};
use bundles::release::{FORMAT, FileRef, ReleasedComponent, Source, SourceKind};
use bundles::{Component, Digest, FileName, Limits, Manifest, Serial};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use url::Url;

use super::archive::{Fetched, fetch};
use super::checked::{CheckedFeed, CheckedFile, Staging, Validator};
use super::stage::Stop;
use super::versions::{self, FileVersion};
use super::{Known, Looked, Progress, SyncError, unchanged};
use crate::upstream::{Answer, Content, Vendor, shown};

/// Archives under way at once: one arrives while the other is opened. More would only hurry upstream.
const PARALLEL: usize = 2;

/// What the parts of one run share.
pub(super) struct Run<'a> {
    pub(super) vendor: &'a Vendor,
    pub(super) known: &'a Known,
    pub(super) staging: &'a Staging,
    pub(super) limits: &'a Limits,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: Stop,
    /// Whether the newest release was made of this very index.
    pub(super) index_is_known: bool,
    received: AtomicU64,
    /// `i64::MIN` where no answer had a date.
    clock_offset: AtomicI64,
}

impl Run<'_> {
    /// Counts bytes that came, against the limit for the whole run.
    pub(super) fn receive(&self, bytes: u64) -> Result<(), SyncError> {
        self.progress.received(bytes);
        let total = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.within(total)
    }

    /// Whether bytes that are announced would still be within it.
    pub(super) fn expect(&self, announced: Option<u64>) -> Result<(), SyncError> {
        self.within(self.received.load(Ordering::Relaxed).saturating_add(announced.unwrap_or(0)))
    }

    fn within(&self, total: u64) -> Result<(), SyncError> {
        let limit = self.limits.run_bytes;
        if total > limit { Err(SyncError::RunTooLarge { limit }) } else { Ok(()) }
    }

    pub(super) fn note_clock(&self, offset: Option<i64>) {
        if let Some(offset) = offset {
            self.clock_offset.store(offset, Ordering::Relaxed);
        }
    }

    fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn clock_offset(&self) -> Option<i64> {
        Some(self.clock_offset.load(Ordering::Relaxed)).filter(|offset| *offset != i64::MIN)
    }
}

/// Whoever stops waiting for a run stops the run, threads included.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// Looks at upstream once: everything that its index names, whole and checked, or nothing.
///
/// # Errors
/// The first thing that went wrong. Then nothing was kept, in staging or elsewhere.
pub async fn look(
    vendor: &Vendor,
    known: Known,
    staging: &Staging,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Looked, SyncError> {
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    let mut run = Run {
        vendor,
        known: &known,
        staging,
        limits,
        progress,
        stop,
        index_is_known: false,
        received: AtomicU64::new(0),
        clock_offset: AtomicI64::new(i64::MIN),
    };
    let Some(mut content) = changed_index(&run).await? else {
        tracing::info!("upstream says that nothing has changed");
        return Ok(Looked::Unchanged {
            received_bytes: run.received_bytes(),
            clock_offset: run.clock_offset(),
            validators: known.validators.clone(),
        });
    };
    let fetched = FetchedIndex::read(&run, &mut content).await?;
    run.index_is_known = is_of(known.newest.as_ref(), &fetched.file);
    progress.index_read(fetched.index.entries.len());
    for entry in &fetched.index.entries {
        vendor.hosts().allow(&entry.url)?;
    }
    let archives = fetch_all(&run, &fetched.index.entries).await?;
    fetched.into_looked(&run, archives)
}

fn is_of(newest: Option<&Manifest>, index: &FileRef) -> bool {
    newest.and_then(|newest| newest.index.as_ref()).is_some_and(|known| known.sha256 == index.sha256)
}

/// The index, unless upstream says that neither it nor any archive has changed.
async fn changed_index(run: &Run<'_>) -> Result<Option<Box<Content>>, SyncError> {
    let get = |condition| run.vendor.get(run.vendor.index_url(), condition, run.limits.index_bytes, "index_bytes");
    let known = unchanged::known_index(run);
    let mut answer = get(known.and_then(Validator::condition)).await?;
    if let Answer::NotModified { clock_offset } = answer {
        run.note_clock(clock_offset);
        if unchanged::archives_are(run).await? {
            return Ok(None);
        }
        answer = get(None).await?;
    }
    match answer {
        // Without a condition, the client takes 304 for an error.
        Answer::NotModified { .. } => Err(SyncError::Stopped),
        Answer::Content(content) => {
            run.note_clock(content.clock_offset);
            Ok(Some(content))
        }
    }
}

/// The index as it came, and what it says.
struct FetchedIndex {
    index: Index,
    file: FileRef,
    url: Url,
    validator: Validator,
    new_file: Option<CheckedFile>,
}

impl FetchedIndex {
    async fn read(run: &Run<'_>, content: &mut Content) -> Result<Self, SyncError> {
        let bytes = content.whole().await?;
        run.receive(bytes.len() as u64)?;
        // After redirects, relative locators are relative to where the index was found (RFC 3986, section 5.1.3).
        let (url, patterns, limits) = (content.url.clone(), run.vendor.patterns().clone(), run.limits.clone());
        let (base, staging) = (url.clone(), run.staging.clone());
        let is_known = Arc::clone(&run.known.blobs);
        let read = move || -> Result<(Index, FileRef, Option<CheckedFile>), SyncError> {
            let index = Index::read(&bytes, &base, &patterns, &limits);
            let index = index.map_err(|source| SyncError::Index { url: base.to_string(), source })?;
            let name = FileName::from_locator(base.path()).or_else(|_| FileName::parse("posture-update.xml"));
            let name = name.map_err(SyncError::Name)?;
            let file = FileRef { name, sha256: Digest::of(&bytes), length: bytes.len() as u64 };
            file.target_name().map_err(SyncError::Name)?;
            let new_file = if is_known(&file.sha256) {
                None
            } else {
                Some(CheckedFile::check(&staging, file.clone(), &mut bytes.as_slice()).map_err(SyncError::Staging)?)
            };
            Ok((index, file, new_file))
        };
        let (index, file, new_file) = tokio::task::spawn_blocking(read).await.map_err(SyncError::Task)??;
        tracing::info!(url = shown(&url), entries = index.entries.len(), bytes = file.length, "read the index");
        for unused in &index.unused {
            tracing::debug!(line = unused.line, kind = unused.kind.as_str(), value = unused.value, "not used");
        }
        let validator = Validator {
            url: run.vendor.index_url().to_string(),
            etag: content.etag.clone(),
            last_modified: content.last_modified.clone(),
            archive: file.clone(),
            payload: file.clone(),
            inner_version: None,
        };
        Ok(Self { index, file, url, validator, new_file })
    }

    fn into_looked(self, run: &Run<'_>, archives: HashMap<Url, Fetched>) -> Result<Looked, SyncError> {
        let components = components(&self.index.entries, &archives);
        let mut validators = vec![self.validator];
        let mut new_files: Vec<CheckedFile> = self.new_file.into_iter().collect();
        let mut seen = HashSet::new();
        // In the index's order, so that the same feed gives the same record.
        let mut archives = archives;
        for entry in &self.index.entries {
            if let Some(fetched) = archives.remove(&entry.url) {
                validators.push(fetched.validator);
                new_files.extend(fetched.new_files.into_iter().filter(|file| seen.insert(file.file().sha256)));
            }
        }
        let (received_bytes, clock_offset) = (run.received_bytes(), run.clock_offset());
        if new_files.is_empty() && is_content_of(run.known.newest.as_ref(), &components, &self.file) {
            return Ok(Looked::Unchanged { received_bytes, clock_offset, validators });
        }
        let url = Some(without_secrets(self.url).to_string());
        let source = Source { kind: SourceKind::VendorFeed, url, sha256: Some(self.file.sha256) };
        let index = Some(self.file);
        Ok(Looked::Feed(CheckedFeed { source, components, index, new_files, validators, received_bytes, clock_offset }))
    }
}

/// Fetches each URL once. Where one fails, the others are stopped and waited for, so that nothing is still being
/// written when the error is returned.
async fn fetch_all(run: &Run<'_>, entries: &[Entry]) -> Result<HashMap<Url, Fetched>, SyncError> {
    let mut once: Vec<&Entry> = Vec::new();
    let mut urls = HashSet::new();
    once.extend(entries.iter().filter(|entry| urls.insert(&entry.url)));
    let fetches = once.into_iter().map(|entry| {
        let fetched = async move {
            let fetched = fetch(run, entry).await;
            if fetched.is_err() {
                run.stop.now();
            }
            fetched.map(|fetched| (entry.url.clone(), fetched))
        };
        fetched.boxed()
    });
    let mut fetches = stream::iter(fetches.collect::<Vec<_>>()).buffered(PARALLEL);
    let mut archives = HashMap::new();
    let mut failed: Option<SyncError> = None;
    while let Some(fetched) = fetches.next().await {
        match fetched {
            Ok((url, fetched)) => {
                archives.insert(url, fetched);
            }
            // What was stopped because of another's error says nothing.
            Err(error) if failed.as_ref().is_none_or(|known| matches!(known, SyncError::Stopped)) => {
                failed = Some(error);
            }
            Err(_) => {}
        }
    }
    failed.map_or(Ok(archives), Err)
}

fn components(entries: &[Entry], archives: &HashMap<Url, Fetched>) -> Vec<ReleasedComponent> {
    let mut of_component: BTreeMap<&Component, Vec<(&Entry, &Fetched)>> = BTreeMap::new();
    for entry in entries {
        if let Some(fetched) = archives.get(&entry.url) {
            of_component.entry(&entry.component).or_default().push((entry, fetched));
        }
    }
    let released = |(component, files): (&Component, Vec<(&Entry, &Fetched)>)| {
        let versions: Vec<FileVersion<'_>> = files
            .iter()
            .map(|(entry, fetched)| FileVersion {
                index: entry.version.as_ref(),
                inner: fetched.inner_version.as_ref(),
                payload: fetched.file.payload.sha256,
            })
            .collect();
        ReleasedComponent {
            component: component.clone(),
            version: versions::of_component(component, &versions),
            files: files.iter().map(|(_, fetched)| fetched.file.clone()).collect(),
        }
    };
    of_component.into_iter().map(released).collect()
}

/// A URL as the manifest may tell everybody: redirects may have led to one with credentials or a signed query. What
/// relative locators are relative to stays.
fn without_secrets(mut url: Url) -> Url {
    // Neither can fail where there is a host, which https URLs have.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Whether a release of this content would hold the same as the newest one.
fn is_content_of(newest: Option<&Manifest>, components: &[ReleasedComponent], index: &FileRef) -> bool {
    newest.is_some_and(|newest| {
        newest.same_content(&Manifest {
            format: FORMAT,
            serial: Serial::FIRST,
            created: newest.created,
            source: newest.source.clone(),
            components: components.to_vec(),
            index: Some(index.clone()),
            offline_zip: newest.offline_zip.clone(),
        })
    })
}
