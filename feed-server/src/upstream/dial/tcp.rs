//! The name becomes addresses, and one of them a connection.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::net::TcpStream;

use super::{Dialer, Step, Target};
use crate::upstream::UpstreamError;

/// Addresses tried of those that a name has. Each may cost a whole connect timeout, and a name whose first four do not
/// answer is down: content networks give two to eight.
const MAX_ADDRESSES: usize = 4;

/// Addresses that a message names.
const SHOWN_ADDRESSES: usize = 8;

/// Why there is no connection.
pub(super) enum Unreached {
    Dns(Box<dyn StdError + Send + Sync>),
    /// The last address's error.
    Tcp(io::Error),
    /// None of the addresses answered at all.
    Silent,
}

impl Dialer {
    /// A TCP connection to the host itself.
    pub(super) async fn reach(&self, target: &Target) -> Result<TcpStream, UpstreamError> {
        self.open(target).await.map_err(|unreached| match unreached {
            Unreached::Dns(source) => UpstreamError::Dns { host: target.host.clone(), source },
            Unreached::Tcp(source) => UpstreamError::Connect { host: target.shown(), source: source.into() },
            Unreached::Silent => UpstreamError::Timeout {
                host: target.shown(),
                act: "accept a connection",
                limit: self.timeouts.connect,
                step: Step::Tcp,
            },
        })
    }

    /// DNS and TCP, towards whomever.
    pub(super) async fn open(&self, target: &Target) -> Result<TcpStream, Unreached> {
        let addresses = self.resolve(target).await?;
        let mut last = Unreached::Silent;
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let started = Instant::now();
            match tokio::time::timeout(self.timeouts.connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are written whole: nothing is gained by waiting for more to send.
                    stream.set_nodelay(true).map_err(Unreached::Tcp)?;
                    self.saw(Step::Tcp, target.authority(), address.to_string(), started.elapsed());
                    return Ok(stream);
                }
                Ok(Err(error)) => {
                    // The system's words leave out to whom.
                    last = Unreached::Tcp(io::Error::new(error.kind(), format!("{address}: {error}")));
                }
                // A refusal says more than silence.
                Err(_) => tracing::debug!(%address, "no answer to a connection"),
            }
        }
        Err(last)
    }

    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, Unreached> {
        let started = Instant::now();
        let asked = tokio::net::lookup_host((target.bare(), target.port));
        let found = tokio::time::timeout(self.timeouts.connect, asked).await;
        let found = found.map_err(|_| {
            Unreached::Dns(format!("no answer within {} s", self.timeouts.connect.as_secs_f64()).into())
        })?;
        let addresses = alternating(found.map_err(|error| Unreached::Dns(error.into()))?);
        if addresses.is_empty() {
            return Err(Unreached::Dns("the name has no addresses".into()));
        }
        let shown: Vec<String> =
            addresses.iter().take(SHOWN_ADDRESSES).map(|address| address.ip().to_string()).collect();
        self.saw(Step::Dns, target.host.clone(), shown.join(", "), started.elapsed());
        Ok(addresses)
    }
}

/// In the resolver's order, but the families taking turns (RFC 8305, section 4): where one of them leads nowhere, the
/// second attempt is one of the other.
fn alternating(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.peekable();
    let first_is_v6 = addresses.peek().is_some_and(SocketAddr::is_ipv6);
    let (ours, others): (Vec<_>, Vec<_>) = addresses.partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = Vec::with_capacity(ours.len() + others.len());
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    loop {
        match (ours.next(), others.next()) {
            (None, None) => return turns,
            (one, other) => turns.extend(one.into_iter().chain(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_and_keep_their_order() {
        let turns = |texts: &[&str]| -> Vec<String> {
            let addresses = texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 443));
            alternating(addresses).into_iter().map(|address| address.ip().to_string()).collect()
        };
        assert_eq!(turns(&["::1", "::2", "::3", "10.0.0.1"]), ["::1", "10.0.0.1", "::2", "::3"]);
        assert_eq!(turns(&["10.0.0.1", "10.0.0.2", "::1"]), ["10.0.0.1", "::1", "10.0.0.2"]);
        assert!(turns(&[]).is_empty());
    }
}
