//! HTTP/2, on the `h2` crate that actix-http uses too: its own way leaves the crate's limits at what they are, 16 MiB for a head that
//! a few bytes unfold to among them, and any number of streams.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, MessageBody};
use actix_http::error::PayloadError;
use actix_http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use actix_http::{HttpMessage as _, Method, Payload, Request, Response, StatusCode, Version};
use actix_server::GracefulShutdownSignal;
use actix_service::Service;
use actix_web::Error;
use actix_web::dev::ServiceResponse;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::poll_fn;
use futures_util::stream::Stream;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, Ended};
use super::line::Spoken;
use super::service::Served;
use super::{LINGER, Patience, RATE, Terms};
use crate::clock;
use crate::http::MAX_HEAD_BYTES;
use crate::http::content::http_date;

/// Streams of one connection at once, as RFC 9113 advises (section 6.5.2). A headend uses a handful, an HTTP/2 proxy in front one for
/// each client that waits.
const MAX_STREAMS: u32 = 100;

/// Requests at once of one connection that a client has given up already and that are still being worked on count here too. With more
/// than twice its streams, it does nothing but give up (rapid reset, CVE-2023-44487).
const MAX_GOING: u32 = 2 * MAX_STREAMS;

/// How many bytes of a body may be on their way to the server before they are read: uploads over long lines need some.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;

/// Bytes of an answer that wait for one stream's window. What was read from a file waits in the server's memory meanwhile.
const MAX_SEND_BUFFER: usize = 256 << 10;

/// Bytes for which room is asked at a time: a frame's.
const FRAME: usize = 16 << 10;

/// Speaks it until the connection ends, or until the server stops and what was asked is answered.
pub(super) async fn serve<S, B>(
    spoken: Spoken,
    peer: Option<SocketAddr>,
    served: Rc<Served<S>>,
    terms: Terms,
    stopping: GracefulShutdownSignal,
) where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    let connection = Arc::clone(spoken.connection());
    let connections = Arc::clone(spoken.connections());
    connection.multiplexed();
    let handshake = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .handshake::<_, Bytes>(spoken);
    let mut streams = match timeout(terms.head, handshake).await {
        Ok(Ok(streams)) => streams,
        Ok(Err(error)) => {
            tracing::trace!(%error, "an HTTP/2 connection did not begin");
            return;
        }
        Err(_) => return connections.note(Ended::SlowHead),
    };
    let stop = stopping.notified();
    tokio::pin!(stop);
    let look = sleep(terms.keep_alive);
    tokio::pin!(look);
    let mut is_ending = false;
    loop {
        tokio::select! {
            accepted = streams.accept() => {
                let (request, answer) = match accepted {
                    Some(Ok(accepted)) => accepted,
                    Some(Err(error)) => {
                        tracing::trace!(%error, "an HTTP/2 connection ended");
                        return;
                    }
                    None => return,
                };
                if connection.requests() >= MAX_GOING {
                    connections.note(Ended::Flooded);
                    streams.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    is_ending = true;
                    continue;
                }
                let (served, connection, patience) =
                    (Rc::clone(&served), Arc::clone(&connection), Patience::new(terms.answer, RATE));
                let connections = Arc::clone(&connections);
                tokio::task::spawn_local(async move {
                    match handle(request, peer, answer, &served, &connection, patience).await {
                        Ok(()) => {}
                        Err(NotSent::TooSlow) => connections.note(Ended::SlowReader),
                        Err(NotSent::Ended(error)) => tracing::trace!(%error, "an HTTP/2 stream ended"),
                        Err(NotSent::Body(error)) => tracing::debug!(error, "an answer broke off"),
                    }
                });
            }
            () = &mut stop, if !is_ending => {
                streams.graceful_shutdown();
                is_ending = true;
            }
            // So that a client which is about to ask again is told beforehand, and asks on another connection.
            () = &mut look, if !is_ending => {
                let idle = connection.idle().unwrap_or_default();
                match terms.keep_alive.checked_sub(idle).filter(|left| !left.is_zero()) {
                    Some(left) => look.as_mut().reset(Instant::now() + left),
                    None => {
                        streams.graceful_shutdown();
                        is_ending = true;
                    }
                }
            }
        }
    }
}

/// Why an answer was not sent to its end.
enum NotSent {
    TooSlow,
    Ended(h2::Error),
    Body(String),
}

async fn handle<S, B>(
    request: http::Request<RecvStream>,
    peer: Option<SocketAddr>,
    mut answer: SendResponse<Bytes>,
    served: &Served<S>,
    connection: &Arc<Connection>,
    patience: Patience,
) -> Result<(), NotSent>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    let is_head = request.method() == Method::HEAD;
    let (parts, body) = request.into_parts();
    let rest = (!body.is_end_stream()).then(|| Incoming(Rc::new(RefCell::new(body))));
    let payload: Payload = match &rest {
        None => Payload::None,
        Some(body) => Payload::Stream { payload: Box::pin(body.clone()) },
    };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = peer;
    request.extensions_mut().insert(Arc::clone(connection));
    let answering = served.answer(request, connection);
    let answered = tokio::select! {
        answered = answering => answered,
        // Nobody waits for it any more.
        reset = poll_fn(|context| answer.poll_reset(context)) => return reset.map(drop).map_err(NotSent::Ended),
    };
    match answered {
        Ok(response) => send(response, answer, is_head, patience).await?,
        Err(response) => send(response, answer, is_head, patience).await?,
    }
    if let Some(mut rest) = rest {
        // An answer that came before the end of its request: were the stream reset at once, some clients would give up the answer
        // with it.
        let _ = timeout(LINGER, async { while let Some(Ok(_)) = rest.next().await {} }).await;
    }
    Ok(())
}

/// A request's body, which is there for as long as its answer, whether or not the routes read it.
#[derive(Clone)]
struct Incoming(Rc<RefCell<RecvStream>>);

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.0.borrow_mut();
        Poll::Ready(match ready!(body.poll_data(context)) {
            Some(Ok(bytes)) => {
                Some(body.flow_control().release_capacity(bytes.len()).map(|()| bytes).map_err(PayloadError::from))
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }
}

async fn send<B>(
    response: Response<B>,
    mut answer: SendResponse<Bytes>,
    is_head: bool,
    mut patience: Patience,
) -> Result<(), NotSent>
where
    B: MessageBody,
{
    let size = response.body().size();
    let has_no_body = is_head || size.is_eof() || has_none(response.status());
    let head = head(&response, size);
    let mut stream = answer.send_response(head, has_no_body).map_err(NotSent::Ended)?;
    if has_no_body {
        return Ok(());
    }
    let mut body = std::pin::pin!(response.into_body());
    while let Some(piece) = poll_fn(|context| body.as_mut().poll_next(context)).await {
        let piece = piece.map_err(|error| {
            let error: Box<dyn std::error::Error> = error.into();
            NotSent::Body(error.to_string())
        });
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Err(error);
            }
        };
        while !piece.is_empty() {
            let room = room(&mut stream, piece.len().min(FRAME), &mut patience).await?;
            stream.send_data(piece.split_to(room.min(piece.len())), false).map_err(NotSent::Ended)?;
        }
    }
    stream.send_data(Bytes::new(), true).map_err(NotSent::Ended)
}

/// Waits until the client takes more of the stream: it says how much, whether or not it reads the connection.
async fn room(stream: &mut SendStream<Bytes>, wanted: usize, patience: &mut Patience) -> Result<usize, NotSent> {
    stream.reserve_capacity(wanted);
    let began = Instant::now();
    loop {
        match timeout(patience.left(), poll_fn(|context| stream.poll_capacity(context))).await {
            Err(_) => {
                stream.send_reset(Reason::CANCEL);
                return Err(NotSent::TooSlow);
            }
            Ok(Some(Ok(0))) => {}
            Ok(Some(Ok(room))) => {
                patience.moved(began.elapsed(), room);
                return Ok(room);
            }
            Ok(Some(Err(error))) => return Err(NotSent::Ended(error)),
            Ok(None) => return Err(NotSent::Ended(Reason::CANCEL.into())),
        }
    }
}

/// Statuses that never have one (RFC 9110, sections 15.3.5 and 15.4.5).
fn has_none(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational()
}

/// The head as HTTP/2 has it: without what is of one connection in HTTP/1 (RFC 9113, section 8.2.2).
fn head<B>(response: &Response<B>, size: BodySize) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = response.status();
    *head.version_mut() = Version::HTTP_2;
    let headers = head.headers_mut();
    let of_connections = [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for (name, value) in response.headers() {
        if !of_connections.contains(name) {
            headers.append(name, value.clone());
        }
    }
    match size {
        BodySize::Sized(length) if !has_none(response.status()) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        BodySize::Sized(_) | BodySize::None | BodySize::Stream => {}
    }
    if !headers.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_str(&http_date(clock::now()))
    {
        headers.insert(DATE, date);
    }
    head
}
