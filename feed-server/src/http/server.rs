//! Listening: addresses, TLS, limits, middleware, and an end that lets answers finish.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App as Application, Error, HttpServer, web};
use bundles::{Reason, Reasoned};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinHandle;
use url::Url;

use super::auth::{Door, Peer};
use super::{api, content, errors, measure};
use crate::app::App;
use crate::config;

/// A client that does not send its request's head within this is holding a connection for nothing (slow loris).
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Proxies keep connections for a minute; being the first to close makes them fail requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A TLS handshake takes two round trips; satellites need a second for each.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long answers may take to finish once the server is told to stop. Below the ten seconds after which container
/// engines kill.
const SHUTDOWN_SECONDS: u64 = 8;

/// Nothing that is sent to routes without a limit of their own is kept.
const MAX_BODY_BYTES: usize = 64 << 10;

const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

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
    /// A PEM file is none.
    #[error("cannot read {path} of [listen]; it must be a PEM file that this user may read")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// A PEM file holds something else.
    #[error("{path} of [listen] {key}: there is no {what} in it; write the path of a PEM file that holds one")]
    Lacks {
        /// The file.
        path: PathBuf,
        /// The configuration's key that names it.
        key: &'static str,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key do not serve.
    #[error("{certificate} and {key} of [listen] do not make a TLS server; check that they belong together")]
    Tls {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// A bound listener does not work.
    #[error("cannot start to listen")]
    Start(#[source] io::Error),
}

impl Reasoned for ServerError {
    fn reason(&self) -> Reason {
        match self {
            Self::Bind { .. } | Self::Pem { .. } | Self::Lacks { .. } | Self::Tls { .. } => Reason::BadRequest,
            Self::Start(_) => Reason::Internal,
        }
    }
}

/// Listeners that are open and do not answer yet: so the port is known before anything is published under it.
#[derive(Debug)]
pub struct Bound {
    public: TcpListener,
    monitoring: Option<TcpListener>,
    tls: Option<rustls::ServerConfig>,
    /// Where the public listener is.
    pub address: SocketAddr,
    /// Where the monitoring listener is, if it is one of its own.
    pub monitoring_address: Option<SocketAddr>,
}

impl Bound {
    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
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
pub fn bind(listen: &config::Listen) -> Result<Bound, ServerError> {
    let open = |address: SocketAddr| -> Result<(TcpListener, SocketAddr), ServerError> {
        let open = || TcpListener::bind(address).and_then(|listener| listener.local_addr().map(|at| (listener, at)));
        open().map_err(|source| ServerError::Bind { address, source })
    };
    let tls = listen.tls.as_ref().map(tls).transpose()?;
    let (public, address) = open(listen.address)?;
    let (monitoring, monitoring_address) = listen.metrics_address.map(open).transpose()?.unzip();
    Ok(Bound { public, monitoring, tls, address, monitoring_address })
}

/// The TLS of a configuration: 1.2 and 1.3, HTTP/2 where the client speaks it.
///
/// # Errors
/// The files are none, or do not belong together.
pub fn tls(files: &config::Tls) -> Result<rustls::ServerConfig, ServerError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        move |source| ServerError::Pem { path, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable(&files.certificate))?;
    let lacks = |path: &PathBuf, key, what| ServerError::Lacks { path: path.clone(), key, what };
    if chain.is_empty() {
        return Err(lacks(&files.certificate, "tls_certificate", "certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| match source {
        pem::Error::NoItemsFound => lacks(&files.key, "tls_key", "private key"),
        source => unreadable(&files.key)(source),
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| ServerError::Tls { certificate: files.certificate.clone(), key: files.key.clone(), source })
}

/// Servers that answer.
#[derive(Debug, Default)]
pub struct Servers(Vec<(ServerHandle, JoinHandle<io::Result<()>>)>);

impl Servers {
    /// Starts to answer on the public listeners.
    ///
    /// # Errors
    /// A listener does not work.
    pub fn serve(&mut self, app: &Arc<App>, bound: Bound) -> Result<(), ServerError> {
        let with_monitoring = bound.monitoring.is_none();
        let data = web::Data::from(Arc::clone(app));
        let server = HttpServer::new(move || {
            let data = data.clone();
            let application = Application::new()
                .app_data(web::Data::from(Arc::clone(&data.published)))
                .app_data(web::Data::from(Arc::clone(&data.prepared)))
                .app_data(data)
                .app_data(Door::Network)
                .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
                .wrap(from_fn(security_headers))
                .wrap(from_fn(measure::measure))
                .configure(api::configure)
                .configure(content::configure);
            let application =
                if with_monitoring { application.configure(api::monitoring::configure) } else { application };
            application.default_service(web::to(errors::no_such_route))
        })
        .tcp_nodelay(true)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
        let server = match bound.tls {
            Some(tls) => server.listen_rustls_0_23(bound.public, tls),
            None => server.listen(bound.public),
        };
        self.start(server.map_err(ServerError::Start)?.run());

        if let Some(listener) = bound.monitoring {
            let data = web::Data::from(Arc::clone(app));
            let server = HttpServer::new(move || {
                Application::new()
                    .app_data(data.clone())
                    .wrap(from_fn(security_headers))
                    .wrap(from_fn(measure::measure))
                    .configure(api::monitoring::configure)
                    .default_service(web::to(errors::no_such_route))
            })
            .workers(1)
            .tcp_nodelay(true)
            .client_request_timeout(HEAD_TIMEOUT)
            .shutdown_timeout(SHUTDOWN_SECONDS)
            .disable_signals()
            .listen(listener);
            self.start(server.map_err(ServerError::Start)?.run());
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

/// What is served is data, and never to be run or framed by a browser. What headends fetch is of no type that a browser runs,
/// and every byte of its answers is fetched some thousand times a day; there none of these headers is needed. Zips and their
/// sheets are for people, and need the first one.
async fn security_headers(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let wanted = match request.path() {
        path if path.starts_with("/repo/") => &SECURITY_HEADERS[..0],
        path if path.starts_with("/offline/") => &SECURITY_HEADERS[..1],
        _ => &SECURITY_HEADERS[..],
    };
    let mut response = next.call(request).await?;
    // Nor does anybody run or frame what is not there: a report is answered with nothing.
    let wanted = if response.status() == StatusCode::NO_CONTENT { &[] } else { wanted };
    for (name, value) in wanted {
        let name = HeaderName::from_static(name);
        if !response.headers().contains_key(&name) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(response)
}
