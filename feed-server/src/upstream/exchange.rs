//! Requests and the heads of their answers, over connections that are kept as long as they last.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT_ENCODING, HOST, HeaderMap, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use url::{Position, Url};

use super::dial::{Dialer, HTTPS_PORT, Target};
use super::hosts::shown;
use super::watch::Step;
use super::{Hosts, UpstreamError, head};

/// A login page that redirects to itself must end; sensible moves take one or two.
const MAX_REDIRECTS: usize = 5;

/// Of an answer's head. Content networks send some forty; a thousand would be meant to keep us busy.
const MAX_HEADERS: usize = 128;

/// Bytes of an answer's head: twice what the largest common servers send at most.
const MAX_HEAD: usize = 64 << 10;

/// Bytes that wait between the network and whoever reads. A piece is at most this long, which bounds memory.
const MAX_BUFFER: usize = 400 << 10;

/// A body that nobody reads is taken off the connection up to here, so that the connection can be used again: cheaper
/// than another handshake.
const MAX_UNREAD: u64 = 16 << 10;

/// Connections that are kept for later. Two archives are under way at once, on two or three hosts.
const MAX_IDLE: usize = 8;

/// A connection whose answer was read to its end says at once whether it can be used again.
const READY: Duration = Duration::from_secs(1);

type Sender = SendRequest<Empty<Bytes>>;

/// Asks, through whatever connection there is.
pub(super) struct Exchange {
    pub(super) dialer: Dialer,
    pub(super) hosts: Hosts,
    idle: Mutex<Vec<Connection>>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// A connection to a host.
#[derive(Debug)]
pub(super) struct Connection {
    target: Target,
    sender: Sender,
    proxy: Option<String>,
    tls: String,
}

/// A redirect that was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// What was asked for.
    pub from: Url,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where it points.
    pub to: Url,
}

/// The head of an answer, and the connection over which its body comes.
pub(super) struct Answered {
    pub(super) response: Response<Incoming>,
    pub(super) connection: Connection,
    /// What was asked for in the end.
    pub(super) url: Url,
    pub(super) redirects: Vec<Redirect>,
}

impl Exchange {
    pub(super) fn new(dialer: Dialer, hosts: Hosts) -> Self {
        Self { dialer, hosts, idle: Mutex::default() }
    }

    /// Asks for a URL and for where it redirects to, as long as that is allowed.
    pub(super) async fn follow(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Answered, UpstreamError> {
        self.hosts.allow(url)?;
        let mut url = url.clone();
        let mut redirects = Vec::new();
        loop {
            let (response, connection) = self.ask(&method, &url, headers).await?;
            let Some(to) = redirect(&response, &url)? else {
                return Ok(Answered { response, connection, url, redirects });
            };
            if redirects.len() >= MAX_REDIRECTS {
                return Err(UpstreamError::Redirects { url: shown(&to) });
            }
            self.hosts.allow(&to)?;
            redirects.push(Redirect { from: url, status: response.status().as_u16(), to: to.clone() });
            self.drain(response, connection).await;
            url = to;
        }
    }

    /// One request, over a connection that is there or a new one.
    async fn ask(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<(Response<Incoming>, Connection), UpstreamError> {
        let target = target(url)?;
        while let Some(connection) = self.idle(&target).await {
            match self.send(connection, method, url, headers).await {
                // The server gave up the connection as it was about to be used (RFC 9112, section 9.3.1).
                Err(UpstreamError::Broken { .. }) => {}
                answered => return answered,
            }
        }
        let connection = self.connect(target).await?;
        self.send(connection, method, url, headers).await
    }

    /// A new connection.
    pub(super) async fn connect(&self, target: Target) -> Result<Connection, UpstreamError> {
        let dialed = self.dialer.dial(&target).await?;
        let mut builder = http1::Builder::new();
        builder.max_headers(MAX_HEADERS).max_header_size(MAX_HEAD).max_buf_size(MAX_BUFFER);
        let (sender, driver) =
            builder.handshake(TokioIo::new(dialed.io)).await.map_err(|error| failed(&target, &error))?;
        // Ends by itself when both the sender and the body are gone. Its error comes to whoever waits for an answer.
        tokio::spawn(driver);
        Ok(Connection { target, sender, proxy: dialed.proxy, tls: dialed.tls })
    }

    async fn send(
        &self,
        mut connection: Connection,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<(Response<Incoming>, Connection), UpstreamError> {
        let started = Instant::now();
        let target = &connection.target;
        let request = self.request(method, url, headers, target)?;
        let limit = self.dialer.timeouts.first_byte;
        let response = tokio::time::timeout(limit, connection.sender.send_request(request))
            .await
            .map_err(|_| UpstreamError::Timeout { host: target.shown(), act: "answer", limit, step: Step::Http })?
            .map_err(|error| failed(target, &error))?;
        let detail = head::seen(response.status(), response.version(), response.headers());
        self.dialer.saw(Step::Http, shown(url), detail, started.elapsed());
        Ok((response, connection))
    }

    fn request(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        target: &Target,
    ) -> Result<Request<Empty<Bytes>>, UpstreamError> {
        let unsendable = |source: hyper::http::Error| UpstreamError::Unsendable { url: shown(url), source };
        let mut request = Request::builder()
            .method(method.clone())
            .uri(&url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, target.shown())
            .header(USER_AGENT, self.dialer.user_agent.clone())
            // Digests are of upstream's own bytes, so nothing else is asked for.
            .header(ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(unsendable)?;
        request.headers_mut().extend(headers.clone());
        Ok(request)
    }

    /// A connection to there that is not in use.
    async fn idle(&self, target: &Target) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut idle = self.lock();
                let position = idle.iter().rposition(|connection| connection.target == *target)?;
                idle.swap_remove(position)
            };
            if let Ok(Ok(())) = tokio::time::timeout(READY, connection.sender.ready()).await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.lock();
        idle.retain(|connection| !connection.sender.is_closed());
        if idle.len() < MAX_IDLE && !connection.sender.is_closed() {
            idle.push(connection);
        }
    }

    /// Keeps a connection if what is left on it is little.
    pub(super) async fn drain(&self, response: Response<Incoming>, connection: Connection) {
        let mut body = response.into_body();
        if body.size_hint().upper().is_none_or(|length| length > MAX_UNREAD) {
            return;
        }
        let drained = async {
            while let Some(frame) = body.frame().await {
                frame?;
            }
            Ok::<(), hyper::Error>(())
        };
        if let Ok(Ok(())) = tokio::time::timeout(self.dialer.timeouts.stall, drained).await {
            self.keep(connection);
        }
    }

    /// A panic elsewhere while the lock was held leaves a list that is whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// The proxy that it leads through.
    pub(super) fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// TLS version, cipher suite and key exchange.
    pub(super) fn tls(&self) -> &str {
        &self.tls
    }

    /// Whom it leads to, for messages.
    pub(super) fn shown(&self) -> String {
        self.target.shown()
    }
}

/// Whom a URL's request goes to.
fn target(url: &Url) -> Result<Target, UpstreamError> {
    let host = url.host_str().ok_or_else(|| UpstreamError::Insecure { url: shown(url) })?;
    Ok(Target::new(host, url.port_or_known_default().unwrap_or(HTTPS_PORT)))
}

/// Where an answer says to go instead (RFC 9110, section 15.4). Others of the 300s are answers as they are.
fn redirect(response: &Response<Incoming>, url: &Url) -> Result<Option<Url>, UpstreamError> {
    let status = response.status();
    let is_redirect = matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect) else { return Ok(None) };
    let to = location.to_str().ok().and_then(|location| url.join(location).ok());
    to.map(Some).ok_or_else(|| UpstreamError::Location { url: shown(url), status })
}

/// What a request without an answer stands for.
fn failed(target: &Target, error: &hyper::Error) -> UpstreamError {
    if let Some(failure) = certs::failure_in(error) {
        return UpstreamError::Tls { host: target.shown(), failure };
    }
    let source = super::error::innermost(error).into();
    if error.is_parse() || error.is_user() {
        UpstreamError::NoAnswer { host: target.shown(), source }
    } else {
        UpstreamError::Broken { host: target.shown(), step: Step::Http, source }
    }
}
