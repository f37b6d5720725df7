//! Who wants to see what a connection was made of, step by step.

use std::fmt;
use std::time::Duration;

/// One step of the way to an answer, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The name becomes addresses: the proxy's where there is one, else the host's.
    Dns,
    /// A TCP connection, to the same.
    Tcp,
    /// TLS to the proxy itself, where its URL is https.
    ProxyTls,
    /// The proxy is asked for a tunnel to the host.
    Connect,
    /// TLS to the host, and its chain.
    Tls,
    /// A request and the head of its answer.
    Http,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 6] = [Self::Dns, Self::Tcp, Self::ProxyTls, Self::Connect, Self::Tls, Self::Http];

    /// In one word, for records: `dns`, `tcp`, `proxy_tls`, `connect`, `tls`, `http`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::ProxyTls => "proxy_tls",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which one.
    pub step: Step,
    /// Towards whom: a name, `host:port`, or a URL without its query.
    pub target: String,
    /// What was seen there: addresses, a TLS version, a status.
    pub detail: String,
    /// How long it took.
    pub took: Duration,
}

/// Is told of each step that succeeded. The one that failed is in the error: [`super::UpstreamError::step`].
pub trait Watch: Send + Sync {
    /// Called as the step ends, from whichever task took it.
    fn seen(&self, seen: Seen);

    /// Called as the proxy refuses the user name and password that it was sent, or asks for some: before whoever wanted
    /// the connection hears of it, who may have other things to tell.
    fn refused_by_proxy(&self) {}
}

/// Nobody does.
#[derive(Debug, Clone, Copy)]
pub struct NoWatch;

impl Watch for NoWatch {
    fn seen(&self, seen: Seen) {
        let Seen { step, target, detail, took } = seen;
        tracing::debug!(%step, target, detail, ?took, "seen");
    }
}
