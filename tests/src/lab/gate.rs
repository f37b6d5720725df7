//! A gate: a download that stops at a byte and stays there until released, so that whatever a test does meanwhile
//! happens in the middle of the download and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Blocks a path in the middle of its body. Dropping it leaves the path blocked; [`Gate::release`] opens it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: String,
    after: u64,
    arrivals: watch::Sender<u64>,
    open: watch::Sender<bool>,
}

impl Gate {
    pub(super) fn new(path: String, after: u64) -> Self {
        Self(Arc::new(Inner { path, after, arrivals: watch::Sender::new(0), open: watch::Sender::new(false) }))
    }

    /// Waits until a download stands at the gate: everything before it was sent.
    ///
    /// # Errors
    /// No download came within the deadline.
    pub async fn reached(&self, deadline: Duration) -> Result<(), NotReached> {
        let mut arrivals = self.0.arrivals.subscribe();
        let arrived = tokio::time::timeout(deadline, arrivals.wait_for(|count| *count > 0)).await;
        match arrived {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotReached { path: self.0.path.clone(), deadline }),
        }
    }

    /// Lets every download through, now and later.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }

    /// Whether the gate stands in the way of this path.
    pub(super) fn blocks(&self, path: &str) -> bool {
        self.0.path == path && !*self.0.open.borrow()
    }

    /// How many bytes of the body pass before the gate.
    pub(super) fn after(&self) -> u64 {
        self.0.after
    }

    /// Stands at the gate until it opens.
    pub(super) async fn pass(&self) {
        self.0.arrivals.send_modify(|count| *count += 1);
        // The sender lives in `self`, so that the wait ends with the gate open.
        let _ = self.0.open.subscribe().wait_for(|open| *open).await;
    }
}

/// Nothing asked for the path in time.
#[derive(Debug, thiserror::Error)]
#[error("no download of {path} came to its gate within {deadline:?}")]
pub struct NotReached {
    path: String,
    deadline: Duration,
}
