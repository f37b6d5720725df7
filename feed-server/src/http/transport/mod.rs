//! Connections: who gets one, how long it may take over what, and which protocol is spoken on it.
//!
//! actix-web's `HttpServer` has no limit on how slowly a client reads or sends a body, none on the streams and heads of an HTTP/2
//! connection, and leaves a second head all the time that it wants. So its parts are put together here instead: actix-server's
//! workers, actix-http's HTTP/1, the `h2` crate, and between them and the socket a `Line` that keeps time.

mod body;
mod connection;
mod h2;
mod line;
mod patience;
mod service;
#[cfg(test)]
mod tests;

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{HttpServiceBuilder, KeepAlive, Request};
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service, map_config,
};
use actix_web::Error;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::{HttpMessage as _, HttpRequest};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub use connection::{Connections, Ended};
pub use patience::Patience;

use self::body::Tracked;
use self::connection::Connection;
use self::line::{Line, Spoken};
use self::service::Served;
use crate::clock;

/// How long what may take on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// A TLS handshake takes two round trips; satellites need a second for each.
    pub handshake: Duration,
    /// A client that does not send its request's head within this is holding a connection for nothing (slow loris).
    pub head: Duration,
    /// Proxies keep connections for a minute; being the first to close makes them fail requests.
    pub keep_alive: Duration,
    /// How long a body may come slower than [`RATE`] in all: what a satellite or a busy disk on the other side takes at once.
    pub body: Duration,
    /// How long an answer may be taken slower than [`RATE`] in all. A client that applies an update while it reads pauses.
    pub answer: Duration,
}

/// Bytes a second that are too few for a client to be worth a connection. The slowest lines that headends have are satellites'
/// and radio's, of some kilobytes a second.
pub const RATE: u32 = 1 << 10;

/// How long an early answer waits for the rest of the request that it is the answer to.
const LINGER: Duration = Duration::from_secs(1);

/// How long answers may take to finish once the server is told to stop. Below the ten seconds after which container
/// engines kill.
pub const SHUTDOWN_SECONDS: u64 = 8;

/// Less is no time for any client on a busy machine.
const SHORTEST: Duration = Duration::from_secs(1);

impl Terms {
    /// Those of the program.
    #[must_use]
    pub fn new() -> Self {
        Self {
            // However much tests shorten patience: these are about what any client does.
            handshake: clock::patience(Duration::from_secs(10)).max(SHORTEST),
            head: clock::patience(Duration::from_secs(10)).max(SHORTEST),
            keep_alive: clock::patience(Duration::from_secs(75)),
            body: clock::patience(Duration::from_secs(20)),
            answer: clock::patience(Duration::from_mins(1)),
        }
    }

    /// How long a connection may be open with no request on it, counted from the end of the last one. Ends those that keep
    /// [`Terms::keep_alive`] from counting, such as by half a head.
    fn idle(&self) -> Duration {
        self.keep_alive + self.head
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::new()
    }
}

/// The certificates that were shown in the handshake of the request's connection, the leaf first.
#[must_use]
pub fn shown(request: &HttpRequest) -> Option<Vec<CertificateDer<'static>>> {
    // HTTP/1 keeps it with the connection, HTTP/2 with the request.
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let connection = connection.or_else(|| request.extensions().get::<Arc<Connection>>().cloned())?;
    connection.shown.get().cloned()
}

/// A server on a listener, with as many workers as that, which runs once it is awaited.
///
/// # Errors
/// The listener does not work.
pub fn serve<F, I, S, B>(
    listener: TcpListener,
    workers: Option<usize>,
    tls: Option<rustls::ServerConfig>,
    connections: &Arc<Connections>,
    application: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::InitError: std::fmt::Debug,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let acceptor = tls.map(|mut tls| {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(tls))
    });
    let address = listener.local_addr()?;
    // Who gets a connection is decided by `Connections`, for all workers together.
    let builder =
        Server::build().max_concurrent_connections(usize::MAX).shutdown_timeout(SHUTDOWN_SECONDS).disable_signals();
    let builder = if let Some(workers) = workers { builder.workers(workers) } else { builder };
    let stopping = builder.graceful_shutdown_signal();
    let connections = Arc::clone(connections);
    let factory = move || {
        let (acceptor, connections, stopping) = (acceptor.clone(), Arc::clone(&connections), stopping.clone());
        let application = map_config(application().into_factory(), |()| AppConfig::default());
        let application = application.map_init_err(|error| tracing::error!(?error, "the routes cannot be set up"));
        let application = Rc::new(application);
        fn_factory(move || {
            let (acceptor, connections, stopping) = (acceptor.clone(), Arc::clone(&connections), stopping.clone());
            let application = Rc::clone(&application);
            async move {
                let served = Rc::new(Served::new(application.new_service(()).await?, Arc::clone(&connections)));
                let terms = connections.terms;
                let signal = stopping.clone();
                let shared = Rc::clone(&served);
                let http1 = HttpServiceBuilder::<Spoken, _>::default()
                    .graceful_shutdown_signal(move || {
                        let signal = signal.clone();
                        async move { signal.notified().await }
                    })
                    .keep_alive(KeepAlive::Timeout(terms.keep_alive))
                    .client_request_timeout(terms.head)
                    .client_disconnect_timeout(LINGER)
                    .on_connect_ext(|spoken: &Spoken, data| {
                        data.insert(Arc::clone(spoken.connection()));
                    })
                    .h1::<_, Tracked>(fn_factory(move || std::future::ready(Ok::<_, ()>(Rc::clone(&shared)))));
                let http1 = Rc::new(http1.new_service(()).await?);
                Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                    let (acceptor, connections, stopping) =
                        (acceptor.clone(), Arc::clone(&connections), stopping.clone());
                    let (served, http1) = (Rc::clone(&served), Rc::clone(&http1));
                    async move {
                        // Small answers go out as they are written.
                        let _ = stream.set_nodelay(true);
                        let peer = stream.peer_addr().ok();
                        let Some(line) = Line::open(stream, &connections) else { return Ok::<_, ()>(()) };
                        let opened = Arc::clone(line.connection());
                        let spoken = match acceptor {
                            None => Spoken::Plain(line),
                            Some(acceptor) => match timeout(terms.handshake, acceptor.accept(line)).await {
                                Ok(Ok(stream)) => Spoken::tls(stream),
                                Ok(Err(error)) => {
                                    tracing::trace!(%error, "a TLS handshake failed");
                                    connections.note_handshake(peer, &opened, &error);
                                    return Ok(());
                                }
                                Err(_) => {
                                    connections.note(Ended::SlowHead);
                                    return Ok(());
                                }
                            },
                        };
                        if spoken.is_http2() {
                            h2::serve(spoken, peer, served, terms, stopping).await;
                        } else if let Err(error) = http1.call((spoken, peer)).await {
                            tracing::trace!(%error, "a connection ended");
                        }
                        Ok(())
                    }
                }))
            }
        })
    };
    Ok(builder.listen(format!("http {address}"), listener, factory)?.run())
}
