//! The way out: through which proxy, for which hosts, with which user name and password.
//!
//! `[upstream.proxy]` says it, or else the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`). It is worked out anew
//! for each run, so that a new password is used as soon as it is in its file. A password leaves these modules in one
//! form only: as the header [`Proxy::authorization`], marked sensitive.

mod environment;
mod error;
mod password;
mod secret;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::pbkdf2;
use certs::{Anchors, PinnedVerifier};
use hyper::header::HeaderValue;
use url::Url;

pub use crate::config::Bypass;
use crate::config::{self, ProxyUrl};
pub use environment::{Environment, ShownProxy};
pub use error::{PasswordMistake, ProxyError, SecretFileError};
pub(crate) use password::read_secret;
pub use secret::{Credentials, Secret};

/// How often a password is hashed for its mark: a fraction of a second, and what OWASP asks of PBKDF2-HMAC-SHA256 in
/// 2023. Who steals the mark has to pay that for each guess; who checks it does so once a run.
const MARK_ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// Through which proxy hosts are reached, and which are reached without one.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    proxy: Option<Proxy>,
    bypass: Bypass,
    verifier: Option<Arc<PinnedVerifier>>,
}

impl Proxies {
    /// What the configuration says, and the environment where the configuration leaves it to that. Files are read now:
    /// the password's and the trust anchors', whether or not there is a proxy to use them with.
    ///
    /// # Errors
    /// A file cannot be used, or the environment's words mean nothing.
    pub fn resolve(config: &config::Upstream, environment: &Environment) -> Result<Self, ProxyError> {
        let settings = &config.proxy;
        let own = Bypass::parse(settings.bypass.iter().map(String::as_str)).map_err(ProxyError::Bypass)?;
        let (found, bypass) = match &settings.url {
            ProxyUrl::None => return Ok(Self::default()),
            ProxyUrl::Url(url) => (Some((url.clone(), Origin::Configuration)), own),
            ProxyUrl::FromEnvironment => (environment::proxy(environment)?, own.and(environment::bypass(environment)?)),
        };
        let configured = password::configured(config, environment)?;
        let anchors = match settings.trust_anchors.as_slice() {
            [] => None,
            some => Some(Anchors::load(some, &config.base_dir).map_err(ProxyError::Anchors)?),
        };
        let Some((url, origin)) = found else { return Ok(Self { bypass, ..Self::default() }) };
        let credentials = match configured {
            Some(credentials) => Some(credentials),
            None => environment::credentials(&url, origin)?,
        };
        let proxy = Proxy::new(&url, origin, credentials)?;
        let verifier = match (proxy.is_tls, anchors) {
            (true, Some(anchors)) => Some(PinnedVerifier::new(anchors).map_err(ProxyError::Verifier)?),
            (true, None) => return Err(ProxyError::NoAnchors { origin }),
            (false, _) => None,
        };
        Ok(Self { proxy: Some(proxy), bypass, verifier })
    }

    /// The proxy that a host is reached through, as URLs write it; `None` where it is reached without one.
    #[must_use]
    pub fn route(&self, host: &str, port: u16) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !self.bypass.matches(host, port))
    }

    /// The proxy, if there is any.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// What is reached without it.
    #[must_use]
    pub fn bypass(&self) -> &Bypass {
        &self.bypass
    }

    /// Who may vouch for the proxy itself; there is one where TLS is spoken to it.
    #[must_use]
    pub fn verifier(&self) -> Option<&Arc<PinnedVerifier>> {
        self.verifier.as_ref()
    }
}

/// Who said which proxy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `[upstream.proxy] url`
    Configuration,
    /// The environment.
    Environment {
        /// Which variable.
        variable: &'static str,
    },
}

/// For messages.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("[upstream.proxy] url"),
            Self::Environment { variable } => write!(f, "the environment variable {variable}"),
        }
    }
}

/// An HTTP proxy, and how to show oneself to it.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// As URLs write it: IPv6 addresses in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken to the proxy itself.
    pub is_tls: bool,
    origin: Origin,
    credentials: Option<Credentials>,
}

impl Proxy {
    fn new(url: &Url, origin: Origin, credentials: Option<Credentials>) -> Result<Self, ProxyError> {
        let (host, port) = url
            .host_str()
            .zip(url.port_or_known_default())
            .ok_or(ProxyError::Url { origin, mistake: config::ProxyUrlMistake::NotAUrl })?;
        Ok(Self { host: host.to_owned(), port, is_tls: url.scheme() == "https", origin, credentials })
    }

    /// `host:port`
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// `scheme://user@host:port`, without a password: what a cool-down belongs to, and what people are shown.
    #[must_use]
    pub fn identity(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let user = self.credentials.as_ref().map(|credentials| format!("{}@", credentials.username));
        format!("{scheme}://{}{}", user.unwrap_or_default(), self.authority())
    }

    /// Who said that it is this one.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// User name and password, where there are any.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The value of `Proxy-Authorization`, marked sensitive, where there is a user name.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue> {
        self.credentials.as_ref().and_then(Credentials::basic)
    }

    /// By what it can be recognised later that proxy, user name and password are the same, though nothing is kept that a
    /// password can be read from. `salt` is the keeper's: random, and the same for marks that are compared.
    ///
    /// Takes a fraction of a second of one core where there is a password: not for a thread that others wait for.
    #[must_use]
    pub fn credentials_mark(&self, salt: &[u8]) -> String {
        let Some(credentials) = &self.credentials else { return format!("no credentials for {}", self.identity()) };
        let mut mark = [0; 32];
        // No part of these can hold the character between them, and the password is last.
        let secret = credentials.mark_input(&self.identity());
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, MARK_ITERATIONS, salt, &secret, &mut mark);
        hex::encode(mark)
    }
}
