//! One connection, byte by byte: what HTTP clients do not let a test do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use certs::{Anchors, CertificateFacts, PinnedVerifier};
use rustls_pki_types::ServerName;
use tests::world::{DEADLINE, World};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Plain or TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection to a server.
pub(crate) struct Line {
    stream: Box<dyn Stream>,
    /// SHA-256 of the certificate that the server presented; empty without TLS.
    pub(crate) certificate: String,
    read: Vec<u8>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head's lines, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Line {
    /// To the world's server, by TLS where it speaks that.
    pub(crate) async fn open(world: &World) -> Result<Self> {
        let url = world.server_url()?;
        let address = url.socket_addrs(|| None)?.first().copied().context("it has an address")?;
        match world.server_ca() {
            Some(ca) => Self::tls(address, &ca).await,
            None => Self::plain(address).await,
        }
    }

    pub(crate) async fn plain(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self { stream: Box::new(stream), certificate: String::new(), read: Vec::new() })
    }

    /// HTTP/1.1 by TLS; whoever `ca` vouches for is trusted.
    pub(crate) async fn tls(address: SocketAddr, ca: &Path) -> Result<Self> {
        let pem = std::fs::read(ca)?;
        let verifier = PinnedVerifier::new(Anchors::from(Anchors::from_pem(&pem, "the test's")?))?;
        let mut config = certs::client_config(verifier);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).context("it presents one")?;
        let certificate = CertificateFacts::from_der(leaf)?.sha256;
        Ok(Self { stream: Box::new(stream), certificate, read: Vec::new() })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Asks for a path on a connection that is to stay open.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: lab\r\n\r\n")).await?;
        self.answer().await
    }

    /// The next answer, of a known length.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        let ends = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.more().await? == 0 {
                bail!("the connection ended in the head {:?}", String::from_utf8_lossy(&self.read));
            }
        };
        let head = String::from_utf8_lossy(&self.read[..ends]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        let length = length.unwrap_or(0);
        while self.read.len() < ends + length {
            if self.more().await? == 0 {
                bail!("the connection ended in the body of {head}");
            }
        }
        let body = self.read[ends..ends + length].to_vec();
        self.read.drain(..ends + length);
        Ok(Answer { status, head, body })
    }

    /// Whether an answer has begun, or the end has come; does not wait.
    pub(crate) async fn has_answer(&mut self) -> bool {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::ZERO, self.stream.read(&mut byte)).await;
        if let Ok(Ok(1..)) = read {
            self.read.extend(byte);
        }
        read.is_ok()
    }

    /// Waits for the end of the connection; false where it goes on beyond the deadline.
    pub(crate) async fn ended(&mut self) -> Result<bool> {
        let mut rest = [0; 4096];
        let reading = async { while matches!(self.stream.read(&mut rest).await, Ok(1..)) {} };
        Ok(tokio::time::timeout(DEADLINE, reading).await.is_ok())
    }

    async fn more(&mut self) -> Result<usize> {
        let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.read)).await;
        Ok(read.context("the server says nothing")??)
    }
}
