//! Ports for programs that cannot be told "any free one".

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// A free port of 127.0.0.1, kept for one program, or for several that share it.
///
/// It is bound here for as long as this lives, but nobody listens: Linux lets another socket with `SO_REUSEADDR` (which
/// each of our peers sets) bind and listen beside one that does not, and gives the port to nobody who asks for any free
/// one. So there is no moment at which another program could take it, neither before the peer listens nor between its
/// end and its next start; until then, connections are refused.
#[derive(Debug, Clone)]
pub struct Port {
    /// Only held.
    _socket: Arc<TcpSocket>,
    address: SocketAddr,
}

impl Port {
    /// Takes a free one.
    ///
    /// # Errors
    /// The system has none.
    pub fn free() -> Result<Self> {
        let socket = TcpSocket::new_v4().context("no socket")?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("no free port")?;
        let address = socket.local_addr()?;
        Ok(Self { _socket: Arc::new(socket), address })
    }

    /// Where the program is to listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
