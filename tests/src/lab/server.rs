//! Listening, TLS and the answers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::answer::{Answer, decide, http_date_of};
use super::body::{Body, Delivery, Hold, Pace, Source, full, sent};
use super::fault::Fault;
use super::request::{LoggedRequest, MAX_LOGGED};
use super::site::{Content, Resource, struck};
use super::{Gate, Raw, State, control};

/// Connections that wait to be accepted: what tokio itself takes.
const BACKLOG: u32 = 1024;

/// What the accept loop is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Stop listening and cut every connection.
    Leave(std::sync::mpsc::Sender<Result<()>>),
    /// Listen again, on the same port.
    Return(std::sync::mpsc::Sender<Result<()>>),
}

/// The server's thread: runs until `stopped` is dropped or fires. Tells `ready` where the control endpoint listens.
pub(super) fn run(
    state: &Arc<State>,
    listen: SocketAddr,
    control: Option<SocketAddr>,
    tls: Arc<rustls::ServerConfig>,
    inbox: mpsc::UnboundedReceiver<Command>,
    ready: &std::sync::mpsc::Sender<Result<Option<SocketAddr>>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    runtime.block_on(async {
        let bound = async {
            let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
            state.bind(listener.local_addr()?)?;
            let control = match control {
                Some(address) => Some(control::start(address, Arc::clone(state)).await?),
                None => None,
            };
            Ok((listener, control))
        };
        match bound.await {
            Ok((listener, control)) => {
                let _ = ready.send(Ok(control));
                tokio::select! {
                    () = accept(state, listener, TlsAcceptor::from(tls), inbox) => {}
                    _ = stopped => {}
                }
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
    // Downloads that stand at a gate end with the server, not the other way round.
    runtime.shutdown_background();
}

async fn accept(
    state: &Arc<State>,
    listener: TcpListener,
    tls: TlsAcceptor,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) {
    let mut door = Door::Open(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Leave(done)) => {
                    let address = state.bound().address;
                    drop(door);
                    let held = hold(address);
                    connections.shutdown().await;
                    let outcome = held.as_ref().map(drop).map_err(|error| anyhow!("cannot keep {address}: {error}"));
                    door = held.map_or(Door::Gone, Door::Held);
                    let _ = done.send(outcome);
                }
                Some(Command::Return(done)) => {
                    let reopened = door.reopen(state.bound().address);
                    let outcome = reopened.as_ref().map(drop).map_err(|error| anyhow!("cannot listen again: {error}"));
                    door = reopened.map_or(Door::Gone, Door::Open);
                    let _ = done.send(outcome);
                }
                None => return,
            },
            accepted = door.next() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, tls.clone(), Arc::clone(state)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The port: open, held or lost.
enum Door {
    Open(TcpListener),
    /// Bound but not listening: connections are refused, and no other program gets the port meanwhile.
    Held(TcpSocket),
    Gone,
}

impl Door {
    fn reopen(self, address: SocketAddr) -> io::Result<TcpListener> {
        match self {
            Self::Open(listener) => Ok(listener),
            Self::Held(socket) => socket.listen(BACKLOG),
            Self::Gone => hold(address)?.listen(BACKLOG),
        }
    }

    async fn next(&self) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
        match self {
            Self::Open(listener) => listener.accept().await,
            Self::Held(_) | Self::Gone => std::future::pending().await,
        }
    }
}

fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn connection(stream: tokio::net::TcpStream, tls: TlsAcceptor, state: Arc<State>) {
    // Small answers to small requests: Nagle's algorithm would only make tests wait.
    let _ = stream.set_nodelay(true);
    if let Some(mended) = state.until_mended(|_, fault| fault == Fault::Mute) {
        return wait(mended).await;
    }
    let Ok(stream) = tls.accept(stream).await else { return };
    let mended = state.mended.subscribe();
    let ending = Mutex::new(Ending::Close);
    let service = service_fn(|request: Request<Incoming>| {
        let struck = struck(request.uri().path());
        let held = state.until_mended(|target, fault| fault == Fault::Unanswered && target.covers(struck));
        let (response, end) = respond(&request, &state);
        *ending.lock().unwrap_or_else(PoisonError::into_inner) = end;
        // The connection wants a future that may be moved.
        Box::pin(async {
            if let Some(mended) = held {
                wait(mended).await;
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is what several faults are made of.
    let _ = std::future::poll_fn(|context| served.poll_without_shutdown(context)).await;
    let mut stream = served.into_parts().io.into_inner();
    let ending = *ending.lock().unwrap_or_else(PoisonError::into_inner);
    match ending {
        Ending::Close => {
            let _ = stream.shutdown().await;
        }
        Ending::Cut => {}
        Ending::Reset => {
            let _ = stream.get_ref().0.set_zero_linger();
        }
        Ending::HalfClose => {
            // Of TCP, below TLS: no word of goodbye.
            let _ = stream.get_mut().0.shutdown().await;
            wait(mended).await;
        }
    }
}

/// Until the fault is taken away, or the lab ends.
async fn wait(mut mended: watch::Receiver<u64>) {
    let _ = mended.changed().await;
}

/// What becomes of a connection after its last answer.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Both sides say goodbye.
    Close,
    /// No goodbye in TLS.
    Cut,
    /// RST.
    Reset,
    /// FIN, and it stays so until the fault is taken away.
    HalfClose,
}

impl Ending {
    fn of(faults: &[Fault]) -> Self {
        let has = |fault: Fault| faults.contains(&fault);
        if has(Fault::Reset) {
            Self::Reset
        } else if has(Fault::HalfClosed) {
            Self::HalfClose
        } else if has(Fault::Truncated) || has(Fault::CutOnce) || has(Fault::ChangedMeanwhile) {
            Self::Cut
        } else {
            Self::Close
        }
    }
}

fn respond(request: &Request<Incoming>, state: &State) -> (Response<Body>, Ending) {
    let (response, ending) = answer(request, state).unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        (page(StatusCode::INTERNAL_SERVER_ERROR, "The lab upstream itself failed."), Ending::Close)
    });
    let mut inner = state.inner();
    if inner.log.len() >= MAX_LOGGED {
        inner.log.remove(0);
    }
    let logged = LoggedRequest::new(request, response.status().as_u16());
    tracing::info!(method = %logged.method, path = %logged.path, status = logged.status, "request");
    inner.log.push(logged);
    (response, ending)
}

fn answer(request: &Request<Incoming>, state: &State) -> Result<(Response<Body>, Ending)> {
    let path = request.uri().path();
    let mut inner = state.inner();
    if let Some(raw) = inner.raw.get(path) {
        return Ok((raw_answer(raw)?, Ending::Close));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, "The feed is read only.");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok((refused, Ending::Close));
    }
    let struck = struck(path);
    let active: Vec<Fault> =
        inner.faults.iter().filter(|(target, _)| target.covers(struck)).map(|(_, fault)| *fault).collect();
    if let Some(instead) = active.iter().rev().find_map(|fault| instead_of_content(*fault, &state.bound().base, path)) {
        return Ok((instead, Ending::Close));
    }
    if let Content::Captured(captured) = &inner.content {
        let place = request.uri().path_and_query().map_or(path, |place| place.as_str());
        let pace = if active.contains(&Fault::Slow) { Pace::SLOW } else { Pace::Full };
        let gate = inner.gates.iter().find(|gate| gate.blocks(path)).cloned();
        let hold = gate.map(|gate| (gate.after(), Hold::Gate(gate)));
        let delivery = Delivery { cut_at: None, hold, pace };
        let answer = captured.answer(place, request.headers(), &state.bound().base, delivery)?;
        let answer =
            answer.unwrap_or_else(|| page(StatusCode::NOT_FOUND, "The requested URL was not found on this server."));
        return Ok((answer, Ending::Close));
    }
    let Some(mut resource) = inner.content.find(path, &state.bound().base, &inner.faults)? else {
        return Ok((page(StatusCode::NOT_FOUND, "The requested URL was not found on this server."), Ending::Close));
    };
    let gate = inner.gates.iter().find(|gate| gate.blocks(path)).cloned();
    let once = active.contains(&Fault::CutOnce) || active.contains(&Fault::ChangedMeanwhile);
    let cut_now = once && inner.cut.insert(path.to_owned());
    if active.contains(&Fault::ChangedMeanwhile) && !cut_now {
        resource.etag = resource.etag.replacen('"', "\"later-", 1);
    }
    // Subscribed while the faults are locked, so that a stalled download wakes from the very mending that ends it.
    let delivery = delivery(&active, &resource, gate, cut_now, state);
    drop(inner);
    Ok((file(request, resource, delivery, &active)?, Ending::of(&active)))
}

/// The answers that have nothing to do with what is served.
fn instead_of_content(fault: Fault, base: &Url, path: &str) -> Option<Response<Body>> {
    let moved = |scheme: &str, host: &str| {
        let port = base.port().map_or_else(String::new, |port| format!(":{port}"));
        let mut moved = page(StatusCode::FOUND, "The document has moved.");
        // A path of a request that hyper took is one of a header too.
        let location = HeaderValue::from_str(&format!("{scheme}://{host}{port}{path}")).ok()?;
        moved.headers_mut().insert(header::LOCATION, location);
        Some(moved)
    };
    let host = base.host_str().unwrap_or_default();
    match fault {
        Fault::RedirectLoop => moved("https", host),
        Fault::RedirectToHttp => moved("http", host),
        Fault::RedirectElsewhere => moved("https", "elsewhere.example"),
        Fault::NotFound => Some(page(StatusCode::NOT_FOUND, "The requested URL was not found on this server.")),
        Fault::ServerError => Some(page(StatusCode::INTERNAL_SERVER_ERROR, "An error occurred. Reference #30.1.")),
        Fault::RateLimited => {
            let mut limited = page(StatusCode::TOO_MANY_REQUESTS, "Too many requests.");
            limited.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("120"));
            Some(limited)
        }
        Fault::HtmlPage => Some(page(StatusCode::OK, "Please log in to continue.")),
        Fault::Away
        | Fault::Mute
        | Fault::Unanswered
        | Fault::HalfClosed
        | Fault::Reset
        | Fault::CutOnce
        | Fault::ChangedMeanwhile
        | Fault::LengthTooLong
        | Fault::LengthTooShort
        | Fault::Chunked
        | Fault::GzipEncoded
        | Fault::Trickle
        | Fault::Truncated
        | Fault::WrongChecksum
        | Fault::Stalled
        | Fault::Slow
        | Fault::TenGigabytes
        | Fault::GzipBomb
        | Fault::TenThousandEntries
        | Fault::UndefinedEntity
        | Fault::BillionLaughs
        | Fault::TraversalLocator
        | Fault::ForeignHost => None,
    }
}

fn delivery(active: &[Fault], resource: &Resource, gate: Option<Gate>, cut_now: bool, state: &State) -> Delivery {
    let (length, has) = (resource.source.length(), |fault: Fault| active.contains(&fault));
    let half = length / 2;
    let gate = gate.map(|gate| (gate.after(), Hold::Gate(gate)));
    let stall = active.contains(&Fault::Stalled).then(|| (half, Hold::UntilMended(state.mended.subscribe())));
    Delivery {
        cut_at: if cut_now || has(Fault::Truncated) || has(Fault::HalfClosed) || has(Fault::Reset) {
            Some(half)
        } else {
            has(Fault::LengthTooLong).then_some(length)
        },
        hold: gate.or(stall),
        pace: if has(Fault::Trickle) {
            Pace::TRICKLE
        } else if has(Fault::Slow) {
            Pace::SLOW
        } else {
            Pace::Full
        },
    }
}

fn file(
    request: &Request<Incoming>,
    mut resource: Resource,
    delivery: Delivery,
    active: &[Fault],
) -> Result<Response<Body>> {
    resource.source = match resource.source {
        Source::Bytes(bytes) if active.contains(&Fault::LengthTooLong) => {
            // Rounded up, so that even a small file misses a byte.
            let announced = bytes.len() as u64 + bytes.len() as u64 / 10 + 1;
            Source::Padded(bytes, announced)
        }
        Source::Bytes(bytes) if active.contains(&Fault::LengthTooShort) => {
            Source::Bytes(bytes.slice(..bytes.len() - bytes.len() / 10 - 1))
        }
        source @ (Source::Bytes(_) | Source::File(..) | Source::Padded(..)) => source,
    };
    let length = resource.source.length();
    let response = Response::builder()
        .header(header::ETAG, &resource.etag)
        .header(header::LAST_MODIFIED, http_date_of(resource.modified))
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::SERVER, "Apache");
    let answer = decide(request.headers(), &resource.etag, resource.modified, length);
    let (start, end) = match answer {
        Answer::NotModified => return Ok(response.status(StatusCode::NOT_MODIFIED).body(full(""))?),
        Answer::OutOfRange => {
            let range = format!("bytes */{length}");
            let response = response.status(StatusCode::RANGE_NOT_SATISFIABLE).header(header::CONTENT_RANGE, range);
            return Ok(response.body(full(""))?);
        }
        Answer::Whole => (0, length),
        Answer::Part { start, end } => (start, end),
    };
    let response = if let Answer::Part { .. } = answer {
        let range = format!("bytes {start}-{}/{length}", end - 1);
        response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range)
    } else {
        response.status(StatusCode::OK)
    };
    let mut response = response.header(header::CONTENT_TYPE, resource.content_type);
    if let Some(encoding) = resource.encoding {
        response = response.header(header::CONTENT_ENCODING, encoding);
    }
    if !active.contains(&Fault::Chunked) {
        response = response.header(header::CONTENT_LENGTH, end - start);
    }
    let body = if request.method() == Method::HEAD { full("") } else { sent(resource.source, start, end, delivery) };
    Ok(response.body(body)?)
}

fn raw_answer(raw: &Raw) -> Result<Response<Body>> {
    let mut response = Response::builder().status(raw.status);
    for (name, value) in &raw.headers {
        response = response.header(name, value);
    }
    let length = raw
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse::<u64>().ok())
        .unwrap_or(raw.body.len() as u64);
    let announced = raw.body.len() as u64;
    if length <= announced {
        return Ok(response.body(full(raw.body.clone()))?);
    }
    // More announced than there is: what there is, then the end of the connection.
    let source = Source::Padded(raw.body.clone().into(), length);
    Ok(response.body(sent(source, 0, length, Delivery { cut_at: Some(announced), ..Delivery::default() }))?)
}

/// A page as web servers show it to people.
fn page(status: StatusCode, sentence: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let html = format!(
        "<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body><h1>{title}</h1><p>{sentence}</p></body></html>\n"
    );
    let mut response = Response::new(full(html));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}
