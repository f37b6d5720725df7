//! What goes over a line: a wire-tap between a headend and its server, and the HTTP/1.1 exchanges that it saw.

pub mod meddler;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

/// Listens on loopback and passes everything on to a server, both ways, until it is dropped.
#[derive(Debug)]
pub struct WireTap {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<Arc<Line>>>>,
    task: JoinHandle<()>,
}

/// What went over one connection.
#[derive(Debug, Default)]
struct Line {
    requests: Mutex<Vec<u8>>,
    answers: Mutex<Vec<u8>>,
}

/// One answer, and what it was the answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// `GET`, …
    pub method: String,
    /// The path that was asked for.
    pub path: String,
    /// Bytes of the request, head and body.
    pub request_bytes: usize,
    /// The answer's status.
    pub status: u16,
    /// `Content-Encoding`; `identity` where there is none.
    pub encoding: String,
    /// Bytes of the answer's head, its status line and empty line counted.
    pub head_bytes: usize,
    /// Bytes of the answer's body as it went over the line.
    pub body_bytes: usize,
}

impl Exchange {
    /// All bytes of the answer.
    #[must_use]
    pub fn answer_bytes(&self) -> u64 {
        (self.head_bytes + self.body_bytes) as u64
    }
}

impl WireTap {
    /// Listens for whoever wants to speak plain HTTP with `server`.
    ///
    /// # Errors
    /// There is no port, or the URL has no address.
    pub async fn before(server: &Url) -> Result<Self> {
        let target = server.socket_addrs(|| None)?.into_iter().next().context("the server has an address")?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let lines: Arc<Mutex<Vec<Arc<Line>>>> = Arc::default();
        let seen = lines.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else { continue };
                let line = Arc::new(Line::default());
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let up = line.clone();
                tokio::spawn(pass(from_client, to_server, move |bytes| append(&up.requests, bytes)));
                tokio::spawn(pass(from_server, to_client, move |bytes| append(&line.answers, bytes)));
            }
        });
        Ok(Self { address, lines, task })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// None that is known of.
    pub fn url(&self) -> Result<Url> {
        Ok(Url::parse(&format!("http://{}/", self.address))?)
    }

    /// What went over the line since the last call, in the order of connections. Whoever asks knows that every exchange has
    /// ended: the program that made them has.
    ///
    /// # Errors
    /// It was not HTTP/1.1 with lengths.
    pub fn take(&self) -> Result<Vec<Exchange>> {
        let mut exchanges = Vec::new();
        for line in self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let take =
                |bytes: &Mutex<Vec<u8>>| std::mem::take(&mut *bytes.lock().unwrap_or_else(PoisonError::into_inner));
            exchanges.extend(read(&take(&line.requests), &take(&line.answers))?);
        }
        Ok(exchanges)
    }
}

impl Drop for WireTap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn append(to: &Mutex<Vec<u8>>, bytes: &[u8]) {
    to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
}

/// Tells first and passes on then, so that whoever has got something knows that it was told.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, tell: impl Fn(&[u8])) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        tell(&piece[..length]);
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

fn read(mut requests: &[u8], mut answers: &[u8]) -> Result<Vec<Exchange>> {
    let mut exchanges = Vec::new();
    while !requests.is_empty() {
        let (request, after) = head(requests).context("a request's head")?;
        let mut words = request.lines().next().unwrap_or_default().split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().context("a request has a path")?);
        let request_bytes = requests.len() - after.len() + length_of(&request)?;
        requests = requests.get(request_bytes..).context("a request's body")?;

        let (answer, body) = head(answers).with_context(|| format!("an answer to {method} {path}"))?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
        let body_bytes = if method == "HEAD" || status == 304 || status == 204 { 0 } else { length_of(&answer)? };
        ensure!(field(&answer, "transfer-encoding").is_none(), "{path}: pieces are not counted here");
        let head_bytes = answers.len() - body.len();
        answers = body.get(body_bytes..).context("an answer's body")?;
        exchanges.push(Exchange {
            method: method.to_owned(),
            path: path.to_owned(),
            request_bytes,
            status,
            encoding: field(&answer, "content-encoding").unwrap_or("identity").to_owned(),
            head_bytes,
            body_bytes,
        });
    }
    Ok(exchanges)
}

/// The head as text, its empty line counted, and what comes after it.
fn head(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end..]))
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn length_of(head: &str) -> Result<usize> {
    field(head, "content-length").map_or(Ok(0), |length| length.parse().context("a length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_are_told_apart() {
        let requests =
            b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPUT /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.1\r\n\r\n";
        let answers =
            b"HTTP/1.1 200 OK\r\nContent-Encoding: dcz\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 204 No Content\r\n\r\n\
            HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
        let seen = read(requests, answers).unwrap();
        let told: Vec<_> =
            seen.iter().map(|it| (it.path.as_str(), it.status, it.body_bytes, it.encoding.as_str())).collect();
        assert_eq!(told, [("/a", 200, 2, "dcz"), ("/b", 204, 0, "identity"), ("/c", 304, 0, "identity")]);
        assert_eq!(seen.iter().map(|it| it.head_bytes + it.body_bytes).sum::<usize>(), answers.len());
        assert_eq!(seen.iter().map(|it| it.request_bytes).sum::<usize>(), requests.len());
    }
}
