//! Imports: who brings a zip hands it over in pieces, and the runner does the rest, whether or not they wait for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bundles::report::Failure;
use bundles::{Reason, Reasoned as _};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::runs::Wishes;
use super::{App, Role};
use crate::store::StoreError;
use crate::store::imports::{BroughtBy, ImportKind, ImportRecord};

/// Pieces between whoever brings a zip and the disk: some hundred KiB each at most, which keeps both sides busy.
const PIECES: usize = 8;

/// What is said of a zip before its bytes come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Who brings it.
    pub by: BroughtBy,
    /// What it is said to be.
    pub kind: ImportKind,
    /// The file's name.
    pub name: Option<String>,
    /// Its bytes, where they are known.
    pub length: Option<u64>,
    /// What holds this once.
    pub wishes: Wishes,
    /// Where it comes from, for the audit trail.
    pub from: Option<String>,
}

/// A part of a zip. Where the pieces end without [`Piece::End`], it did not come whole.
#[derive(Debug)]
pub enum Piece {
    /// More of it.
    Bytes(Bytes),
    /// That was all of it.
    End,
    /// The rest came too slowly to be waited for.
    TooSlow,
}

/// An import that was asked for.
#[derive(Debug)]
pub struct Import {
    /// Its number.
    pub id: u64,
    /// What is said of the zip.
    pub brought: Brought,
    /// The zip.
    pub pieces: mpsc::Receiver<Piece>,
    /// Who waits for the end, where anybody does.
    pub answer: oneshot::Sender<ImportRecord>,
}

/// The other side of an [`Import`].
#[derive(Debug)]
pub struct Handing {
    /// Its number.
    pub id: u64,
    /// Takes the zip. Closed where no more of it is wanted.
    pub pieces: mpsc::Sender<Piece>,
    /// Tells the end.
    pub answer: oneshot::Receiver<ImportRecord>,
}

/// What an import is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportStep {
    /// The zip comes in.
    Receiving,
    /// Signatures and contents are checked.
    Checking,
    /// What is new is made visible.
    Publishing,
}

/// How far an import is.
#[derive(Debug)]
pub struct ImportProgress {
    /// Its number.
    pub id: u64,
    /// When it was asked for.
    pub started: Timestamp,
    /// What is said of the zip.
    pub brought: Brought,
    received: AtomicU64,
    step: Mutex<(ImportStep, u64, u64)>,
}

impl ImportProgress {
    fn new(id: u64, started: Timestamp, brought: Brought) -> Self {
        let total = brought.length.unwrap_or_default();
        let step = Mutex::new((ImportStep::Receiving, 0, total));
        Self { id, started, brought, received: AtomicU64::new(0), step }
    }

    /// A step begins that has `total` bytes to go through; 0 where that is not known.
    pub fn begin(&self, step: ImportStep, total: u64) {
        *self.lock() = (step, 0, total);
    }

    /// That many more bytes are done.
    pub fn add(&self, bytes: u64) {
        let mut step = self.lock();
        step.1 = step.1.saturating_add(bytes);
        if step.0 == ImportStep::Receiving {
            self.received.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes that came.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// What it is at, how many bytes of that are done, and how many there are.
    #[must_use]
    pub fn step(&self) -> (ImportStep, u64, u64) {
        *self.lock()
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> std::sync::MutexGuard<'_, (ImportStep, u64, u64)> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bundle is for a relay, the vendor's zip for an origin. What is for the other is not even received.
///
/// # Errors
/// It is for the other.
pub fn is_for_this_role(role: Role, kind: ImportKind) -> Result<(), Failure> {
    let why = match (role, kind) {
        (Role::Relay, ImportKind::Bundle) | (Role::Origin, ImportKind::VendorZip) => return Ok(()),
        (Role::Origin, ImportKind::Bundle) => {
            "this server makes releases itself (it is an origin) and takes none of another's; import the bundle on a relay, \
             and the vendor's own posture-offline.zip with --vendor"
        }
        (Role::Relay, ImportKind::VendorZip) => {
            "this server makes no releases (it is a relay); import the vendor's zip with --vendor on the origin, and carry \
             its bundle here"
        }
    };
    Err(Failure::new(Reason::BadRequest, why))
}

impl App {
    /// Asks for an import.
    ///
    /// # Errors
    /// An update run or another import is going on, or the store cannot be read.
    pub fn import(&self, brought: Brought) -> Result<Handing, Failure> {
        let (pieces, receiver) = mpsc::channel(PIECES);
        let (answer, answered) = oneshot::channel();
        let mut number = 0;
        let next = || {
            self.store.next_import_id().map_err(|error| {
                tracing::error!(error = error.whole_message(), "no import can begin");
                Failure::new(error.reason(), error.reason().sentence())
            })
        };
        self.runs.ask_import(next, |id| {
            number = id;
            let progress = Arc::new(ImportProgress::new(id, self.now(), brought.clone()));
            (progress, Import { id, brought, pieces: receiver, answer })
        })?;
        Ok(Handing { id: number, pieces, answer: answered })
    }

    /// The newest imports, newest first: the store's, and the last one of this process where the store could not take it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn recent_imports(&self, limit: usize) -> Result<Vec<ImportRecord>, StoreError> {
        let mut imports = self.store.imports(limit)?;
        if let Some(last) = self.runs.last_import() {
            match imports.iter().position(|import| import.id == last.id) {
                Some(kept) => imports[kept] = last,
                None if imports.first().is_none_or(|newest| newest.id < last.id) => imports.insert(0, last),
                None => {}
            }
        }
        imports.truncate(limit);
        Ok(imports)
    }

    /// One import.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn import_record(&self, id: u64) -> Result<Option<ImportRecord>, StoreError> {
        match self.runs.last_import() {
            Some(last) if last.id == id => Ok(Some(last)),
            Some(_) | None => self.store.import(id),
        }
    }
}
