//! A small HTTP proxy that answers CONNECT as a test tells it to, and remembers what it was asked. It runs on the
//! runtime of the test that started it, and ends with it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use certs::lab::{Chain, Versions};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What CONNECT is answered with.
#[derive(Clone)]
pub(crate) enum Manner {
    /// A tunnel to there, whoever was asked for.
    Tunnel(SocketAddr),
    /// These bytes, then the connection ends.
    Says(&'static str),
    /// Nothing, until the client goes away.
    Hangs,
}

struct Shared {
    manner: Manner,
    /// Each request's lines.
    requests: Vec<Vec<String>>,
}

pub(crate) struct ScriptedProxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl ScriptedProxy {
    pub(crate) async fn start(manner: Manner) -> Self {
        Self::with(manner, None).await
    }

    /// With TLS to the proxy itself.
    pub(crate) async fn over_tls(manner: Manner, chain: &Chain) -> Self {
        let config = chain.server_config(Versions::Tls12And13).unwrap();
        Self::with(manner, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn with(manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { manner, requests: Vec::new() }));
        let known = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, shared) = (tls.clone(), Arc::clone(&known));
                // A client that goes away in the midst of it is no failure of the proxy's.
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => serve(tls.accept(stream).await?, &shared).await,
                        None => serve(stream, &shared).await,
                    }
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn now(&self, manner: Manner) {
        self.shared.lock().unwrap().manner = manner;
    }

    /// What was asked since the last call.
    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.shared.lock().unwrap().requests)
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let manner = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(lines);
        shared.manner.clone()
    };
    match manner {
        Manner::Tunnel(to) => {
            let mut far = TcpStream::connect(to).await?;
            stream.write_all(b"HTTP/1.0 200 Connection established\r\n\r\n").await?;
            stream.flush().await?;
            tokio::io::copy_bidirectional(&mut stream, &mut far).await.map(|_| ())
        }
        Manner::Says(text) => {
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await
        }
        Manner::Hangs => tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(|_| ()),
    }
}
