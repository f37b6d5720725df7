//! One headend's connection: kept open between requests, made again where the server has closed it, its bytes counted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A server on the same machine that has not answered by then has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What went over all connections that share it.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes that the server sent, heads included.
    pub received: AtomicU64,
    /// Connections that were made.
    pub connections: AtomicU64,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// GET or PUT.
    pub method: Method,
    /// Such as `/repo/metadata/timestamp.json`.
    pub path: &'a str,
    /// Besides `Host`.
    pub headers: Vec<(HeaderName, &'a str)>,
    /// Empty for GET.
    pub body: Bytes,
}

impl<'a> Ask<'a> {
    /// A GET.
    #[must_use]
    pub fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() }
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as it came.
    pub body: Bytes,
}

impl Answer {
    /// A header, where it is there and is text.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A connection, or the intent to make one.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    traffic: Arc<Traffic>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Wire {
    /// Connects with the first request.
    #[must_use]
    pub fn new(address: SocketAddr, traffic: Arc<Traffic>) -> Self {
        Self { address, traffic, sender: None }
    }

    /// Sends a request and reads its answer. A server may close a connection that was idle at the very moment at which it
    /// is used again; then the request is sent once more over a new one, as every HTTP client does.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&mut self, ask: &Ask<'_>) -> Result<Answer> {
        let asking = async {
            if let Some(mut sender) = self.sender.take()
                && sender.ready().await.is_ok()
            {
                match self.over(sender, ask).await {
                    Err(error) if is_closed(&error) => {}
                    answered => return answered,
                }
            }
            let sender = self.connect().await?;
            self.over(sender, ask).await
        };
        tokio::time::timeout(PATIENCE, asking).await.with_context(|| format!("{} takes too long", ask.path))?
    }

    /// Ends the connection.
    pub fn close(&mut self) {
        self.sender = None;
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await.context("a connection")?;
        stream.set_nodelay(true)?;
        self.traffic.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted { stream, traffic: Arc::clone(&self.traffic) };
        let (sender, connection) = handshake(TokioIo::new(counted)).await?;
        // How it ends is told to whoever sends over it.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn over(&mut self, mut sender: SendRequest<Full<Bytes>>, ask: &Ask<'_>) -> Result<Answer> {
        let mut request = Request::builder().method(ask.method.clone()).uri(ask.path);
        request = request.header(HOST, self.address.to_string());
        for (name, value) in &ask.headers {
            request = request.header(name, *value);
        }
        let (head, body) = sender.send_request(request.body(Full::new(ask.body.clone()))?).await?.into_parts();
        let body = body.collect().await.with_context(|| format!("the body of {}", ask.path))?.to_bytes();
        self.sender = Some(sender);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    let told = error.downcast_ref::<hyper::Error>();
    told.is_some_and(|error| error.is_canceled() || error.is_closed() || error.is_incomplete_message())
}

struct Counted {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.traffic.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
