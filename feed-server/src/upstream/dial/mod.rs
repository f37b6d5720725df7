//! A connection to a host, step by step: DNS, TCP, TLS to the proxy, CONNECT, TLS. Each step has its own file, its own
//! patience and its own errors, and tells the [`Watch`] what it saw.
//!
//! The steps are taken here and not by an HTTP library, since what people need to know when one fails (the status and
//! the offers of a proxy that refuses, whose TLS it was that failed) is what libraries keep to themselves.

mod connect;
mod tcp;
mod tls;

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use certs::PinnedVerifier;
use hyper::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use self::connect::Standing;
use super::UpstreamError;
use super::proxy::{Proxies, Proxy};
use super::vendor::{Setup, Timeouts};
use super::watch::{Seen, Step, Watch};

/// Bytes both ways, whatever they pass through.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Where a connection leads, as URLs write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Target {
    /// IPv6 addresses may come with or without their brackets.
    pub(super) fn new(host: &str, port: u16) -> Self {
        let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
        Self { host, port }
    }

    /// `host:port`, as CONNECT wants it.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// As messages and `Host` have it: without the port where that is the one of https.
    pub(super) fn shown(&self) -> String {
        if self.port == HTTPS_PORT { self.host.clone() } else { self.authority() }
    }

    /// Without the brackets that URLs put around IPv6 addresses: for resolvers and certificates.
    pub(super) fn bare(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }
}

pub(super) const HTTPS_PORT: u16 = 443;

/// A connection over which HTTP can be spoken.
pub(super) struct Dialed {
    pub(super) io: Box<dyn Io>,
    /// Through which proxy.
    pub(super) proxy: Option<String>,
    /// TLS version, cipher suite and key exchange towards the host.
    pub(super) tls: String,
}

/// Makes connections.
pub(super) struct Dialer {
    pub(super) timeouts: Timeouts,
    pub(super) watch: Arc<dyn Watch>,
    pub(super) verifier: Arc<PinnedVerifier>,
    pub(super) proxies: Proxies,
    pub(super) user_agent: HeaderValue,
    tls: TlsConnector,
    proxy_tls: Option<TlsConnector>,
    standing: Mutex<Standing>,
}

impl Dialer {
    pub(super) fn new(setup: Setup, verifier: Arc<PinnedVerifier>, proxies: Proxies, user_agent: HeaderValue) -> Self {
        Self {
            timeouts: setup.timeouts,
            watch: setup.watch,
            tls: tls::connector(&verifier),
            verifier,
            proxy_tls: proxies.verifier().map(tls::connector),
            proxies,
            user_agent,
            standing: Mutex::default(),
        }
    }

    /// Every step up to TLS.
    pub(super) async fn dial(&self, target: &Target) -> Result<Dialed, UpstreamError> {
        let route = self.proxies.route(&target.host, target.port);
        let io = match route {
            Some(proxy) => self.tunnel(proxy, target).await?,
            None => Box::new(self.reach(target).await?),
        };
        let proxy = route.map(Proxy::authority);
        let (stream, tls) = self.secure(target, proxy.as_deref(), io).await?;
        Ok(Dialed { io: Box::new(stream), proxy, tls })
    }

    pub(super) fn saw(&self, step: Step, target: String, detail: String, took: Duration) {
        self.watch.seen(Seen { step, target, detail, took });
    }
}
