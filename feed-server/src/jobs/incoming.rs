//! The watched folder of a relay: zips that are put there are imported and removed, bad ones are moved to quarantine.
//!
//! A look is taken at every tick. A file is taken once it has stopped changing and is whole; see `folder` for what that
//! means, and `watch` for when.

mod folder;
mod quarantine;
mod watch;

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use bundles::report::Failure;
use bundles::{Digest, Reason};
use bytes::Bytes;
use jiff::SignedDuration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::imports::{Brought, Piece};
use crate::app::runs::Wishes;
use crate::app::{App, if_readable, internal};
use crate::clock;
use crate::crash;
use crate::store::imports::{BroughtBy, ImportKind, ImportRecord};
use folder::{Folder, Whole};
use watch::{Found, Watch};

/// How long a file must not have changed: a copy over a slow link pauses for a second or two.
const QUIET: Duration = Duration::from_secs(5);

/// After this a copy that stopped before its end will not go on, and people want to know.
const ABANDONED: Duration = Duration::from_mins(10);

/// How long a file that could not be imported for want of room, or because the server stopped, is left alone at first.
const FIRST_WAIT: Duration = Duration::from_mins(1);

/// Read at once.
const PIECE: usize = 256 << 10;

/// Imports what is put into the watched folder, until `stop`.
pub async fn keep(app: Arc<App>, stop: CancellationToken) {
    let folder = Folder::new(app.config.watched_folder());
    let path = folder.path().display().to_string();
    if let Err(error) = std::fs::create_dir_all(folder.path()) {
        tracing::warn!(folder = path, %error, "the watched folder cannot be made; it is looked for all the same");
    }
    let mut watch = Watch::default();
    let mut is_readable = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.runs.ticked() => {}
        }
        let looking = folder.clone();
        let found = match blocking(move || looking.look()).await {
            Ok(found) => {
                is_readable = true;
                found
            }
            Err(error) => {
                // A stick that is not plugged in. Said once, not every second.
                if std::mem::replace(&mut is_readable, false) {
                    tracing::warn!(folder = path, %error, "the watched folder cannot be looked into");
                }
                Vec::new()
            }
        };
        for (file, still) in watch.look(&found, patience(QUIET), app.now()) {
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = take(&app, &folder, &file, still) => done,
            };
            match done {
                // Gone, or looked at again at the next tick.
                Done::NothingMore | Done::NotYet => {}
                Done::Again => watch.again(&file.name, patience(FIRST_WAIT), app.now()),
                Done::Stays => watch.done(&file.name),
            }
        }
    }
}

fn patience(wait: Duration) -> SignedDuration {
    SignedDuration::try_from(clock::patience(wait)).unwrap_or(SignedDuration::MAX)
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It is gone from the folder.
    NothingMore,
    /// It is not ready, or something else is going on.
    NotYet,
    /// It could not be imported now.
    Again,
    /// It cannot be taken out of the folder.
    Stays,
}

async fn take(app: &Arc<App>, folder: &Folder, file: &Found, still: SignedDuration) -> Done {
    let name = file.name.to_string_lossy().into_owned();
    // It waits where it is: what is refused goes to quarantine.
    let holding = Arc::clone(app);
    if blocking(move || Ok(holding.holding().hold.is_some())).await.unwrap_or_default() {
        return Done::NotYet;
    }
    let (looking, found) = (folder.clone(), file.clone());
    match blocking(move || looking.whole(&found)).await {
        Ok(Whole::Yes) => {}
        // What is wrong with it, the import says.
        Ok(Whole::NotYet) if still >= patience(ABANDONED) => {}
        Ok(Whole::NotYet) => return Done::NotYet,
        Ok(Whole::Differs { found, expected }) => {
            let message = format!(
                "the file has SHA-256 {found}, and the .sha256 beside it says {expected}; it is damaged, or another one: \
                 copy both again"
            );
            return bad(app, folder, file, Failure::new(Reason::DigestMismatch, message), Some(found)).await;
        }
        Err(error) => return unread(&name, &error),
    }
    // Where it cannot be removed, it is there again after every start.
    if !folder.is_writable() {
        match is_known(app, folder, file).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(name, "a zip in the watched folder, which cannot be written, was imported before");
                return Done::Stays;
            }
            Err(error) => return unread(&name, &error),
        }
    }
    let record = match import(app, folder, file, &name).await {
        Ok(Some(record)) => record,
        Ok(None) => return Done::NotYet,
        Err(error) => return unread(&name, &error),
    };
    crash::point("incoming.recorded");
    match record.failure() {
        None => {
            let (removing, found) = (folder.clone(), file.clone());
            match blocking(move || removing.remove(&found)).await {
                Ok(()) => Done::NothingMore,
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Done::NotYet,
                Err(error) => {
                    tracing::warn!(name, %error, "an imported zip stays in the watched folder");
                    Done::Stays
                }
            }
        }
        Some(failure) if folder::worth_another_try(failure.reason) => Done::Again,
        Some(failure) => bad(app, folder, file, failure.clone(), record.sha256).await,
    }
}

fn unread(name: &str, error: &io::Error) -> Done {
    match error.kind() {
        io::ErrorKind::ResourceBusy | io::ErrorKind::NotFound => Done::NotYet,
        _ => {
            tracing::warn!(name, %error, "a zip in the watched folder cannot be taken; it is tried again");
            Done::Again
        }
    }
}

/// Whether a file of this content was imported before.
async fn is_known(app: &Arc<App>, folder: &Folder, file: &Found) -> io::Result<bool> {
    let (app, folder, file) = (Arc::clone(app), folder.clone(), file.clone());
    let known = move || -> io::Result<bool> {
        let (sha256, _) = Digest::of_reader(&mut folder.open(&file)?)?;
        let imports = if_readable(app.store.imports(usize::MAX));
        let was_taken = |import: &ImportRecord| import.outcome.is_some() && import.failure().is_none();
        Ok(imports.iter().any(|import| import.sha256 == Some(sha256) && was_taken(import)))
    };
    blocking(known).await
}

/// What came of importing it; `None` where something else is going on, or the file is no longer what it was.
async fn import(app: &Arc<App>, folder: &Folder, file: &Found, name: &str) -> io::Result<Option<ImportRecord>> {
    let brought = Brought {
        by: BroughtBy::WatchedFolder,
        kind: ImportKind::Bundle,
        name: Some(name.chars().filter(|c| !c.is_control()).collect()),
        length: Some(file.identity.length),
        wishes: Wishes::default(),
        from: Some("watched folder".to_owned()),
    };
    // Before the import begins: a file that cannot be opened is none.
    let (opening, found) = (folder.clone(), file.clone());
    let opened = blocking(move || opening.open(&found)).await?;
    let asking = Arc::clone(app);
    let asked = tokio::task::spawn_blocking(move || asking.import(brought)).await.map_err(io::Error::other)?;
    let handing = match asked {
        Ok(handing) => handing,
        Err(failure) if failure.reason == Reason::Busy => return Ok(None),
        // Not at every look: it is logged each time.
        Err(failure) => return Err(io::Error::other(failure.message)),
    };
    let found = file.clone();
    let read = blocking(move || hand_over(opened, &found, &handing.pieces)).await;
    let record = handing.answer.await.ok();
    // An error of the medium, and not what the import makes of its silence.
    read.map(|()| record)
}

fn hand_over(mut opened: std::fs::File, found: &Found, pieces: &mpsc::Sender<Piece>) -> io::Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        if (&mut opened).take(PIECE as u64).read_to_end(&mut piece)? == 0 {
            break;
        }
        if pieces.blocking_send(Piece::Bytes(Bytes::from(piece))).is_err() {
            // The import has ended, and says itself why.
            return Ok(());
        }
    }
    if !folder::is_still(&opened, found)? {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the file changed while it was read"));
    }
    let _ = pieces.blocking_send(Piece::End);
    Ok(())
}

async fn bad(app: &App, folder: &Folder, file: &Found, failure: Failure, sha256: Option<Digest>) -> Done {
    let name = file.name.to_string_lossy().into_owned();
    let (moving, found, now) = (folder.clone(), file.clone(), app.now());
    let reason = failure.reason.as_str();
    match blocking(move || moving.quarantine(&found, &failure, sha256, now)).await {
        Ok(place) => {
            tracing::warn!(name, reason, ?place, "a bad zip was moved out of the watched folder");
            tidy_quarantine(app, folder).await;
            Done::NothingMore
        }
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Done::NotYet,
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!(name, reason, %error, "there is no room to move a bad zip out of the watched folder; it is tried again");
            Done::Again
        }
        Err(error) => {
            tracing::warn!(name, reason, %error, "a bad zip stays in the watched folder, which cannot be written");
            Done::Stays
        }
    }
}

/// Whoever may write to the folder must not fill the disk with what is refused.
async fn tidy_quarantine(app: &App, folder: &Folder) {
    let (tidying, max_bytes) = (folder.clone(), app.config.bundles.max_upload);
    match blocking(move || tidying.tidy_quarantine(max_bytes)).await {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "the oldest bad zips were removed from quarantine"),
        Err(error) => tracing::warn!(%error, "quarantine cannot be tidied; the next bad zip tries again"),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| io::Error::other(internal(&error)))?
}
