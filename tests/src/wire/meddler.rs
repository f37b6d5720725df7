//! Whoever stands between a headend and its server and changes what comes by.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

use super::{field, length_of};

/// What becomes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Pass,
    /// It has this body.
    Body(Vec<u8>),
    /// It has this body, and this again and again, for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// So many bytes of its body come, and then nothing until the server's connection breaks.
    Hold(usize),
}

/// Sees path, coding and body of an answer.
type Judge = Arc<dyn Fn(&str, &str, &[u8]) -> Fate + Send + Sync>;

/// Listens on loopback and passes HTTP/1.1 on to a server, answer by answer, until it is dropped.
pub struct Meddler {
    address: SocketAddr,
    judge: Arc<Mutex<Judge>>,
    holds: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Meddler {
    /// Listens for whoever wants to speak plain HTTP with `server`, and passes everything.
    ///
    /// # Errors
    /// There is no port, or the URL has no address.
    pub async fn before(server: &Url) -> Result<Self> {
        let target = server.socket_addrs(|| None)?.into_iter().next().context("the server has an address")?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let judge: Arc<Mutex<Judge>> = Arc::new(Mutex::new(Arc::new(|_, _, _| Fate::Pass)));
        let (hold, holds) = watch::channel(false);
        let judges = judge.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (judges, hold) = (judges.clone(), hold.clone());
                // A line that breaks is what tests are about.
                tokio::spawn(async move { converse(client, target, &judges, &hold).await.ok() });
            }
        });
        Ok(Self { address, judge, holds, task })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// None that is known of.
    pub fn url(&self) -> Result<Url> {
        Ok(Url::parse(&format!("http://{}/", self.address))?)
    }

    /// From now on, this says what becomes of answers, by their path, coding and body.
    pub fn meddle(&self, judge: impl Fn(&str, &str, &[u8]) -> Fate + Send + Sync + 'static) {
        *self.judge.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(judge);
    }

    /// Waits until an answer is held.
    ///
    /// # Errors
    /// None is within the deadline.
    pub async fn holding(&self, deadline: Duration) -> Result<()> {
        let mut holds = self.holds.clone();
        let held = tokio::time::timeout(deadline, holds.wait_for(|holds| *holds)).await;
        held.context("no answer is held")?.context("nobody listens any more").map(drop)
    }
}

impl std::fmt::Debug for Meddler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meddler").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    mut client: TcpStream,
    target: SocketAddr,
    judge: &Mutex<Judge>,
    hold: &watch::Sender<bool>,
) -> Result<()> {
    let mut server = TcpStream::connect(target).await?;
    loop {
        let request = head(&mut client).await?;
        server.write_all(request.as_bytes()).await?;
        server.write_all(&body(&mut client, length_of(&request)?).await?).await?;

        let answer = head(&mut server).await?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        let has_body = !request.starts_with("HEAD ") && !matches!(status, "204" | "304");
        let bytes = body(&mut server, if has_body { length_of(&answer)? } else { 0 }).await?;
        let path = request.split(' ').nth(1).unwrap_or_default();
        let judge = judge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match judge(path, field(&answer, "content-encoding").unwrap_or("identity"), &bytes) {
            Fate::Pass => {
                client.write_all(answer.as_bytes()).await?;
                client.write_all(&bytes).await?;
            }
            Fate::Body(other) => {
                let length = format!("content-length: {}\r\n", other.len());
                client.write_all(with_length(&answer, &length).as_bytes()).await?;
                client.write_all(&other).await?;
            }
            Fate::Endless(first, again) => {
                client.write_all(with_length(&answer, "connection: close\r\n").as_bytes()).await?;
                client.write_all(&first).await?;
                loop {
                    client.write_all(&again).await?;
                }
            }
            Fate::Hold(after) => {
                client.write_all(answer.as_bytes()).await?;
                client.write_all(bytes.get(..after).context("the answer is longer")?).await?;
                client.flush().await?;
                hold.send_replace(true);
                let _ = server.read(&mut [0]).await;
                return Ok(());
            }
        }
    }
}

/// A head with this line in place of the length.
fn with_length(head: &str, line: &str) -> String {
    let others = head.trim_end().split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
    others.map(|line| format!("{line}\r\n")).collect::<String>() + line + "\r\n"
}

/// Byte for byte, so that nothing of what follows is taken.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

async fn body(from: &mut (impl AsyncRead + Unpin), length: usize) -> Result<Vec<u8>> {
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(body)
}
