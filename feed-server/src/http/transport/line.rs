//! The bytes of a connection, and the time that they take.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::connection::{Admitted, Connection, Connections, Ended};
use super::{Patience, RATE};

/// A socket that ends by itself where nobody asks for anything, a head does not become whole, an answer is not taken, or its
/// place is needed.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    admitted: Admitted,
    look: Option<Pin<Box<Sleep>>>,
    patience: Patience,
    /// Since when a write waits for the client, and what ends the wait.
    waiting: Option<Instant>,
    give_up: Option<Pin<Box<Sleep>>>,
    has_ended: bool,
}

impl Line {
    /// `None` where there are too many.
    pub(super) fn open(stream: TcpStream, connections: &Arc<Connections>) -> Option<Self> {
        let admitted = connections.admit()?;
        let patience = Patience::new(connections.terms.answer, RATE);
        Some(Self { stream, admitted, look: None, patience, waiting: None, give_up: None, has_ended: false })
    }

    /// What is known of it.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.admitted.connection
    }

    fn end(&mut self, why: Ended) -> io::Error {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.admitted.all.note(why);
        }
        io::Error::new(io::ErrorKind::TimedOut, why.as_str())
    }

    /// There is nothing to read: looks whether that may go on.
    fn wait_to_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.admitted.connection.watched_by(context.waker());
        loop {
            let again = match self.admitted.connection.overdue(&self.admitted.all.terms) {
                // Whoever still takes an answer is not idle; that wait has an end of its own.
                Err(Ended::Idle) if self.waiting.is_some() => self.admitted.all.terms.head,
                Err(why) => return Poll::Ready(Err(self.end(why))),
                Ok(again) => again,
            };
            ready!(timer(&mut self.look, again, context));
        }
    }

    fn wait_to_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        loop {
            let Some(left) = self.patience.left().checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else {
                return Poll::Ready(Err(self.end(Ended::SlowReader)));
            };
            ready!(timer(&mut self.give_up, left, context));
        }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.wait_to_write(context),
            Poll::Ready(Ok(bytes)) => {
                if let Some(since) = self.waiting.take() {
                    self.patience.moved(since.elapsed(), bytes);
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

/// Waits, and is ready each time that it has waited, at the latest after that long: what wakes too early costs another look,
/// and setting it anew at each byte would cost more.
fn timer(timer: &mut Option<Pin<Box<Sleep>>>, at_most: Duration, context: &mut Context<'_>) -> Poll<()> {
    let deadline = Instant::now() + at_most;
    let sleep = timer.get_or_insert_with(|| Box::pin(sleep(at_most)));
    if sleep.is_elapsed() || sleep.deadline() > deadline {
        sleep.as_mut().reset(deadline);
    }
    sleep.as_mut().poll(context)
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending => this.wait_to_read(context),
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    this.admitted.connection.received();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.wrote(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, bytes);
        this.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// A line as HTTP is spoken on it.
#[derive(Debug)]
pub(super) enum Spoken {
    Plain(Line),
    Tls(Box<TlsStream<Line>>),
}

impl Spoken {
    pub(super) fn tls(stream: TlsStream<Line>) -> Self {
        if let Some(shown) = stream.get_ref().1.peer_certificates() {
            let shown = shown.iter().map(|certificate| certificate.clone().into_owned()).collect();
            let _ = stream.get_ref().0.admitted.connection.shown.set(shown);
        }
        Self::Tls(Box::new(stream))
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.line().admitted.connection
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.line().admitted.all
    }

    fn line(&self) -> &Line {
        match self {
            Self::Plain(line) => line,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether that was agreed on in the handshake: without TLS, HTTP/1.1 is spoken.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Spoken {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Spoken {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_write_vectored(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(line) => line.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(line) => Pin::new(line).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
