//! The run: index, hosts, archives, versions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bundles::index::{Entry, Index};
use bundles::release::{FORMAT, FileRef, ReleasedComponent, Source, SourceKind};
use bundles::{Component, Digest, FileName, Limits, Manifest, Serial, Version};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use url::Url;

use super::archive::{Fetched, fetch};
use super::checked::{CheckedFeed, CheckedFile, Staging, Validator};
use super::error::{WEIGHS_NOTHING, weight_of};
use super::offline_zip::{self, FetchedZip};
use super::stage::Stop;
use super::versions::{self, FileVersion};
use super::{Known, Looked, Progress, SyncError, unchanged};
use crate::upstream::{Answer, Condition, Content, Vendor, shown};

/// Archives under way at once: one arrives while the other is opened. More would only hurry upstream.
pub(super) const PARALLEL: usize = 2;

/// What to tell of an index whose dialect is unknown, in the log and wherever else warnings are shown.
pub const UNKNOWN_DIALECT: &str = "the index is of a dialect that is not known: archives were found by their locators alone, and \
    versions by what is in them or by digest; run `feed-server inspect` on it, and see docs/first-contact.md";

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

impl<'a> Run<'a> {
    /// One that has not begun.
    pub(super) fn new(
        vendor: &'a Vendor,
        known: &'a Known,
        staging: &'a Staging,
        limits: &'a Limits,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            vendor,
            known,
            staging,
            limits,
            progress,
            stop: Stop::default(),
            index_is_known: false,
            received: AtomicU64::new(0),
            clock_offset: AtomicI64::new(i64::MIN),
        }
    }

    /// To be held while somebody waits for the run: then dropping it stops the run, threads included.
    pub(super) fn while_waited_for(&self) -> StopOnDrop {
        StopOnDrop(self.stop.clone())
    }

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
pub(super) struct StopOnDrop(pub(super) Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// Looks at upstream once: everything that its index names, and the vendor's own zip where it is to be fetched, whole and
/// checked; or nothing.
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
    let mut run = Run::new(vendor, &known, staging, limits, progress);
    let _waited_for = run.while_waited_for();
    let mut zip = None;
    let mut content = match changed_index(&run).await? {
        Some(content) => content,
        None => {
            zip = offline_zip::fetch(&run).await?;
            if zip.as_ref().is_none_or(|zip| zip.is_of(known.newest.as_ref())) {
                tracing::info!("upstream says that nothing has changed");
                return Ok(Looked::Unchanged {
                    received_bytes: run.received_bytes(),
                    clock_offset: run.clock_offset(),
                    reading: None,
                    validators: offline_zip::among(known.validators.clone(), zip),
                });
            }
            // The zip alone is another one, and its release holds the index too.
            whole_index(&run).await?
        }
    };
    let fetched = FetchedIndex::read(&run, &mut content).await?;
    run.index_is_known = is_of(known.newest.as_ref(), &fetched.file);
    progress.index_read(&fetched.index);
    for entry in &fetched.index.entries {
        vendor.hosts().allow(&entry.url)?;
    }
    let archives = fetch_all(&run, &fetched.index.entries).await?;
    if zip.is_none() {
        zip = offline_zip::fetch(&run).await?;
    }
    fetched.into_looked(&run, archives, zip)
}

fn is_of(newest: Option<&Manifest>, index: &FileRef) -> bool {
    newest.and_then(|newest| newest.index.as_ref()).is_some_and(|known| known.sha256 == index.sha256)
}

/// The index, unless upstream says that neither it nor any archive has changed.
async fn changed_index(run: &Run<'_>) -> Result<Option<Box<Content>>, SyncError> {
    let condition = unchanged::known_index(run).and_then(Validator::condition);
    match index(run, condition).await? {
        Answer::NotModified { clock_offset } => {
            run.note_clock(clock_offset);
            if unchanged::archives_are(run).await? { Ok(None) } else { whole_index(run).await.map(Some) }
        }
        Answer::Content(content) => Ok(Some(came(run, content))),
    }
}

/// The index, whether or not it has changed.
async fn whole_index(run: &Run<'_>) -> Result<Box<Content>, SyncError> {
    match index(run, None).await? {
        // Without a condition, the client takes 304 for an error.
        Answer::NotModified { .. } => Err(SyncError::Stopped),
        Answer::Content(content) => Ok(came(run, content)),
    }
}

async fn index(run: &Run<'_>, condition: Option<Condition<'_>>) -> Result<Answer, SyncError> {
    Ok(run.vendor.get(run.vendor.index_url(), condition, run.limits.index_bytes, "index_bytes").await?)
}

fn came(run: &Run<'_>, content: Box<Content>) -> Box<Content> {
    run.note_clock(content.clock_offset);
    run.progress.index_came(&content);
    content
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
            let index = index.map_err(|source| SyncError::Index { url: shown(&base), source })?;
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
        if index.reading.is_unknown_dialect() {
            // Whoever composes runs warns of it once, rather than at each.
            tracing::info!(url = shown(&url), reading = index.reading.as_str(), root = index.root, "{UNKNOWN_DIALECT}");
        }
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

    fn into_looked(
        self,
        run: &Run<'_>,
        mut archives: HashMap<Url, Fetched>,
        zip: Option<FetchedZip>,
    ) -> Result<Looked, SyncError> {
        let parts = self.index.entries.iter().filter_map(|entry| Some(Part::of(entry, archives.get(&entry.url)?)));
        let components = components(parts);
        let mut validators = vec![self.validator];
        let mut new_files: Vec<CheckedFile> = self.new_file.into_iter().collect();
        let mut seen = HashSet::new();
        // In the index's order, so that the same feed gives the same record.
        for entry in &self.index.entries {
            if let Some(fetched) = archives.remove(&entry.url) {
                validators.extend(fetched.validator);
                new_files.extend(fetched.new_files.into_iter().filter(|file| seen.insert(file.file().sha256)));
            }
        }
        let mut offline_zip = None;
        if let Some(zip) = zip {
            offline_zip = Some(zip.file);
            validators.push(zip.validator);
            new_files.extend(zip.new_file);
        }
        let (received_bytes, clock_offset, reading) =
            (run.received_bytes(), run.clock_offset(), Some(self.index.reading));
        let newest = run.known.newest.as_ref();
        if new_files.is_empty() && is_content_of(newest, &components, &self.file, offline_zip.as_ref()) {
            return Ok(Looked::Unchanged { received_bytes, clock_offset, reading, validators });
        }
        let url = Some(without_secrets(self.url).to_string());
        // Who vouches for it, whoever made the connections can say.
        let source = Source { kind: SourceKind::VendorFeed, url, sha256: Some(self.file.sha256), vouched_by: None };
        let index = Some(self.file);
        let feed = CheckedFeed {
            source,
            components,
            index,
            offline_zip,
            reading,
            new_files,
            validators,
            received_bytes,
            clock_offset,
        };
        Ok(Looked::Feed(Box::new(feed)))
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
            Err(error) if failed.as_ref().is_none_or(|known| weight(known) < weight(&error)) => failed = Some(error),
            Err(_) => {}
        }
    }
    failed.map_or(Ok(archives), Err)
}

fn weight(error: &SyncError) -> u8 {
    match error {
        SyncError::Stopped => WEIGHS_NOTHING,
        SyncError::Upstream(_)
        | SyncError::Index { .. }
        | SyncError::Html { .. }
        | SyncError::Size { .. }
        | SyncError::Checksum { .. }
        | SyncError::RunTooLarge { .. }
        | SyncError::Archive { .. }
        | SyncError::OfflineZip { .. }
        | SyncError::Zip(_)
        | SyncError::ZipTooLarge { .. }
        | SyncError::NotInZip { .. }
        | SyncError::TwiceInZip { .. }
        | SyncError::NoFeedInZip
        | SyncError::Name(_)
        | SyncError::Staging(_)
        | SyncError::Task(_) => weight_of(error.upstream()),
    }
}

/// An archive that is here, and what it is of.
pub(super) struct Part<'a> {
    pub(super) component: &'a Component,
    /// Where the index gives one.
    pub(super) version: Option<&'a Version>,
    pub(super) fetched: &'a Fetched,
}

impl<'a> Part<'a> {
    pub(super) fn of(entry: &'a Entry, fetched: &'a Fetched) -> Self {
        Self { component: &entry.component, version: entry.version.as_ref(), fetched }
    }
}

/// The components that archives make up, each with its version.
pub(super) fn components<'a>(parts: impl IntoIterator<Item = Part<'a>>) -> Vec<ReleasedComponent> {
    let mut of_component: BTreeMap<&Component, Vec<Part<'_>>> = BTreeMap::new();
    for part in parts {
        of_component.entry(part.component).or_default().push(part);
    }
    let released = |(component, parts): (&Component, Vec<Part<'_>>)| {
        let versions: Vec<FileVersion<'_>> = parts
            .iter()
            .map(|part| FileVersion {
                index: part.version,
                inner: part.fetched.inner_version.as_ref(),
                payload: Some(part.fetched.file.payload.sha256),
            })
            .collect();
        // Every archive is here, so there is a version.
        let (version, _) = versions::of_component(component, &versions)?;
        let files = parts.iter().map(|part| part.fetched.file.clone()).collect();
        Some(ReleasedComponent { component: component.clone(), version, files })
    };
    of_component.into_iter().filter_map(released).collect()
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
fn is_content_of(
    newest: Option<&Manifest>,
    components: &[ReleasedComponent],
    index: &FileRef,
    offline_zip: Option<&FileRef>,
) -> bool {
    newest.is_some_and(|newest| {
        newest.same_content(&Manifest {
            format: FORMAT,
            serial: Serial::FIRST,
            created: newest.created,
            source: newest.source.clone(),
            components: components.to_vec(),
            index: Some(index.clone()),
            // Where none is fetched, nothing is said of one that is carried.
            offline_zip: offline_zip.or(newest.offline_zip.as_ref()).cloned(),
        })
    })
}
