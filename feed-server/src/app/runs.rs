//! The one run at a time: who asked for it, how far it is, and when the next one is due.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::report::Failure;
use bundles::{FileName, Reason};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::store::records::{RunRecord, Trigger};

/// A run that somebody asked for or that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The run's number.
    pub run: u64,
    /// Who asked.
    pub trigger: Trigger,
    /// Whether versions may go backwards this once.
    pub accept_version_rollback: bool,
}

/// What is going on. At most one run is asked for or going on at any time: a second one is refused.
#[derive(Debug, Default)]
pub struct Runs {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// The newest run that ended, also where the store could not take it.
    last: Option<RunRecord>,
    next_due: Option<Timestamp>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    Asked(Request),
    Running(Arc<Progress>),
}

impl Runs {
    /// Asks for a run; `number` gives it its number.
    ///
    /// # Errors
    /// Busy: one is asked for or going on. Or what `number` fails with.
    pub fn ask(
        &self,
        trigger: Trigger,
        accept_version_rollback: bool,
        number: impl FnOnce() -> Result<u64, Failure>,
    ) -> Result<Request, Failure> {
        let mut state = self.lock();
        let busy = |run: u64| {
            Failure::new(
                Reason::Busy,
                format!("update run {run} is going on; wait for its end, or follow it with `feed-server status`"),
            )
        };
        match &state.phase {
            Phase::Asked(request) => return Err(busy(request.run)),
            Phase::Running(progress) => return Err(busy(progress.run)),
            Phase::Idle => {}
        }
        // A run that the store could not take has used up its number all the same.
        let run = number()?.max(state.last.as_ref().map_or(1, |last| last.id + 1));
        let request = Request { run, trigger, accept_version_rollback };
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

    /// What was asked for and has not begun.
    #[must_use]
    pub fn asked(&self) -> Option<Request> {
        match self.lock().phase {
            Phase::Asked(request) => Some(request),
            Phase::Idle | Phase::Running(_) => None,
        }
    }

    /// How far the run is that is going on.
    #[must_use]
    pub fn progress(&self) -> Option<Arc<Progress>> {
        match &self.lock().phase {
            Phase::Running(progress) => Some(Arc::clone(progress)),
            Phase::Idle | Phase::Asked(_) => None,
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

    /// Entries in the index; 0 until it was read.
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
    fn index_read(&self, entries: usize) {
        self.entries.store(entries, Ordering::Relaxed);
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
        let asked = runs.ask(Trigger::Operator, false, || Ok(7)).unwrap();
        assert_eq!(runs.ask(Trigger::Schedule, false, || Ok(8)).unwrap_err().reason, Reason::Busy);
        let (request, running) = runs.begin(now()).unwrap();
        assert_eq!(request, asked);
        assert!(runs.begin(now()).is_none());
        assert_eq!(runs.ask(Trigger::Schedule, false, || Ok(8)).unwrap_err().reason, Reason::Busy);
        assert_eq!(runs.progress().unwrap().run, 7);
        drop(running);
        assert!(runs.progress().is_none());
        assert!(runs.ask(Trigger::Schedule, false, || Ok(8)).is_ok());
    }

    #[test]
    fn a_run_that_the_store_did_not_take_keeps_its_number() {
        let runs = Runs::default();
        runs.ask(Trigger::Operator, false, || Ok(7)).unwrap();
        let (request, running) = runs.begin(now()).unwrap();
        let record = RunRecord {
            id: request.run,
            started: now(),
            ended: Some(now()),
            trigger: request.trigger,
            outcome: None,
            received_bytes: 0,
            clock_offset: None,
        };
        running.end(record);
        assert_eq!(runs.ask(Trigger::Operator, false, || Ok(7)).unwrap().run, 8);
    }

    #[test]
    fn a_number_that_cannot_be_had_leaves_the_way_free() {
        let runs = Runs::default();
        let failure = Failure::new(Reason::Storage, "x");
        assert!(runs.ask(Trigger::Operator, false, || Err(failure)).is_err());
        assert!(runs.asked().is_none());
    }
}
