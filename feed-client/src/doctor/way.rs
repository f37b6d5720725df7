//! The way to the server, step by step: what an HTTP library does in one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bundles::report::Failure;
use certs::PinnedVerifier;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::line::Notes;
use super::{ChainFacts, Check, Line, Mark, tunnel};
use crate::fetch::{CONNECT_TIMEOUT, FetchError, Head, Http, NameError, authority};
use crate::proxy::{self, Proxy};
use crate::repository::{Location, Side};

/// The way there.
pub(super) struct Way {
    pub(super) server: Url,
    pub(super) proxy: Option<Proxy>,
    /// Why `feed-client run` does not ask the proxy.
    pub(super) held: Option<String>,
    pub(super) verifier: Arc<PinnedVerifier>,
    pub(super) http: Http,
}

/// The line of the step that failed. Boxed: it holds a whole failure.
type Stop = Box<Line>;

impl Way {
    /// Takes each step, and notes it. The server's answer, where all went well.
    pub(super) async fn walk(&self, side: Side, notes: &mut Notes) -> Option<Head> {
        match self.steps(side, notes).await {
            Ok(head) => Some(head),
            Err(line) => {
                notes.note(*line);
                None
            }
        }
    }

    /// What the server presented.
    pub(super) fn chains(&self) -> Vec<ChainFacts> {
        self.verifier.all_presented().iter().map(|(host, chain)| ChainFacts::of(host, chain)).collect()
    }

    fn why_direct(&self) -> &'static str {
        if proxy::is_this_machine(&self.server) {
            "the server is on this machine, and asked directly whatever is set"
        } else {
            "the server is asked directly"
        }
    }

    async fn steps(&self, side: Side, notes: &mut Notes) -> Result<Head, Stop> {
        let is_tls = self.server.scheme() == "https";
        let addresses = self.resolve(notes).await?;
        let mut stream = self.connect(&addresses, notes).await?;
        match &self.proxy {
            None => notes.note(Line::new(Check::Proxy, Mark::None, self.why_direct())),
            Some(proxy) => {
                let mark = if self.held.is_some() { Mark::Warning } else { Mark::Ok };
                let held = self.held.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
                notes.note(Line::new(Check::Proxy, mark, format!("by {}{held}", proxy.origin())).about(proxy));
            }
        }
        match &self.proxy {
            Some(proxy) if is_tls => self.tunnel(&mut stream, proxy, notes).await?,
            Some(_) | None => notes.note(Line::new(Check::Connect, Mark::None, "")),
        }
        if is_tls {
            self.tls(stream, notes).await?;
        } else {
            let seen = "plain HTTP: what is applied is trusted by its signatures alone";
            notes.note(Line::new(Check::Tls, Mark::None, seen));
            notes.note(Line::new(Check::Chain, Mark::None, ""));
        }
        self.http(side, notes).await
    }

    /// Host and port that are connected to.
    fn next_hop(&self) -> (String, u16) {
        match &self.proxy {
            Some(proxy) => (proxy.host().to_owned(), proxy.port()),
            None => {
                let host = self.server.host_str().unwrap_or_default().to_owned();
                (host, self.server.port_or_known_default().unwrap_or_default())
            }
        }
    }

    async fn resolve(&self, notes: &mut Notes) -> Result<Vec<SocketAddr>, Stop> {
        let (host, port) = self.next_hop();
        let bare = host.trim_matches(['[', ']']);
        let start = Instant::now();
        let (addresses, what) = match tokio::net::lookup_host((bare, port)).await {
            Ok(found) => (found.collect::<Vec<SocketAddr>>(), "it has no addresses".to_owned()),
            Err(error) => (Vec::new(), error.to_string()),
        };
        if addresses.is_empty() {
            let source = NameError::new(bare, what);
            let error = match &self.proxy {
                Some(proxy) => proxy_unreachable(proxy, source),
                None => FetchError::Dns { url: Box::new(self.server.clone()), source },
            };
            return Err(stop(Check::Dns, &error, &host, start));
        }
        let line = if bare.parse::<IpAddr>().is_ok() {
            Line::new(Check::Dns, Mark::None, "an address needs no resolver")
        } else {
            let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            Line::new(Check::Dns, Mark::Ok, list.join(", ")).took(start.elapsed())
        };
        notes.note(line.about(&host));
        Ok(addresses)
    }

    async fn connect(&self, addresses: &[SocketAddr], notes: &mut Notes) -> Result<TcpStream, Stop> {
        let (host, port) = self.next_hop();
        let target = format!("{host}:{port}");
        let start = Instant::now();
        let mut tried = Vec::new();
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            match within(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(stream) => {
                    let line = Line::new(Check::Tcp, Mark::Ok, format!("connected to {address}"));
                    notes.note(line.about(target).took(start.elapsed()).with(tried));
                    return Ok(stream);
                }
                Err(error) => {
                    tried.push(format!("{address}: {error}"));
                    last = error;
                }
            }
        }
        let error = match &self.proxy {
            Some(proxy) => proxy_unreachable(proxy, last),
            None => self.broken(last),
        };
        Err(Box::new(stop(Check::Tcp, &error, &target, start).with(tried)))
    }

    async fn tunnel(&self, stream: &mut TcpStream, proxy: &Proxy, notes: &mut Notes) -> Result<(), Stop> {
        let target = authority(&self.server);
        let start = Instant::now();
        let name = || proxy.to_string().into_boxed_str();
        let (error, detail) = match within(CONNECT_TIMEOUT, tunnel::ask(stream, proxy, &target)).await {
            Ok(answer) => match answer.status() {
                Some(200..=299) => {
                    let line = Line::new(Check::Connect, Mark::Ok, "the proxy opened a tunnel");
                    notes.note(line.about(&target).took(start.elapsed()));
                    return Ok(());
                }
                Some(407) => {
                    (FetchError::ProxyAuth { proxy: name() }, Some(format!("it offers: {}", answer.offered())))
                }
                status @ Some(_) => {
                    (FetchError::ProxyRefused { proxy: name(), host: target.as_str().into(), status }, None)
                }
                None => (proxy_unreachable(proxy, io::Error::other("the answer to CONNECT is not HTTP")), None),
            },
            Err(error) => (proxy_unreachable(proxy, error), None),
        };
        Err(Box::new(stop(Check::Connect, &error, &target, start).with(detail)))
    }

    async fn tls(&self, stream: TcpStream, notes: &mut Notes) -> Result<(), Stop> {
        let target = authority(&self.server);
        let start = Instant::now();
        let Some(name) = server_name(&self.server) else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the URL's host is no name for TLS");
            return Err(stop(Check::Tls, &self.broken(error), &target, start));
        };
        let connector = TlsConnector::from(Arc::new(certs::client_config(Arc::clone(&self.verifier))));
        let host = name.to_str().into_owned();
        let outcome = within(CONNECT_TIMEOUT, connector.connect(name, stream)).await;
        let took = start.elapsed();
        let presented = self.verifier.presented(&host).map(|chain| ChainFacts::of(&host, &chain));
        match (outcome, presented) {
            (Ok(stream), presented) => {
                let session = stream.get_ref().1;
                let version = session.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default();
                let suite = session.negotiated_cipher_suite().map(|suite| format!(", {:?}", suite.suite()));
                let seen = format!("{version}{}", suite.unwrap_or_default());
                notes.note(Line::new(Check::Tls, Mark::Ok, seen).about(target).took(took));
                if let Some(chain) = presented {
                    let line = Line::new(Check::Chain, Mark::Ok, format!("trusted: {}", chain.summary()));
                    notes.note(line.about(&chain.host).with(chain.to_lines()));
                }
                Ok(())
            }
            (Err(error), Some(chain)) if !chain.is_trusted => {
                notes.note(Line::new(Check::Tls, Mark::Ok, "as far as the certificates").about(target).took(took));
                let line = Line::failed(Check::Chain, Failure::of(&self.broken(error))).about(&chain.host);
                let line = Line { seen: format!("refused: {}", chain.summary()), ..line };
                Err(Box::new(line.with(chain.to_lines())))
            }
            (Err(error), _) => Err(stop(Check::Tls, &self.broken(error), &target, start)),
        }
    }

    async fn http(&self, side: Side, notes: &mut Notes) -> Result<Head, Stop> {
        let url = Location::new(&self.server, side).timestamp();
        let start = Instant::now();
        match self.http.look(&url).await {
            Ok(head) => {
                notes.note(Line::new(Check::Http, Mark::Ok, head.to_string()).about(&url).took(start.elapsed()));
                Ok(head)
            }
            Err(error) => Err(stop(Check::Http, &error, url.as_str(), start)),
        }
    }

    /// What a connection to the server broke of.
    fn broken(&self, error: io::Error) -> FetchError {
        let url = Box::new(self.server.clone());
        match certs::failure_in(&error) {
            Some(failure) => self.http.untrusted(&self.server, failure),
            None if error.kind() == io::ErrorKind::TimedOut => FetchError::Timeout { url, source: Box::new(error) },
            None => FetchError::Connect { url, source: Box::new(error) },
        }
    }
}

fn proxy_unreachable(proxy: &Proxy, source: impl std::error::Error + Send + Sync + 'static) -> FetchError {
    FetchError::ProxyConnect { proxy: proxy.to_string().into(), source: Box::new(source) }
}

fn stop(step: Check, error: &FetchError, target: &str, start: Instant) -> Stop {
    Box::new(Line::failed(step, Failure::of(error)).about(target).took(start.elapsed()))
}

async fn within<T>(limit: Duration, act: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, act).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing came within {} s", limit.as_secs())))
    })
}

fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Domain(name) => ServerName::try_from(name.to_owned()).ok(),
        Host::Ipv4(address) => Some(ServerName::from(IpAddr::from(address))),
        Host::Ipv6(address) => Some(ServerName::from(IpAddr::from(address))),
    }
}
