//! Bodies: a request's that has to come at some speed, and an answer's, until whose end its request goes on.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::Payload;
use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_util::stream::Stream;
use tokio::time::{Instant, Sleep, sleep};

use super::connection::{Connections, Ended, Going};
use super::{Patience, RATE};

/// A request's body, given up where it comes too slowly. Only waits for the client count: what the server does with what came
/// takes its own time.
pub(super) struct Paced {
    body: Payload,
    patience: Patience,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    connections: Arc<Connections>,
}

impl Paced {
    /// The same body, where there is one.
    pub(super) fn of(body: Payload, connections: &Arc<Connections>) -> Payload {
        if matches!(body, Payload::None) {
            return body;
        }
        let patience = Patience::new(connections.terms.body, RATE);
        let paced = Self { body, patience, waiting: None, connections: Arc::clone(connections) };
        Payload::Stream { payload: Box::pin(paced) }
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Poll::Ready(next) = Pin::new(&mut this.body).poll_next(context) {
            if let (Some((since, _)), Some(Ok(bytes))) = (this.waiting.take(), &next) {
                this.patience.moved(since.elapsed(), bytes.len());
            }
            return Poll::Ready(next);
        }
        let left = this.patience.left();
        let (_, timer) = this.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.waiting = None;
        this.connections.note(Ended::SlowBody);
        let error = io::Error::new(io::ErrorKind::TimedOut, "the body came too slowly");
        Poll::Ready(Some(Err(PayloadError::Io(error))))
    }
}

/// An answer's body, with which its request ends.
pub(super) struct Tracked {
    body: BoxBody,
    _going: Going,
}

impl Tracked {
    pub(super) fn new(body: BoxBody, going: Going) -> Self {
        Self { body, _going: going }
    }
}

impl MessageBody for Tracked {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
