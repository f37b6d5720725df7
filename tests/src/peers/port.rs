//! Ports for programs that cannot be told "any free one", and one that nobody gets through to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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

/// How long an open port of this machine takes to answer at the very most: it is the system that does, not a program.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// A port of 127.0.0.1 to which connections are neither accepted nor refused, as behind a firewall that drops what comes:
/// its queue is full, and nobody takes anything out of it.
#[derive(Debug)]
pub struct Clogged {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
    address: SocketAddr,
}

impl Clogged {
    /// Takes a free port and fills its queue.
    ///
    /// # Errors
    /// The system has none.
    pub async fn port() -> Result<Self> {
        let socket = TcpSocket::new_v4().context("no socket")?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("no free port")?;
        let listener = socket.listen(1)?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        while let Ok(answered) = tokio::time::timeout(ANSWERS_WITHIN, TcpStream::connect(address)).await {
            queue.push(answered?);
        }
        Ok(Self { _listener: listener, _queue: queue, address })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
