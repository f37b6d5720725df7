//! A small HTTPS server that answers exactly what a test tells it to, well-formed or not, and remembers what it was
//! asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use certs::lab::{Chain, Keys, Versions};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a path is answered with.
#[derive(Clone)]
pub(crate) enum Reply {
    /// 200 with `ETag`, or 304 to whoever has it.
    File { bytes: Vec<u8>, etag: Option<String> },
    /// These bytes, then the connection ends without TLS's goodbye.
    Raw(Vec<u8>),
    /// These bytes, then nothing until the client goes away.
    Stall(Vec<u8>),
    /// One after the other, each request the next one; the last one for all that follow.
    Each(Vec<Reply>),
    /// A header and then zeros until the client goes away.
    Endless(Vec<u8>),
}

impl Reply {
    pub(crate) fn status(line: &str) -> Self {
        Self::Raw(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes())
    }

    pub(crate) fn file(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let etag = Some(format!("\"{}\"", bundles::Digest::of(&bytes).short()));
        Self::File { bytes, etag }
    }
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        let line = self.headers.iter().find(|line| line.to_ascii_lowercase().starts_with(&prefix))?;
        Some(&line[prefix.len()..])
    }
}

#[derive(Default)]
struct Shared {
    replies: BTreeMap<String, Reply>,
    requests: Vec<Request>,
    connections: usize,
    closing: bool,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    accepting: Option<JoinHandle<()>>,
}

pub(crate) fn chain() -> Chain {
    Chain::builder().loopback().keys(Keys::Ecdsa).build().unwrap()
}

impl Server {
    pub(crate) fn start(chain: &Chain) -> Self {
        let config = Arc::new(chain.server_config(Versions::Tls12Only).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Mutex<Shared>>::default();
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.lock().unwrap().closing {
                        return;
                    }
                    shared.lock().unwrap().connections += 1;
                    let (config, shared) = (Arc::clone(&config), Arc::clone(&shared));
                    // A client that goes away in the midst of an answer is no failure of the server's.
                    std::thread::spawn(move || stream.and_then(|stream| serve(stream, config, &shared)));
                }
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    pub(crate) fn put(&self, path: &str, reply: Reply) {
        self.shared.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }

    /// What was asked since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.lock().unwrap().requests)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.lock().unwrap().closing = true;
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Mutex<Shared>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let is_head = lines[0].starts_with("HEAD ");
        let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
        let request = Request { path: path.clone(), headers: lines.split_off(1) };
        let condition = request.header("if-none-match").map(str::to_owned);
        let reply = {
            let mut shared = shared.lock().unwrap();
            shared.requests.push(request);
            match shared.replies.get_mut(&path) {
                Some(Reply::Each(replies)) if replies.len() > 1 => replies.remove(0),
                Some(Reply::Each(replies)) => replies[0].clone(),
                Some(reply) => reply.clone(),
                None => Reply::status("404 Not Found"),
            }
        };
        let stream = stream.get_mut();
        match reply {
            Reply::File { bytes, etag } => {
                let etag_line = etag.as_ref().map(|etag| format!("ETag: {etag}\r\n")).unwrap_or_default();
                let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
                if etag.is_some() && condition == etag {
                    write!(stream, "HTTP/1.1 304 Not Modified\r\n{date}{etag_line}\r\n")?;
                } else {
                    write!(stream, "HTTP/1.1 200 OK\r\n{date}{etag_line}Content-Length: {}\r\n\r\n", bytes.len())?;
                    stream.write_all(if is_head { b"" } else { &bytes })?;
                }
                stream.flush()?;
            }
            Reply::Raw(bytes) => {
                stream.write_all(&bytes)?;
                return stream.flush();
            }
            Reply::Stall(bytes) => {
                stream.write_all(&bytes)?;
                stream.flush()?;
                // Until the client closes its side.
                std::io::copy(stream, &mut std::io::sink())?;
                return Ok(());
            }
            Reply::Each(_) => unreachable!("it is taken apart above"),
            Reply::Endless(bytes) => {
                stream.write_all(&bytes)?;
                loop {
                    stream.write_all(&[0; 16 << 10])?;
                }
            }
        }
    }
}
