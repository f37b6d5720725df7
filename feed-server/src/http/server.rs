//! Listening: addresses, TLS, limits, middleware, and an end that lets answers finish.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{RequestHead, ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App as Application, Error, HttpServer, ResponseError as _, web};
use bundles::{Reason, Reasoned};
use jiff::Timestamp;
use tokio::task::JoinHandle;
use url::Url;

use super::auth::{Door, Peer};
use super::clients::Clients;
use super::errors::Problem;
use super::transport::{Connections, SHUTDOWN_SECONDS, Terms};
use super::{MAX_HEAD_BYTES, MAX_TARGET_BYTES, api, connections, console, content, errors, measure, tls, transport};
use crate::app::App;
use crate::app::certificate::{CertificateError, ServerCertificate};
use crate::config;

/// Who scrapes, and who probes, with those that they forgot to close.
const MONITORING_CONNECTIONS: usize = 128;

/// Nothing that is sent to routes without a limit of their own is kept.
const MAX_BODY_BYTES: usize = 64 << 10;

const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

/// Where it is answered by TLS, a browser that has been here once asks in no other way for a year, so that nobody in between can
/// talk it out of that. Names below this one are somebody else's.
const TRANSPORT_SECURITY: (&str, &str) = ("strict-transport-security", "max-age=31536000");

/// Why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; check [listen], and whether another program has the port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The certificate cannot be presented.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// There is nobody to vouch for clients.
    #[error("[listen] client_ca cannot be used")]
    ClientCa(#[source] certs::AnchorError),
    /// They cannot be asked.
    #[error("clients cannot be asked for certificates")]
    Clients(#[source] certs::ClientVerifierError),
    /// There is no TLS.
    #[error("cannot answer by TLS")]
    Tls(#[source] rustls::Error),
    /// A bound listener does not work.
    #[error("cannot start to listen")]
    Start(#[source] io::Error),
}

impl Reasoned for ServerError {
    fn reason(&self) -> Reason {
        match self {
            Self::Bind { .. } | Self::ClientCa(_) => Reason::BadRequest,
            Self::Certificate(error) => error.reason(),
            Self::Clients(_) | Self::Tls(_) | Self::Start(_) => Reason::Internal,
        }
    }
}

/// Listeners that are open and do not answer yet: so the port is known before anything is published under it.
#[derive(Debug)]
pub struct Bound {
    public: TcpListener,
    monitoring: Option<TcpListener>,
    certificate: Option<Arc<ServerCertificate>>,
    clients: Clients,
    /// Where the public listener is.
    pub address: SocketAddr,
    /// Where the monitoring listener is, if it is one of its own.
    pub monitoring_address: Option<SocketAddr>,
}

impl Bound {
    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    /// The certificate that the public listener presents, where it answers by TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&Arc<ServerCertificate>> {
        self.certificate.as_ref()
    }

    /// The address as a URL; a wildcard stands for this machine.
    #[must_use]
    pub fn url(&self) -> Option<Url> {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Url::parse(&format!("{}://{}/", self.scheme(), SocketAddr::new(ip, self.address.port()))).ok()
    }
}

/// Opens the listeners of a configuration.
///
/// # Errors
/// An address cannot be listened on, or the TLS files are none.
pub fn bind(listen: &config::Listen, now: Timestamp) -> Result<Bound, ServerError> {
    let open = |address: SocketAddr| -> Result<(TcpListener, SocketAddr), ServerError> {
        let open = || TcpListener::bind(address).and_then(|listener| listener.local_addr().map(|at| (listener, at)));
        open().map_err(|source| ServerError::Bind { address, source })
    };
    let certificate = listen.tls.as_ref().map(|files| ServerCertificate::open(files, now)).transpose()?.map(Arc::new);
    let clients = Clients::of(listen.client_ca.as_deref())?;
    let (public, address) = open(listen.address)?;
    let (monitoring, monitoring_address) = listen.metrics_address.map(open).transpose()?.unzip();
    Ok(Bound { public, monitoring, certificate, clients, address, monitoring_address })
}

/// Servers that answer.
#[derive(Debug, Default)]
pub struct Servers(Vec<(ServerHandle, JoinHandle<io::Result<()>>)>);

impl Servers {
    /// Starts to answer on the public listeners, within as many open files as there may be.
    ///
    /// # Errors
    /// A listener does not work.
    pub fn serve(&mut self, app: &Arc<App>, bound: Bound, open_files: Option<u64>) -> Result<(), ServerError> {
        let with_monitoring = bound.monitoring.is_none();
        let data = web::Data::from(Arc::clone(app));
        let clients = bound.clients.clone();
        let is_tls = bound.certificate.is_some();
        let limit = connections::at_most(app.config.listen.connections, open_files);
        let ended = &app.metrics.connections;
        let seeing = Arc::clone(app);
        let open = Connections::new(limit, Terms::new(), ended, "public");
        let open = open.telling(move |from, alert| seeing.ise.alerted(from, alert, seeing.now()));
        let open = Arc::new(open);
        let tls = bound
            .certificate
            .map(|certificate| tls::config(certificate, &bound.clients).map_err(ServerError::Tls))
            .transpose()?;
        let server = transport::serve(bound.public, None, tls, &open, move || {
            let data = data.clone();
            let application = Application::new()
                .app_data(web::Data::from(Arc::clone(&data.published)))
                .app_data(web::Data::from(Arc::clone(&data.prepared)))
                .app_data(data)
                .app_data(Door::Network)
                .app_data(clients.clone())
                .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
                .wrap(from_fn(move |request, next| guard(request, next, is_tls)))
                .wrap(from_fn(measure::measure))
                .configure(api::configure)
                .configure(content::configure)
                .configure(console::configure);
            let application =
                if with_monitoring { application.configure(api::monitoring::configure) } else { application };
            application.default_service(web::to(errors::no_such_route))
        });
        self.start(server.map_err(ServerError::Start)?);

        if let Some(listener) = bound.monitoring {
            let data = web::Data::from(Arc::clone(app));
            let limit = connections::at_most(MONITORING_CONNECTIONS, open_files);
            let open = Arc::new(Connections::new(limit, Terms::new(), ended, "monitoring"));
            let server = transport::serve(listener, Some(1), None, &open, move || {
                Application::new()
                    .app_data(data.clone())
                    .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
                    .wrap(from_fn(|request, next| guard(request, next, false)))
                    .wrap(from_fn(measure::measure))
                    .configure(api::monitoring::configure)
                    .default_service(web::to(errors::no_such_route))
            });
            self.start(server.map_err(ServerError::Start)?);
        }
        Ok(())
    }

    /// Starts to answer on the control socket: everything, for whoever can open it.
    ///
    /// # Errors
    /// The listener does not work.
    pub fn serve_control(&mut self, app: &Arc<App>, listener: UnixListener) -> Result<(), ServerError> {
        let data = web::Data::from(Arc::clone(app));
        let server = HttpServer::new(move || {
            let data = data.clone();
            Application::new()
                .app_data(web::Data::from(Arc::clone(&data.published)))
                .app_data(web::Data::from(Arc::clone(&data.prepared)))
                .app_data(data)
                .app_data(Door::Control)
                .configure(api::configure)
                .configure(api::monitoring::configure)
                .configure(content::configure)
                .default_service(web::to(errors::no_such_route))
        })
        .on_connect(|connection, data| {
            if let Some(peer) = Peer::of(connection) {
                data.insert(peer);
            }
        })
        .workers(1)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen_uds(listener);
        self.start(server.map_err(ServerError::Start)?.run());
        Ok(())
    }

    /// Takes no more connections, lets answers finish, and ends.
    pub async fn stop(self) {
        let handles: Vec<_> = self.0.iter().map(|(handle, _)| handle.clone()).collect();
        futures_util::future::join_all(handles.iter().map(|handle| handle.stop(true))).await;
        for (_, task) in self.0 {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a listener did not end well"),
                Err(error) => tracing::warn!(%error, "a listener's task did not end well"),
            }
        }
    }

    fn start(&mut self, server: actix_web::dev::Server) {
        let handle = server.handle();
        self.0.push((handle, tokio::spawn(server)));
    }
}

/// Heads that are larger than any of ours are refused before anything looks at them, and answers say what a browser must not do.
///
/// What is served is data, and never to be run or framed by a browser; the console's pages say for themselves what they may. What headends fetch is of no type that a browser runs,
/// and every byte of its answers is fetched some thousand times a day; there none of these headers is needed. Zips and their
/// sheets are for people, and need the first one.
async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    is_tls: bool,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (wanted, is_content) = match request.path() {
        path if path.starts_with("/repo/") => (&SECURITY_HEADERS[..0], true),
        path if path.starts_with("/offline/") => (&SECURITY_HEADERS[..1], true),
        _ => (&SECURITY_HEADERS[..], false),
    };
    let mut response = match too_large(request.head()) {
        Some(problem) => {
            let mut response = problem.error_response();
            // Who sends such heads sends more of them.
            response.head_mut().set_connection_type(ConnectionType::Close);
            request.into_response(response)
        }
        None => next.call(request).await?.map_into_boxed_body(),
    };
    // Some parts of actix-web have errors of their own, such as for a body that is read whole.
    if errors::is_foreign(response.response()) {
        let problem = Problem::of_status(response.status());
        response = response.map_body(|head, _| {
            let answer = problem.error_response();
            head.headers = answer.headers().clone();
            answer.into_body()
        });
    }
    // Nor does anybody run or frame what is not there: a report is answered with nothing.
    if response.status() == StatusCode::NO_CONTENT {
        return Ok(response);
    }
    let transport = (is_tls && !is_content).then_some(&TRANSPORT_SECURITY);
    for (name, value) in wanted.iter().chain(transport) {
        let name = HeaderName::from_static(name);
        if !response.headers().contains_key(&name) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(response)
}

/// What is too large of a head, if anything is. HTTP/1 has taken 128 KiB and 96 headers at most before, and HTTP/2 no more than this.
fn too_large(head: &RequestHead) -> Option<Problem> {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        let detail = format!("the address has more than {MAX_TARGET_BYTES} bytes");
        return Some(Problem::with_status(StatusCode::URI_TOO_LONG, Reason::TooLarge, detail));
    }
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    (headers > MAX_HEAD_BYTES).then(|| {
        let detail = format!("the headers have more than {MAX_HEAD_BYTES} bytes");
        Problem::with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Reason::TooLarge, detail)
    })
}
