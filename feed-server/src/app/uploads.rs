//! Zips that somebody brought to the console: held and looked at, and imported when they say so. They are few, none is kept for
//! long, and none outlives the process: nothing is lost with one, since whoever brought it still has it.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bundles::bundle::{Bundle, Trust, is_bundle};
use bundles::inspection::{self, Here, Inspection, ZipFacts};
use bundles::release::ReleasedComponent;
use bundles::report::Failure;
use bundles::{Component, Digest, Reason, Version};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::imports::{Brought, Piece, is_for_this_role};
use super::runs::Wishes;
use super::{App, Role};
use crate::store::free_bytes;
use crate::store::imports::{BroughtBy, ImportKind};
use crate::sync::Known;
use crate::sync::checked::Staging;
use crate::sync::intake::{Intake, IntakeError, ReceivedZip};
use crate::sync::vendor_zip::Reading;

/// Zips that wait at once; one more, and the oldest goes. Each may be as large as `[bundles] max_upload`.
const MOST_WAITING: usize = 3;

/// Zips that come in at once: each takes room that nobody has counted yet.
const MOST_COMING: usize = 2;

/// How long one waits: somebody looks at it, asks somebody else, and comes back.
const KEPT_FOR: Duration = Duration::from_hours(1);

/// Room that is left free for the catalog and for metadata.
const SPARE_BYTES: u64 = 32 << 20;

/// How often room is looked at while a zip comes.
const LOOK_AFTER_BYTES: u64 = 16 << 20;

/// Read at once when a zip is handed over.
const PIECE: usize = 256 << 10;

/// Of a zip's beginning: enough to tell a bundle from others.
const START: usize = 512;

/// The folder in the data directory.
const FOLDER: &str = "uploads";

/// A zip that waits.
#[derive(Debug)]
pub struct Upload {
    /// By which it is asked for; nobody can guess it.
    pub id: String,
    /// The token's name of whoever brought it.
    pub by: String,
    /// The file's name, as it was given.
    pub name: Option<String>,
    /// When it came.
    pub at: Timestamp,
    /// What it looks like.
    pub kind: ImportKind,
    /// What was found out about it.
    pub found: Found,
    zip: ReceivedZip,
    since: Instant,
}

/// What was found out about a zip, before anything is changed.
#[derive(Debug)]
pub enum Found {
    /// Every check of a bundle, and what follows.
    Bundle(Box<Inspection>),
    /// What the vendor's zip holds, or what is wrong with it.
    VendorZip(Result<Vec<ReleasedComponent>, Failure>),
}

impl Upload {
    /// Of the whole file.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.zip.sha256()
    }

    /// In bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.zip.length()
    }

    /// Why it cannot be imported by a server of that role; `None` where nothing speaks against it.
    #[must_use]
    pub fn refusal(&self, role: Role) -> Option<Failure> {
        let wrong = match &self.found {
            Found::Bundle(inspection) => inspection.verdict.failure.clone(),
            Found::VendorZip(read) => read.as_ref().err().cloned(),
        };
        wrong.or_else(|| is_for_this_role(role, self.kind).err())
    }
}

/// Those that wait.
#[derive(Debug)]
pub struct Uploads {
    folder: PathBuf,
    coming: AtomicUsize,
    waiting: Mutex<Vec<Arc<Upload>>>,
}

impl Uploads {
    /// None. What a process that died left in the data directory goes.
    #[must_use]
    pub fn open(data_dir: &Path) -> Self {
        let folder = data_dir.join(FOLDER);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %folder.display(), %error, "what was uploaded before the start cannot be removed");
            }
            Ok(()) | Err(_) => {}
        }
        Self { folder, coming: AtomicUsize::new(0), waiting: Mutex::default() }
    }

    /// Those that wait, the newest first.
    #[must_use]
    pub fn waiting(&self) -> Vec<Arc<Upload>> {
        self.forget_old();
        self.lock().iter().rev().cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Upload>> {
        self.waiting().into_iter().find(|upload| upload.id == id)
    }

    /// Forgets one, and its file as soon as nobody reads it.
    pub fn forget(&self, id: &str) {
        self.lock().retain(|upload| upload.id != id);
    }

    /// Forgets those that waited for too long.
    pub fn forget_old(&self) {
        self.lock().retain(|upload| upload.since.elapsed() < KEPT_FOR);
    }

    fn put(&self, upload: Upload) -> Arc<Upload> {
        let upload = Arc::new(upload);
        let mut waiting = self.lock();
        waiting.push(Arc::clone(&upload));
        let beyond = waiting.len().saturating_sub(MOST_WAITING);
        waiting.drain(..beyond);
        upload
    }

    /// A place for one that comes, as long as the guard lives.
    fn begin(&self) -> Result<Coming<'_>, Failure> {
        let coming = Coming(&self.coming);
        if self.coming.fetch_add(1, Ordering::Relaxed) < MOST_COMING {
            return Ok(coming);
        }
        let message = format!("{MOST_COMING} zips are being uploaded already; wait for one of them, and try again");
        Err(Failure::new(Reason::Busy, message))
    }

    fn staging(&self) -> Result<Staging, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| Failure::of(&IntakeError::Staging(error)))?;
        Ok(Staging::new(self.folder.clone()))
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Upload>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Coming<'u>(&'u AtomicUsize);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl App {
    /// Takes a zip as it comes, and looks at it. Waits for its pieces, so it is for a thread that may block.
    ///
    /// # Errors
    /// It did not come whole, is no zip or too large, or there is no room for it; then nothing of it is kept.
    pub fn take_upload(
        &self,
        by: String,
        name: Option<String>,
        pieces: mpsc::Receiver<Piece>,
    ) -> Result<Arc<Upload>, Failure> {
        let _coming = self.uploads.begin()?;
        let staging = self.uploads.staging()?;
        let zip = self.receive(&staging, pieces).map_err(|error| Failure::of(&error))?;
        let kind = if begins_as_bundle(&zip) { ImportKind::Bundle } else { ImportKind::VendorZip };
        let found = match kind {
            ImportKind::Bundle => Found::Bundle(Box::new(self.inspect(&zip, name.as_deref())?)),
            ImportKind::VendorZip => Found::VendorZip(self.read_vendors(&zip, &staging)),
        };
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|error| super::internal(&error))?;
        let upload = Upload { id: hex::encode(id), by, name, at: self.now(), kind, found, zip, since: Instant::now() };
        Ok(self.uploads.put(upload))
    }

    fn receive(&self, staging: &Staging, mut pieces: mpsc::Receiver<Piece>) -> Result<ReceivedZip, IntakeError> {
        let mut intake = Intake::begin(staging, self.config.bundles.max_upload)?;
        let (mut received, mut looked) = (0, 0);
        loop {
            match pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => {
                    received += bytes.len() as u64;
                    if received >= looked {
                        looked = received + LOOK_AFTER_BYTES;
                        let needed = LOOK_AFTER_BYTES + SPARE_BYTES;
                        match free_bytes(self.store.directory()) {
                            Ok(free) if free < needed => return Err(IntakeError::NoRoom { needed, free }),
                            Ok(_) | Err(_) => {}
                        }
                    }
                    intake.take(&bytes)?;
                }
                Some(Piece::End) => return intake.end(None),
                Some(Piece::TooSlow) => return Err(IntakeError::TooSlow { received }),
                None => return Err(intake.cut_short(None)),
            }
        }
    }

    /// Every check that an import makes of a bundle.
    fn inspect(&self, zip: &ReceivedZip, name: Option<&str>) -> Result<Inspection, Failure> {
        let known = self.bundle_trust()?;
        let trust = Trust {
            root: &known.root,
            held: known.floors.held.as_ref(),
            highest_serial: known.floors.highest_serial,
            signed_time: known.floors.signed_time,
            now: self.now(),
        };
        let limits = &self.config.limits;
        let inspection = match Bundle::open(zip.file(), limits) {
            Ok(mut bundle) => inspection::inspect(&mut bundle, &trust, limits),
            Err(error) => Inspection::of_no_bundle(&error, &trust),
        };
        let newest = self.newest();
        let versions = newest.iter().flat_map(|manifest| &manifest.components);
        let versions: std::collections::BTreeMap<Component, Version> =
            versions.map(|held| (held.component.clone(), held.version.clone())).collect();
        let here = Here { what: self.role().to_string(), serial: newest.map(|manifest| manifest.serial), versions };
        let name = name.unwrap_or("posture-bundle.zip").to_owned();
        let facts = ZipFacts { name, length: zip.length(), sha256: zip.sha256() };
        Ok(inspection.with_zip(facts).with_here(here))
    }

    /// What the vendor's zip holds: all of it is read, and nothing is kept.
    fn read_vendors(&self, zip: &ReceivedZip, staging: &Staging) -> Result<Vec<ReleasedComponent>, Failure> {
        let blobs = Arc::clone(&self.store.blobs);
        let known = Known {
            validators: Vec::new(),
            blobs: Arc::new(move |digest: &Digest| blobs.contains(digest).unwrap_or(false)),
            newest: None,
        };
        let reading = Reading::new(&self.config, staging).map_err(|error| Failure::of(&error))?;
        reading.look(zip, &known).map_err(|error| Failure::of(&error))
    }

    /// Asks for the import of a zip that waits; it goes on whether or not anybody waits for it. The zip stays until it is
    /// imported.
    ///
    /// # Errors
    /// It is not for this server, or something else is going on.
    pub fn import_upload(
        self: &Arc<Self>,
        upload: &Arc<Upload>,
        by: String,
        from: Option<String>,
        wishes: Wishes,
    ) -> Result<u64, Failure> {
        if let Some(refusal) = upload.refusal(self.role()) {
            return Err(refusal);
        }
        let handing = self.import(Brought {
            by: BroughtBy::Token { name: by },
            kind: upload.kind,
            name: upload.name.clone(),
            length: Some(upload.length()),
            wishes,
            from,
        })?;
        let (reading, pieces) = (Arc::clone(upload), handing.pieces);
        tokio::task::spawn_blocking(move || hand_over(&reading, &pieces));
        let (app, id, answer) = (Arc::clone(self), upload.id.clone(), handing.answer);
        tokio::spawn(async move {
            if answer.await.is_ok_and(|record| record.failure().is_none()) {
                app.uploads.forget(&id);
            }
        });
        Ok(handing.id)
    }
}

fn begins_as_bundle(zip: &ReceivedZip) -> bool {
    let mut start = [0; START];
    let length = zip.file().read_at(&mut start, 0).unwrap_or(0);
    is_bundle(start.get(..length).unwrap_or_default())
}

/// Hands a zip over. Where it cannot be read on, the pieces end without an end, and the import fails for that.
fn hand_over(upload: &Upload, pieces: &mpsc::Sender<Piece>) {
    let mut offset = 0;
    loop {
        let mut piece = vec![0; PIECE];
        match upload.zip.file().read_at(&mut piece, offset) {
            Ok(0) => {
                // Nobody may want it any more.
                let _ = pieces.blocking_send(Piece::End);
                return;
            }
            Ok(length) => {
                piece.truncate(length);
                offset += length as u64;
                if pieces.blocking_send(Piece::Bytes(Bytes::from(piece))).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "an uploaded zip cannot be read again");
                return;
            }
        }
    }
}
