//! Making what is lacking. Killed anywhere, the next call goes on.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bundles::increment::{self, IncrementError, Unpacking};
use bundles::release::FileRef;
use bundles::{Digest, FileName, Reason, Reasoned};
use bytes::Bytes;

use super::table::{self, Body, Prepared, Variant};
use super::{history, plan};
use crate::config::Increments;
use crate::crash;
use crate::publish::{self, Published, Served};
use crate::store::{Coding, Form, MetadataHistory, Packed, Store, StoreError, VariantRecord, free_bytes};
use crate::sync::CheckedFile;

/// What is prepared saves its readers at least one byte in this many; less is not worth its place on the disk.
const SAVES_ONE_IN: usize = 10;

/// Room that preparing leaves on the disk: what runs, signatures and the catalog need comes first.
const LEFT_FREE: u64 = 8 << 20;

/// Prepares, and has what is prepared. One call at a time.
#[derive(Debug)]
pub struct Preparer {
    store: Store,
    settings: Increments,
    prepared: Arc<ArcSwap<Prepared>>,
}

/// What a call came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Forms that were made.
    pub made: usize,
    /// Forms that save too little.
    pub not_worth: usize,
    /// Forms that could not be made.
    pub failed: usize,
    /// Whether all of what was wanted was looked at.
    pub complete: bool,
}

impl Preparer {
    /// With what was prepared before and is served still.
    #[must_use]
    pub fn open(store: Store, settings: Increments, published: &Published) -> Self {
        let empty = Prepared::empty(settings, Arc::clone(&store.prepared));
        let preparer = Self { store, settings, prepared: Arc::new(ArcSwap::from_pointee(empty)) };
        if let Err(error) = preparer.load(published) {
            tracing::warn!(error = error.whole_message(), "what is prepared cannot be read; all is served as it is");
        }
        preparer
    }

    /// For the routes.
    #[must_use]
    pub fn prepared(&self) -> Arc<ArcSwap<Prepared>> {
        Arc::clone(&self.prepared)
    }

    /// Makes what is lacking for what is published, until `stop` says so. Takes long, and must not be called on a thread that
    /// answers anybody.
    ///
    /// # Errors
    /// The store cannot be read or written, or there is too little room. What was made until then is kept.
    pub fn prepare(&self, published: &Published, stop: impl Fn() -> bool) -> Result<Summary, PrepareError> {
        let history = self.remember(published)?;
        let known = self.load(published)?;
        self.clean(&known, &history)?;

        let releases = self.store.releases(usize::MAX)?.into_iter().map(|release| {
            let bytes = release.signed.unwrap_or_else(|| Digest::of(&release.manifest.to_json()));
            (release.manifest, bytes)
        });
        let wanted = plan(published, &releases.collect::<Vec<_>>(), &history, &self.settings);
        let mut reading = Reading { store: &self.store, served: by_digest(published), last: None };
        let mut summary = Summary::default();
        for form in wanted.into_iter().filter(|form| !known.contains(form)) {
            if stop() {
                return Ok(summary);
            }
            match self.make(&mut reading, form) {
                Ok(true) => summary.made += 1,
                Ok(false) => summary.not_worth += 1,
                Err(Trouble::Here(error)) => return Err(error),
                Err(Trouble::Content(message)) => {
                    tracing::warn!(content = %form.of, coding = form.coding.as_str(), error = message, "not prepared");
                    summary.failed += 1;
                }
            }
            std::thread::yield_now();
        }
        summary.complete = true;
        Ok(summary)
    }

    /// Keeps the metadata that is served, since a headend that fetches it now holds it when it is no longer.
    fn remember(&self, published: &Published) -> Result<MetadataHistory, PrepareError> {
        let mut kept = self.store.metadata_history()?;
        for versions in kept.values_mut() {
            versions.retain(|digest| self.store.prepared.contains(digest).unwrap_or(false));
        }
        let current = history::current(published);
        let Some(now) = history::with(&kept, &current) else { return Ok(kept) };
        self.has_room()?;
        for (name, served) in &current {
            if let publish::Body::Memory(bytes) = &served.body
                && kept.get(name).is_none_or(|kept| !kept.contains(&served.sha256))
            {
                self.keep(bytes)?;
            }
        }
        self.store.put_metadata_history(&now)?;
        Ok(now)
    }

    /// Reads what was prepared. Gives the forms that need no making: those that are there, and those not worth having. What
    /// is missing or damaged is as if it had never been made.
    fn load(&self, published: &Published) -> Result<HashSet<Form>, StoreError> {
        let records = self.store.variants()?;
        let served: HashSet<Digest> = published.served().map(|(_, served)| served.sha256).collect();
        let before = self.prepared.load();
        let mut table = Prepared::empty(self.settings, Arc::clone(&self.store.prepared));
        let mut known = HashSet::new();
        for VariantRecord { form, packed } in records {
            let offers_increments = self.settings.from_last > 0;
            if !served.contains(&form.of) || (matches!(form.coding, Coding::Dcz { .. }) && !offers_increments) {
                continue;
            }
            if let Some(packed) = packed {
                let kept = before.of(&form.of).iter().find(|kept| kept.coding == form.coding);
                let body = match kept {
                    Some(Variant { body: body @ Body::Memory(_), .. }) => Some(body.clone()),
                    Some(_) | None => self.body(&packed),
                };
                let Some(body) = body else { continue };
                let (sha256, length) = (packed.sha256, packed.length);
                table.add(form.of, Variant { coding: form.coding, sha256, length, body });
            }
            known.insert(form);
        }
        self.prepared.store(Arc::new(table));
        Ok(known)
    }

    fn body(&self, packed: &Packed) -> Option<Body> {
        let mut file = self.store.prepared.open(&packed.sha256).ok()?;
        if file.metadata().ok()?.len() != packed.length {
            return None;
        }
        if packed.length > table::IN_MEMORY {
            return Some(Body::Stored);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        (Digest::of(&bytes) == packed.sha256).then(|| Body::Memory(Bytes::from(bytes)))
    }

    /// Forgets the forms of what is no longer served, then the bytes that nothing names.
    fn clean(&self, known: &HashSet<Form>, history: &MetadataHistory) -> Result<(), StoreError> {
        let (kept, gone): (Vec<VariantRecord>, Vec<VariantRecord>) =
            self.store.variants()?.into_iter().partition(|record| known.contains(&record.form));
        self.store.forget_variants(&gone.iter().map(|record| record.form).collect::<Vec<_>>())?;
        crash::point("prepare.forgotten");
        let mut named: HashSet<Digest> = history.values().flatten().copied().collect();
        named.extend(kept.iter().filter_map(|record| record.packed).map(|packed| packed.sha256));
        for digest in self.store.prepared.list()?.iter().filter(|digest| !named.contains(digest)) {
            self.store.prepared.remove(digest)?;
        }
        Ok(())
    }

    /// Whether it was worth making.
    fn make(&self, reading: &mut Reading<'_>, form: Form) -> Result<bool, Trouble> {
        self.has_room()?;
        let content = reading.content(&form.of)?;
        let bytes = match form.coding {
            Coding::Dcz { base } => {
                let base = reading.content(&base)?;
                let bytes = increment::increment(&base, &content)?;
                check(Unpacking::increment(&base, content.len() as u64, Vec::new())?, &bytes, &content)?;
                bytes
            }
            Coding::Zstd => {
                let bytes = increment::zstd(&content)?;
                check(Unpacking::zstd(content.len() as u64, Vec::new())?, &bytes, &content)?;
                bytes
            }
            Coding::Gzip => increment::gzip(&content)?,
        };
        let is_worth = bytes.len() <= content.len() - content.len() / SAVES_ONE_IN;
        let packed = if is_worth { Some(self.keep(&bytes)?) } else { None };
        crash::point("prepare.packed");
        self.store.put_variant(&VariantRecord { form, packed })?;
        crash::point("prepare.kept");
        if let Some(Packed { sha256, length }) = packed {
            let body = if length > table::IN_MEMORY { Body::Stored } else { Body::Memory(bytes.into()) };
            let mut table = Prepared::clone(&self.prepared.load());
            table.add(form.of, Variant { coding: form.coding, sha256, length, body });
            self.prepared.store(Arc::new(table));
        }
        Ok(is_worth)
    }

    fn keep(&self, bytes: &[u8]) -> Result<Packed, PrepareError> {
        let packed = Packed { sha256: Digest::of(bytes), length: bytes.len() as u64 };
        // Only for messages.
        let name = FileName::parse("prepared").map_err(|error| StoreError::Io {
            act: "name",
            path: "prepared".into(),
            source: io::Error::other(error),
        })?;
        let file = FileRef { name, sha256: packed.sha256, length: packed.length };
        let staged = CheckedFile::check(&self.store.prepared_staging(), file, &mut &*bytes);
        let staged = staged.map_err(|source| StoreError::Io { act: "write", path: "prepared".into(), source })?;
        self.store.prepared.adopt(staged)?;
        Ok(packed)
    }

    fn has_room(&self) -> Result<(), PrepareError> {
        let directory = self.store.directory();
        let failed = |source| StoreError::Io { act: "measure", path: directory.to_owned(), source };
        let free = free_bytes(directory).map_err(failed)?;
        if free < LEFT_FREE { Err(PrepareError::Room { free }) } else { Ok(()) }
    }
}

/// What was packed is opened once more before anybody else has to.
fn check(mut unpacking: Unpacking<'_, Vec<u8>>, packed: &[u8], content: &[u8]) -> Result<(), Trouble> {
    unpacking.push(packed)?;
    if unpacking.finish()? == content {
        Ok(())
    } else {
        Err(Trouble::Content("what was packed opens to other content; report it as a defect".to_owned()))
    }
}

fn by_digest(published: &Published) -> HashMap<Digest, Arc<Served>> {
    published.served().map(|(_, served)| (served.sha256, Arc::clone(served))).collect()
}

/// Content by digest, of what is served and of what was.
struct Reading<'s> {
    store: &'s Store,
    served: HashMap<Digest, Arc<Served>>,
    /// The last content that was asked for first is mostly asked for again.
    last: Option<(Digest, Bytes)>,
}

impl Reading<'_> {
    fn content(&mut self, digest: &Digest) -> Result<Bytes, Trouble> {
        if let Some((last, bytes)) = &self.last
            && last == digest
        {
            return Ok(bytes.clone());
        }
        let bytes = self.read(digest).map_err(|error| Trouble::Content(format!("{digest} cannot be read: {error}")))?;
        if Digest::of(&bytes) != *digest {
            return Err(Trouble::Content(format!("{digest} has other bytes; check the disk")));
        }
        self.last = Some((*digest, bytes.clone()));
        Ok(bytes)
    }

    fn read(&self, digest: &Digest) -> io::Result<Bytes> {
        let served = self.served.get(digest);
        let mut file = match served.map(|served| &served.body) {
            Some(publish::Body::Memory(bytes)) => return Ok(bytes.clone()),
            Some(publish::Body::File(path)) => File::open(path)?,
            None => self.store.prepared.open(digest).map_err(io::Error::other)?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Why a form was not made.
enum Trouble {
    /// The next one will fare no better.
    Here(PrepareError),
    /// It is this content's.
    Content(String),
}

impl From<PrepareError> for Trouble {
    fn from(error: PrepareError) -> Self {
        Self::Here(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Here(error.into())
    }
}

impl From<IncrementError> for Trouble {
    fn from(error: IncrementError) -> Self {
        Self::Content(error.whole_message())
    }
}

/// Why preparing ended early.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The rest of the disk is left to what is needed.
    #[error(
        "the disk has {free} bytes free, and {LEFT_FREE} are left to runs; everything is served as it is until there is room"
    )]
    Room {
        /// Bytes.
        free: u64,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reasoned for PrepareError {
    fn reason(&self) -> Reason {
        match self {
            Self::Room { .. } => Reason::Storage,
            Self::Store(source) => source.reason(),
        }
    }
}
