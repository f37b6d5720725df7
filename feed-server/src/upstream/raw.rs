//! Answers as they are, for whoever looks at upstream and does not mirror it: the doctor, and `capture`.

use std::sync::Arc;

use certs::PresentedChain;
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::header::HeaderMap;
use url::Url;

use super::dial::Target;
use super::error::innermost;
use super::exchange::{Answered, Exchange, Redirect};
use super::hosts::shown;
use super::watch::Step;
use super::{UpstreamError, Vendor};

/// A connection that was made, over which nothing was said.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Whom it leads to.
    pub host: String,
    /// On which port.
    pub port: u16,
    /// Through which proxy (its host and port).
    pub proxy: Option<String>,
    /// TLS version, cipher suite and key exchange.
    pub tls: String,
    /// What the host presented last.
    pub chain: Option<PresentedChain>,
}

/// An answer, verbatim.
#[derive(Debug, Clone)]
pub struct Raw {
    /// What was asked for in the end.
    pub url: Url,
    /// What led there.
    pub redirects: Vec<Redirect>,
    /// Its status, whatever it is.
    pub status: u16,
    /// Its headers; those of one name in the order in which they came. Names are in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body, as far as the limit goes.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub is_whole: bool,
    /// Through which proxy (its host and port) it came.
    pub proxy: Option<String>,
}

impl Raw {
    /// The first header of that name (in lower case), where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value).ok()
    }
}

impl Vendor {
    /// Makes a connection, TLS included, and says nothing. It is kept: the next request to there goes over it.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn connect(&self, host: &str, port: u16) -> Result<Connected, UpstreamError> {
        let target = Target::new(host, port);
        let chain_name = target.bare().to_owned();
        let connection = self.exchange.connect(target).await?;
        let (proxy, tls) = (connection.proxy().map(str::to_owned), connection.tls().to_owned());
        self.exchange.keep(connection);
        let chain = self.verifier().presented(&chain_name);
        Ok(Connected { host: host.to_owned(), port, proxy, tls, chain })
    }

    /// Asks for a URL without conditions and takes the answer as it is: whatever its status, and at most `limit` bytes
    /// of its body. Redirects are followed as always, and reported.
    ///
    /// # Errors
    /// There is no answer, its body breaks off, or it redirects to where nothing may be asked.
    pub async fn get_raw(&self, url: &Url, limit: u64) -> Result<Raw, UpstreamError> {
        self.exchange.raw(Method::GET, url, limit).await
    }

    /// The same with HEAD: no body.
    ///
    /// # Errors
    /// As [`Vendor::get_raw`].
    pub async fn head(&self, url: &Url) -> Result<Raw, UpstreamError> {
        self.exchange.raw(Method::HEAD, url, 0).await
    }
}

impl Exchange {
    async fn raw(self: &Arc<Self>, method: Method, url: &Url, limit: u64) -> Result<Raw, UpstreamError> {
        let Answered { response, connection, url, redirects } = self.follow(method, url, &HeaderMap::new()).await?;
        let headers = response.headers().iter();
        let mut raw = Raw {
            redirects,
            status: response.status().as_u16(),
            headers: headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect(),
            body: Vec::new(),
            is_whole: true,
            proxy: connection.proxy().map(str::to_owned),
            url,
        };
        let mut body = response.into_body();
        let stall = self.dialer.timeouts.stall;
        loop {
            let frame = tokio::time::timeout(stall, body.frame()).await.map_err(|_| UpstreamError::Timeout {
                host: connection.shown(),
                act: "send more",
                limit: stall,
                step: Step::Http,
            })?;
            let Some(frame) = frame else {
                self.keep(connection);
                return Ok(raw);
            };
            let frame = frame.map_err(|error| UpstreamError::Truncated {
                url: shown(&raw.url),
                received: raw.body.len() as u64,
                announced: raw.header("content-length").and_then(|length| length.parse().ok()),
                source: Some(innermost(&error).into()),
            })?;
            let Ok(bytes) = frame.into_data() else { continue };
            let room = usize::try_from(limit).unwrap_or(usize::MAX) - raw.body.len();
            raw.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if bytes.len() > room {
                raw.is_whole = false;
                return Ok(raw);
            }
        }
    }
}
