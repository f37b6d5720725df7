//! What can only be seen while the disk takes its time: the catalog here commits when the test says so.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use bundles::report::Report;
use jiff::Timestamp;

use super::*;
use crate::store::{Batch, Catalog, Pair, StoreError, Table};

/// A catalog whose every commit is told, and waits for its outcome.
#[derive(Debug)]
struct Gate {
    inner: Arc<dyn Catalog>,
    begun: Sender<usize>,
    outcomes: Mutex<Receiver<bool>>,
}

impl Catalog for Gate {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }

    fn scan(&self, table: Table, newest_first: bool, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.inner.scan(table, newest_first, limit)
    }

    fn scan_after(&self, table: Table, key: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.inner.scan_after(table, key, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.begun.send(batch.changes.len()).unwrap();
        if self.outcomes.lock().unwrap().recv().unwrap() {
            return self.inner.commit(batch);
        }
        Err(StoreError::Catalog { act: "write", source: Box::new(io::Error::from(io::ErrorKind::StorageFull)) })
    }

    fn snapshot(&self, tables: &[Table]) -> Result<Vec<crate::store::TablePair>, StoreError> {
        self.inner.snapshot(tables)
    }
}

struct World {
    inbox: Inbox,
    store: Store,
    begun: Receiver<usize>,
    outcomes: Sender<bool>,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("data")).unwrap();
        let (tell, begun) = channel();
        let (outcomes, wait) = channel();
        let gate = Gate { inner: Arc::clone(&store.catalog), begun: tell, outcomes: Mutex::new(wait) };
        let mut gated = store.clone();
        gated.catalog = Arc::new(gate);
        let inbox = Inbox::open(gated).unwrap();
        Self { inbox, store, begun, outcomes, _directory: directory }
    }

    /// Whose release number is what it runs.
    fn kept(&self, id: &str) -> Option<u64> {
        self.store.report(id).unwrap()?.report.serial.map(bundles::Serial::get)
    }
}

fn running(serial: u64) -> ReportRecord {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    ReportRecord {
        received: now,
        report: Report {
            client_version: "0.1.0".to_owned(),
            serial: bundles::Serial::new(serial),
            components: std::collections::BTreeMap::default(),
            last_success: None,
            last_attempt: now,
            last_failure: None,
            next_poll: None,
            interval_seconds: 7_200,
            transfer: None,
            clock_behind: None,
        },
    }
}

/// Lets a task that is not done yet go as far as it can.
async fn begin<F: Future + Unpin>(task: &mut F) {
    assert!(futures_util::poll!(task).is_pending(), "it is told before it is kept");
}

#[tokio::test]
async fn what_gathers_while_one_batch_is_written_is_the_next_and_the_last_of_a_headend_counts() {
    let world = World::new();
    let take = |id: &str, serial| Box::pin(world.inbox.take(id.to_owned(), running(serial), 200));
    let mut first = take("one", 1);
    begin(&mut first).await;
    assert_eq!(world.begun.recv().unwrap(), 1);

    let mut next = [take("one", 2), take("two", 3), take("one", 4)];
    for task in &mut next {
        begin(task).await;
    }
    assert_eq!(world.kept("one"), None);
    world.outcomes.send(true).unwrap();
    first.await.unwrap();
    assert_eq!(world.kept("one"), Some(1));

    assert_eq!(world.begun.recv().unwrap(), 2, "one for each of the two headends");
    world.outcomes.send(true).unwrap();
    for task in next {
        task.await.unwrap();
    }
    assert_eq!((world.kept("one"), world.kept("two")), (Some(4), Some(3)));
}

#[tokio::test]
async fn a_batch_that_fails_is_told_to_each_and_the_next_one_is_written() {
    let world = World::new();
    let take = |id: &str, serial| Box::pin(world.inbox.take(id.to_owned(), running(serial), 200));
    let mut first = take("one", 1);
    begin(&mut first).await;
    world.begun.recv().unwrap();
    let mut others = [take("two", 2), take("three", 3)];
    for task in &mut others {
        begin(task).await;
    }
    world.outcomes.send(false).unwrap();
    world.outcomes.send(false).unwrap();
    assert_eq!(first.await.unwrap_err().reason(), Reason::Storage);
    for task in others {
        assert_eq!(task.await.unwrap_err().reason(), Reason::Storage);
    }
    assert_eq!((world.kept("one"), world.kept("two")), (None, None));

    world.outcomes.send(true).unwrap();
    take("one", 5).await.unwrap();
    assert_eq!(world.kept("one"), Some(5));
}

#[tokio::test]
async fn a_full_inbox_asks_to_come_again_and_has_room_once_it_is_written() {
    let world = World::new();
    let large = bundles::report::MAX_REPORT_BYTES;
    let take = |id: String| Box::pin(world.inbox.take(id, running(1), large));
    let mut waiting = Vec::new();
    let refused = loop {
        let mut task = take(format!("headend-{}", waiting.len()));
        match futures_util::poll!(&mut task) {
            std::task::Poll::Pending => waiting.push(task),
            std::task::Poll::Ready(answer) => break answer,
        }
        assert!(waiting.len() * large <= WAITING_BYTES, "it is never full");
    };
    assert_eq!(refused, Err(NotKept::Full));
    assert!(waiting.len() > 200, "{}", waiting.len());
    // The first batch is what was there when it began, the second one all the rest.
    world.outcomes.send(true).unwrap();
    world.outcomes.send(true).unwrap();
    for task in waiting {
        task.await.unwrap();
    }
    world.outcomes.send(true).unwrap();
    take("headend-0".to_owned()).await.unwrap();
}

#[tokio::test]
async fn what_was_taken_is_written_before_the_store_is_let_go() {
    let World { inbox, store, begun, outcomes, _directory: directory } = World::new();
    let mut task = Box::pin(inbox.take("one".to_owned(), running(1), 200));
    begin(&mut task).await;
    drop(task);
    begun.recv().unwrap();
    outcomes.send(true).unwrap();
    drop(inbox);
    assert!(store.report("one").unwrap().is_some());
    drop(store);
    Store::open(&directory.path().join("data")).unwrap();
}
