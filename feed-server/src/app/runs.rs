//! The one act at a time, an update run or an import: who asked for it, how far it is, and when the next run is due.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::index::Index;
use bundles::report::Failure;
use bundles::{FileName, Reason};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::imports::{Import, ImportProgress};
use crate::store::imports::ImportRecord;
use crate::store::records::{RunRecord, Trigger};

/// A run that somebody asked for or that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The run's number.
    pub run: u64,
    /// Who asked.
    pub trigger: Trigger,
    /// What holds this once.
    pub wishes: Wishes,
}

/// What whoever asks for a run may wish to hold this once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Versions may go backwards.
    pub accept_version_rollback: bool,
    /// What cools down is asked all the same.
    pub ignore_cooldown: bool,
}

/// What is going on. At most one run or import is asked for or going on at any time: a second one is refused.
#[derive(Debug, Default)]
pub struct Runs {
    state: Mutex<State>,
    wake: Notify,
    ticked: Notify,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// The newest run that ended, also where the store could not take it.
    last: Option<RunRecord>,
    /// The newest import that ended, likewise.
    last_import: Option<ImportRecord>,
    next_due: Option<Timestamp>,
    /// Nobody begins anything any more.
    closed: bool,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    Asked(Request),
    Running(Arc<Progress>),
    /// An earlier release is released again.
    Acting,
    /// An import, and what it is to be begun with until somebody does.
    Importing(Arc<ImportProgress>, Option<Import>),
}

impl Phase {
    /// `Ok` where nothing is asked for or going on.
    fn idle(&self) -> Result<(), Failure> {
        let busy = |act: &str, id: u64| {
            Failure::new(
                Reason::Busy,
                format!("{act} {id} is going on; wait for its end, or follow it with `feed-server status`"),
            )
        };
        match self {
            Self::Idle => Ok(()),
            Self::Asked(request) => Err(busy("update run", request.run)),
            Self::Running(progress) => Err(busy("update run", progress.run)),
            Self::Importing(progress, _) => Err(busy("import", progress.id)),
            Self::Acting => {
                Err(Failure::new(Reason::Busy, "an earlier release is being released again; try again in a moment"))
            }
        }
    }
}

impl Runs {
    /// Asks for a run; `number` gives it its number.
    ///
    /// # Errors
    /// Busy: one or an import is asked for or going on. Or what `number` fails with.
    pub fn ask(
        &self,
        trigger: Trigger,
        wishes: Wishes,
        number: impl FnOnce() -> Result<u64, Failure>,
    ) -> Result<Request, Failure> {
        let mut state = self.lock();
        state.phase.idle()?;
        // A run that the store could not take has used up its number all the same.
        let run = number()?.max(state.last.as_ref().map_or(1, |last| last.id + 1));
        let request = Request { run, trigger, wishes };
        state.phase = Phase::Asked(request);
        drop(state);
        self.wake.notify_one();
        Ok(request)
    }

    /// Takes what was asked for, if anything was: from here on it is going on, until the returned guard is dropped.
    pub fn begin(&self, now: Timestamp) -> Option<(Request, Running<'_>)> {
        let mut state = self.lock();
        let Phase::Asked(request) = state.phase else { return None };
        let progress = Arc::new(Progress::new(request, now));
        state.phase = Phase::Running(Arc::clone(&progress));
        Some((request, Running { runs: self, progress, record: None }))
    }

    /// Asks for an import; `number` gives it its number, and `make` what it begins with.
    ///
    /// # Errors
    /// Busy: another one or a run is asked for or going on. Or what `number` fails with.
    pub(super) fn ask_import(
        &self,
        number: impl FnOnce() -> Result<u64, Failure>,
        make: impl FnOnce(u64) -> (Arc<ImportProgress>, Import),
    ) -> Result<(), Failure> {
        let mut state = self.lock();
        if state.closed {
            return Err(Failure::new(Reason::Busy, "the server is stopping; import again once it runs"));
        }
        state.phase.idle()?;
        let id = number()?.max(state.last_import.as_ref().map_or(1, |last| last.id + 1));
        let (progress, import) = make(id);
        state.phase = Phase::Importing(progress, Some(import));
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes the import that was asked for, if any was: from here on it is going on, until the guard is dropped.
    pub fn begin_import(&self) -> Option<(Import, RunningImport<'_>)> {
        let mut state = self.lock();
        let Phase::Importing(progress, import) = &mut state.phase else { return None };
        let import = import.take()?;
        let progress = Arc::clone(progress);
        Some((import, RunningImport { runs: self, progress, record: None }))
    }

    /// Keeps runs and imports from beginning, until the guard is dropped.
    ///
    /// # Errors
    /// Busy: one is asked for or going on.
    pub fn act(&self) -> Result<Acting<'_>, Failure> {
        let mut state = self.lock();
        state.phase.idle()?;
        state.phase = Phase::Acting;
        Ok(Acting { runs: self })
    }

    /// Nothing begins any more: an import that nobody has begun is let go, so that whoever brought it need not wait.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        if let Phase::Importing(_, import @ Some(_)) = &mut state.phase {
            *import = None;
            state.phase = Phase::Idle;
        }
    }

    /// How far the import is that is asked for or going on.
    #[must_use]
    pub fn importing(&self) -> Option<Arc<ImportProgress>> {
        match &self.lock().phase {
            Phase::Importing(progress, _) => Some(Arc::clone(progress)),
            Phase::Idle | Phase::Asked(_) | Phase::Running(_) | Phase::Acting => None,
        }
    }

    /// The newest import that ended in this process.
    #[must_use]
    pub fn last_import(&self) -> Option<ImportRecord> {
        self.lock().last_import.clone()
    }

    /// What was asked for and has not begun.
    #[must_use]
    pub fn asked(&self) -> Option<Request> {
        match self.lock().phase {
            Phase::Asked(request) => Some(request),
            Phase::Idle | Phase::Running(_) | Phase::Importing(..) | Phase::Acting => None,
        }
    }

    /// How far the run is that is going on.
    #[must_use]
    pub fn progress(&self) -> Option<Arc<Progress>> {
        match &self.lock().phase {
            Phase::Running(progress) => Some(Arc::clone(progress)),
            Phase::Idle | Phase::Asked(_) | Phase::Importing(..) | Phase::Acting => None,
        }
    }

    /// The newest run that ended in this process.
    #[must_use]
    pub fn last(&self) -> Option<RunRecord> {
        self.lock().last.clone()
    }

    /// Tells of a run that could not even begin.
    pub fn set_last(&self, record: RunRecord) {
        self.lock().last = Some(record);
    }

    /// When the next run is due; absent where nothing is scheduled.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lock().next_due
    }

    /// Says when the next run is due.
    pub fn set_next_due(&self, at: Option<Timestamp>) {
        self.lock().next_due = at;
    }

    /// Wakes whoever waits in [`Self::woken`].
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// A timer's tick: wakes the runner, and whoever waits in [`Self::ticked`].
    pub fn tick(&self) {
        self.wake.notify_one();
        self.ticked.notify_one();
    }

    /// Waits for a timer's tick.
    pub async fn ticked(&self) {
        self.ticked.notified().await;
    }

    /// Waits for a timer's tick, or for somebody who asks for a run.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that is going on; when this is dropped, however that comes, the next one may begin.
#[derive(Debug)]
pub struct Running<'a> {
    runs: &'a Runs,
    progress: Arc<Progress>,
    record: Option<RunRecord>,
}

impl Running<'_> {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Ends the run.
    pub fn end(mut self, record: RunRecord) {
        self.record = Some(record);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.runs.lock();
        state.phase = Phase::Idle;
        if let Some(record) = self.record.take() {
            state.last = Some(record);
        }
    }
}

/// Neither a run nor an import begins before this is dropped.
#[derive(Debug)]
pub struct Acting<'a> {
    runs: &'a Runs,
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        self.runs.lock().phase = Phase::Idle;
        // A run may be due since.
        self.runs.wake();
    }
}

/// An import that is going on; when this is dropped, however that comes, the next act may begin.
#[derive(Debug)]
pub struct RunningImport<'a> {
    runs: &'a Runs,
    progress: Arc<ImportProgress>,
    record: Option<ImportRecord>,
}

impl RunningImport<'_> {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> &Arc<ImportProgress> {
        &self.progress
    }

    /// Ends the import.
    pub fn end(mut self, record: ImportRecord) {
        self.record = Some(record);
    }
}

impl Drop for RunningImport<'_> {
    fn drop(&mut self) {
        let mut state = self.runs.lock();
        state.phase = Phase::Idle;
        if let Some(record) = self.record.take() {
            state.last_import = Some(record);
        }
        drop(state);
        // A run may be due since the import began.
        self.runs.wake();
    }
}

/// How far a run is.
#[derive(Debug)]
pub struct Progress {
    /// The run's number.
    pub run: u64,
    /// When it began.
    pub started: Timestamp,
    /// Who asked for it.
    pub trigger: Trigger,
    entries: AtomicUsize,
    files_done: AtomicUsize,
    received: AtomicU64,
    file: Mutex<Option<CurrentFile>>,
}

/// The file that arrives right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentFile {
    /// Its name.
    pub name: String,
    /// How long it is said to be.
    pub length: Option<u64>,
    /// How much of it came.
    pub received: u64,
}

impl Progress {
    fn new(request: Request, started: Timestamp) -> Self {
        Self {
            run: request.run,
            started,
            trigger: request.trigger,
            entries: AtomicUsize::new(0),
            files_done: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            file: Mutex::new(None),
        }
    }

    /// Entries in the index, or files that have to come of a signed release; 0 until it was read.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Files that arrived whole.
    #[must_use]
    pub fn files_done(&self) -> usize {
        self.files_done.load(Ordering::Relaxed)
    }

    /// Bytes received from upstream.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The file that arrives right now.
    #[must_use]
    pub fn file(&self) -> Option<CurrentFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_file(&self, file: Option<CurrentFile>) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }
}

impl crate::sync::Progress for Progress {
    fn index_read(&self, index: &Index) {
        // A URL that failed half way counts for nothing where the next one is asked.
        self.files_done.store(0, Ordering::Relaxed);
        self.entries.store(index.entries.len(), Ordering::Relaxed);
    }

    fn release_read(&self, files: usize) {
        self.files_done.store(0, Ordering::Relaxed);
        self.entries.store(files, Ordering::Relaxed);
    }

    fn file_started(&self, name: &FileName, length: Option<u64>) {
        self.set_file(Some(CurrentFile { name: name.to_string(), length, received: 0 }));
    }

    fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        if let Some(file) = self.file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            file.received += bytes;
        }
    }

    fn file_done(&self, _name: &FileName) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
        self.set_file(None);
    }

    fn offline_zip_done(&self) {
        // None of the index's files, so that it is not counted as one of them.
        self.set_file(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_750_000_000).unwrap()
    }

    #[test]
    fn a_second_run_is_refused_until_the_first_one_is_over() {
        let runs = Runs::default();
        let asked = runs.ask(Trigger::Operator, Wishes::default(), || Ok(7)).unwrap();
        assert_eq!(runs.ask(Trigger::Schedule, Wishes::default(), || Ok(8)).unwrap_err().reason, Reason::Busy);
        let (request, running) = runs.begin(now()).unwrap();
        assert_eq!(request, asked);
        assert!(runs.begin(now()).is_none());
        assert_eq!(runs.ask(Trigger::Schedule, Wishes::default(), || Ok(8)).unwrap_err().reason, Reason::Busy);
        assert_eq!(runs.progress().unwrap().run, 7);
        drop(running);
        assert!(runs.progress().is_none());
        assert!(runs.ask(Trigger::Schedule, Wishes::default(), || Ok(8)).is_ok());
    }

    #[test]
    fn a_run_that_the_store_did_not_take_keeps_its_number() {
        let runs = Runs::default();
        runs.ask(Trigger::Operator, Wishes::default(), || Ok(7)).unwrap();
        let (request, running) = runs.begin(now()).unwrap();
        running.end(RunRecord { ended: Some(now()), ..RunRecord::begun(request.run, now(), request.trigger) });
        assert_eq!(runs.ask(Trigger::Operator, Wishes::default(), || Ok(7)).unwrap().run, 8);
    }

    #[test]
    fn a_number_that_cannot_be_had_leaves_the_way_free() {
        let runs = Runs::default();
        let failure = Failure::new(Reason::Storage, "x");
        assert!(runs.ask(Trigger::Operator, Wishes::default(), || Err(failure)).is_err());
        assert!(runs.asked().is_none());
    }
}
