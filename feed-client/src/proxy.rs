//! Whether the server is asked through an HTTP proxy, and which.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use bundles::{Reason, Reasoned};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::HeaderValue;
use url::{Host, Url};

/// What `[server] proxy` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxySetting {
    /// Nothing: `HTTPS_PROXY` and `NO_PROXY` are honoured.
    #[default]
    Environment,
    /// `"none"`, whatever the environment says.
    Direct,
    /// This one, whatever the environment says.
    Url(Url),
}

impl ProxySetting {
    /// From the configuration's text.
    ///
    /// # Errors
    /// A sentence's end that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Direct);
        }
        let url = proxy_url(text)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must have no user name and password: a configuration is read by many; HTTPS_PROXY may carry \
                        them, or let the proxy know this machine by its address"
                .to_owned());
        }
        Ok(Self::Url(url))
    }
}

/// How often user name and password are hashed for their mark: a fraction of a second, and what OWASP asks of
/// PBKDF2-HMAC-SHA256 in 2023. Who steals the mark has to pay that for each guess.
const MARK_ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// The proxy on the way to the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    /// Marked sensitive: its own `Debug` does not show it.
    authorization: Option<HeaderValue>,
    origin: &'static str,
}

impl Proxy {
    /// The proxy on the way to `server`, if there is one. `variable` looks a variable of the environment up. A server on
    /// this machine is always asked directly: its plain HTTP would leave the machine otherwise, token and all.
    ///
    /// # Errors
    /// The environment names a proxy that cannot be used.
    pub fn for_server(
        setting: &ProxySetting,
        server: &Url,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ProxyError> {
        if is_this_machine(server) {
            return Ok(None);
        }
        // Lower case goes first, as with curl and feed-server, and what is empty is not set.
        let first = |names: [&'static str; 2]| {
            let mut set = names.into_iter().filter_map(|name| Some((name, variable(name)?)));
            set.find(|(_, value)| !value.trim().is_empty())
        };
        let (origin, url, bypass) = match setting {
            ProxySetting::Direct => return Ok(None),
            ProxySetting::Url(url) => ("[server] proxy", url.clone(), String::new()),
            ProxySetting::Environment => {
                // Plain HTTP has no variable of its own here: to a server elsewhere it is an exception already.
                let set = if server.scheme() == "https" { first(["https_proxy", "HTTPS_PROXY"]) } else { None };
                let Some((name, value)) = set else { return Ok(None) };
                let url = proxy_url(&value).map_err(|what| ProxyError { name, what })?;
                let bypass = first(["no_proxy", "NO_PROXY"]).map_or_else(String::new, |(_, bypass)| bypass);
                (name, url, bypass_list(&bypass, server))
            }
        };
        // Credentials are decoded, and the bypass list matched, by the matcher that HTTP libraries share.
        let matcher = Matcher::builder().all(url.as_str()).no(bypass.as_str()).build();
        let intercept = server.as_str().parse().ok().and_then(|server| matcher.intercept(&server));
        Ok(intercept.zip(url.host_str()).map(|(intercept, host)| Self {
            host: host.to_owned(),
            port: url.port_or_known_default().unwrap_or(HTTP_PORT),
            authorization: intercept.basic_auth().cloned(),
            origin,
        }))
    }

    /// Where it is said: the configuration, or a variable's name.
    #[must_use]
    pub fn origin(&self) -> &'static str {
        self.origin
    }

    /// Its host, an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Proxy-Authorization`, where the environment has a user name.
    #[must_use]
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// By what it can be recognised later that proxy, user name and password are the same, or that there are still none,
    /// though nothing is kept that a password can be read from.
    #[must_use]
    pub fn mark(&self, salt: &[u8]) -> String {
        let sent = self.authorization.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let mut mark = [0; 32];
        // No host or port can hold the character between them and what is sent.
        let secret = [self.to_string().as_bytes(), b"\0", sent].concat();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, MARK_ITERATIONS, salt, &secret, &mut mark);
        hex::encode(mark)
    }

    /// For reqwest.
    ///
    /// # Errors
    /// reqwest's.
    pub fn to_reqwest(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(format!("http://{self}"))?;
        Ok(match &self.authorization {
            Some(value) => proxy.custom_http_auth(value.clone()),
            None => proxy,
        })
    }
}

impl fmt::Display for Proxy {
    /// Host and port; never who we are there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self} from {})", self.origin)
    }
}

/// Where `http://` goes without a port.
const HTTP_PORT: u16 = 80;

fn proxy_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    // In the environment people leave the scheme out.
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // What is wrong is not quoted: there may be a password in it.
    let url = Url::parse(&with_scheme).map_err(|error| format!("is not a URL ({error})"))?;
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if url.scheme() != "http" || url.host().is_none() || !is_bare {
        return Err("must be \"none\" or http://host:port: an HTTP proxy that understands CONNECT".to_owned());
    }
    Ok(url)
}

/// The matcher knows neither ports nor `*.domain`: entries for other ports fall away, and the rest is put in its words.
fn bypass_list(list: &str, server: &Url) -> String {
    let port = server.port_or_known_default();
    let entries = list.split(',').map(str::trim).filter_map(|entry| {
        let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
        match entry.rsplit_once(':') {
            // One colon is a port's; more are an IPv6 address's, unless it has its brackets.
            Some((host, number)) if !host.contains(':') || host.ends_with(']') => {
                (number.parse().ok() == port).then(|| host.trim_matches(['[', ']']))
            }
            Some(_) | None => Some(entry.trim_matches(['[', ']'])),
        }
    });
    entries.collect::<Vec<_>>().join(",")
}

/// A proxy in the environment that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment's {name} {what}; correct it, or set [server] proxy, which goes before it")]
pub struct ProxyError {
    name: &'static str,
    what: String,
}

impl Reasoned for ProxyError {
    fn reason(&self) -> Reason {
        Reason::BadRequest
    }
}

/// Whether a URL names this machine.
#[must_use]
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
