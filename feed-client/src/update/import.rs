//! An attempt to be up to date without a server: from a bundle that somebody carried here. It is the same attempt, with
//! another supplier; what is different is how it is noted.
//!
//! An import neither ends nor begins a series of failed polls, since it says nothing about the way to the server. It has
//! notes of its own (`last_import`, `last_import_success`, `import_total`), and the server is told only of what runs now.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bundles::bundle::Trust;
use bundles::inspection::ZipFacts;
use bundles::report::Failure;
use bundles::signed::RootFacts;
use bundles::{Limits, Manifest, Reasoned as _, Serial};
use jiff::Timestamp;

use super::attempt::Attempt;
use super::supplier::Supplier;
use super::{Outcome, Trigger, UpdateError, Updater};
use crate::apply::{self, stage};
use crate::carried::{self, Carried};
use crate::crash;
use crate::progress::Progress;
use crate::repository::Side;
use crate::state::{LastImport, State};

/// What an import came to.
#[derive(Debug)]
pub struct Imported {
    /// How it ended.
    pub outcome: Outcome,
    /// When it was begun.
    pub at: Timestamp,
    /// The release that the bundle holds.
    pub manifest: Manifest,
    /// The release that ran before; the same one where it ran already.
    pub previous: Option<Serial>,
    /// The bundle.
    pub bundle: ZipFacts,
    /// The root that vouches for it.
    pub root: RootFacts,
}

impl Updater<'_> {
    /// Brings the headend to the release that a bundle holds; one that is held back is tried again, as by an operator's
    /// update.
    ///
    /// # Errors
    /// Why it does not run here. What ran before still runs.
    pub async fn import(&self, path: &Path) -> Result<Imported, UpdateError> {
        let mut attempt = self.begin(Trigger::Operator).await?;
        let began = Instant::now();
        let at = self.edge.now();
        tracing::info!(bundle = %path.display(), "Starting import");
        let result = attempt.import(path, at).await;
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(imported) => {
                let (result, serial) = (imported.outcome.result(), imported.outcome.serial().get());
                tracing::info!(result, duration_ms, serial, sha256 = %imported.bundle.sha256, "Completed import");
            }
            Err(error) => {
                let reason = error.reason().as_str();
                tracing::error!(reason, duration_ms, "Import failed: {}", error.whole_message());
                if let Err(error) = stage::clear(&self.settings.paths) {
                    tracing::warn!("an unfinished release stays until the next attempt: {}", error.whole_message());
                }
            }
        }
        let ended = self.end_import(&mut attempt.state, path, at, &result).await;
        // The import's own failure says more than the failure to take note of it.
        let imported = result?;
        ended?;
        Ok(imported)
    }

    async fn end_import(
        &self,
        state: &mut State,
        path: &Path,
        at: Timestamp,
        result: &Result<Imported, UpdateError>,
    ) -> Result<(), UpdateError> {
        state.running_since = None;
        let (word, serial, failure) = match result {
            Ok(imported) => {
                state.last_import_success = Some(at);
                if let Outcome::Applied { .. } = imported.outcome {
                    state.last_transfer = None;
                }
                (imported.outcome.result(), Some(imported.outcome.serial()), None)
            }
            Err(error) => (error.reason().as_str(), None, Some(Failure::of(error))),
        };
        state.count_import(word);
        state.last_import = Some(LastImport { at, file: carried::name_of(path), serial, failure });
        let saved = state.save(&self.settings.paths);
        crash::point("client.import.noted");
        if result.is_ok() {
            self.tell(state).await;
        } else {
            // Nothing that the server knows has changed.
            self.write_metrics(state, apply::running(&self.settings.paths).ok().flatten().as_ref());
        }
        Ok(saved?)
    }
}

impl Attempt<'_> {
    /// From a bundle to a release that runs.
    async fn import(&mut self, path: &Path, now: Timestamp) -> Result<Imported, UpdateError> {
        let paths = &self.settings.paths;
        self.heal().await?;
        crash::point("client.import.begun");
        let root = self.settings.import_root()?;
        self.look_at_clock(now);
        let store = self.store(Side::Offline);
        self.look_for_damage(Side::Offline, &store, &root, now)?;
        let (highest_serial, signed_time) = (self.state.highest_serial, self.state.newest_signed);
        let (path, progress, held) = (path.to_owned(), self.progress_of(path), store.held()?);
        let looked_at = store.clone();
        let opened = self.off_the_loop(move || {
            let mut carried = Carried::open(&path, &Limits::default(), &progress)?;
            progress.finish();
            let trust = Trust { root: &root, held: held.as_ref(), highest_serial, signed_time, now };
            let checked = carried.check(&trust)?;
            looked_at.check_newest_root(&root, checked.verified.root().version)?;
            Ok::<_, UpdateError>((carried, checked))
        });
        let (carried, checked) = opened.await??;
        crash::point("client.import.checked");
        let root = *checked.verified.root();
        let previous = apply::current(paths)?;
        let bundle = carried.zip().clone();
        let carried = Arc::new(Mutex::new(carried));
        let metadata = (store, checked.metadata);
        let supplier = Supplier::Bundle { carried, zip: bundle.clone(), verified: checked.verified, metadata };
        let outcome = self.follow(&checked.manifest, &supplier, Trigger::Operator, now).await?;
        Ok(Imported { outcome, at: now, manifest: checked.manifest.manifest().clone(), previous, bundle, root })
    }

    /// Of the first reading, which finds out whether the medium can be read at all.
    fn progress_of(&self, path: &Path) -> Progress {
        let length = std::fs::metadata(path).map_or(0, |file| file.len());
        if self.show_progress { Progress::on_terminal(length) } else { Progress::hidden() }
    }
}
