//! Reports on their way into the store. A commit waits for the disk, whether it holds one report or a thousand: so they
//! gather while the one before is written, and then go together. Nobody is told that a report is kept before it is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use bundles::report::Failure;
use bundles::{Reason, Reasoned};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, mpsc, oneshot};

use crate::crash;
use crate::store::Store;
use crate::store::records::ReportRecord;

/// What may wait to be written, in bytes of reports as they came: ten thousand headends that report in one moment fit
/// twice. Whoever comes when it is full is asked to come again.
const WAITING_BYTES: usize = 16 << 20;

/// What a waiting report takes besides its bytes: so that many small ones count as what they are.
const EACH_BYTES: usize = 256;

/// Reports in one batch. The catalog takes room for several times a batch before it writes one; on a disk that is nearly
/// full, a few must not fail for the sake of many.
const MOST_AT_ONCE: usize = 2_000;

/// How many headends are looked up at once. Each takes microseconds on a thread that may block; were as many threads started
/// as reports come in, they would take the processors from those that answer polls.
const LOOKUPS_AT_ONCE: usize = 2;

/// Takes reports, and has one thread write them. Dropped, it writes what it has taken, and then lets go of the store.
#[derive(Debug)]
pub struct Inbox {
    /// `None` only while this is dropped.
    queue: Option<mpsc::UnboundedSender<Waiting>>,
    room: Arc<Semaphore>,
    lookups: Semaphore,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    report: ReportRecord,
    kept: oneshot::Sender<Result<(), Failure>>,
    _room: OwnedSemaphorePermit,
}

/// Why a report is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// Too many came at once.
    #[error("more reports come in at this moment than can be written; send it again a little later")]
    Full,
    /// The batch that it was in was not written.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Reasoned for NotKept {
    fn reason(&self) -> Reason {
        match self {
            Self::Full => Reason::Busy,
            Self::Failed(failure) => failure.reason,
        }
    }
}

impl Inbox {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn open(store: Store) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::unbounded_channel();
        let writer = std::thread::Builder::new().name("reports".to_owned()).spawn(move || write(&store, waiting))?;
        Ok(Self {
            queue: Some(queue),
            room: Arc::new(Semaphore::new(WAITING_BYTES)),
            lookups: Semaphore::new(LOOKUPS_AT_ONCE),
            writer: Some(writer),
        })
    }

    /// Waits for one's turn to look a headend up, and has it for as long as the permit lives.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.lookups.acquire().await.ok()
    }

    /// Takes the report of a headend that may report, which came as so many bytes. It is on disk when this returns; of two
    /// reports of one headend, the one stays that was taken last.
    ///
    /// # Errors
    /// [`NotKept`]; then this one is not on disk, or a later one took its place.
    pub async fn take(&self, id: String, report: ReportRecord, bytes: usize) -> Result<(), NotKept> {
        let bytes = u32::try_from(bytes.saturating_add(EACH_BYTES)).map_err(|_| NotKept::Full)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| NotKept::Full)?;
        let (kept, answer) = oneshot::channel();
        let waiting = Waiting { id, report, kept, _room: room };
        let is_taken = self.queue.as_ref().is_some_and(|queue| queue.send(waiting).is_ok());
        match answer.await {
            Ok(written) if is_taken => Ok(written?),
            Ok(_) | Err(_) => Err(broken().into()),
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.queue = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that writes reports did not end well");
        }
    }
}

fn write(store: &Store, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    let mut gathered = Vec::new();
    // The first one wakes this thread; whatever came while it wrote comes along.
    while queue.blocking_recv_many(&mut gathered, MOST_AT_ONCE) > 0 {
        crash::point("report.gathered");
        // A mistake that ends one batch must not end all that follow.
        let written = catch_unwind(AssertUnwindSafe(|| keep(store, &gathered))).unwrap_or_else(|_| Err(broken()));
        crash::point("report.kept");
        for waiting in gathered.drain(..) {
            // Who has gone is not told; the report is kept all the same.
            let _ = waiting.kept.send(written.clone());
        }
    }
}

fn keep(store: &Store, gathered: &[Waiting]) -> Result<(), Failure> {
    // In the order in which they came: of each headend the last one is left.
    let last: BTreeMap<_, _> = gathered.iter().map(|waiting| (waiting.id.as_str(), &waiting.report)).collect();
    store.put_reports(last).map_err(|error| {
        let (reason, error) = (error.reason(), error.whole_message());
        // Once for all of them; each is told the reason's sentence, for the message may name what is inside.
        tracing::error!(reason = reason.as_str(), error, reports = gathered.len(), "reports are not kept");
        Failure::new(reason, reason.sentence())
    })
}

fn broken() -> Failure {
    Failure::new(Reason::Internal, Reason::Internal.sentence())
}

#[cfg(test)]
mod tests;
