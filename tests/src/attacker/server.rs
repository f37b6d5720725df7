//! A plain HTTP server that answers with what it was told to, right or wrong.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use url::Url;

use super::Files;

/// Between two bytes of a trickle: far below every rate that a client puts up with, and no silence.
const DRIP: Duration = Duration::from_millis(100);

/// What is answered at a path.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, and then others without an end.
    Endless(Vec<u8>),
    /// These bytes, one by one.
    Trickle(Vec<u8>),
}

type Answers = Arc<Mutex<BTreeMap<String, Answer>>>;

type Asked = Arc<Mutex<Vec<String>>>;

/// The server; it answers as long as the test runs.
#[derive(Debug)]
pub struct Attacker {
    url: Url,
    answers: Answers,
    asked: Asked,
}

impl Attacker {
    /// Listens on a free port of loopback, with nothing to serve.
    ///
    /// # Errors
    /// There is no port.
    pub fn listen() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}/", listener.local_addr()?).parse()?;
        let (answers, asked) = (Answers::default(), Asked::default());
        let (known, seen) = (Arc::clone(&answers), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (known, seen) = (Arc::clone(&known), Arc::clone(&seen));
                // A client that hangs up had enough.
                std::thread::spawn(move || drop(answer(stream, &known, &seen)));
            }
        });
        Ok(Self { url, answers, asked })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The paths that were asked for so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    /// Answers with these files, and with 404 to everything else.
    pub fn serve(&self, files: &Files) {
        let answers = files.iter().map(|(path, bytes)| (path.clone(), Answer::Bytes(bytes.clone())));
        *lock(&self.answers) = answers.collect();
    }

    /// Answers so at this path.
    pub fn answer(&self, path: &str, answer: Answer) {
        lock(&self.answers).insert(path.to_owned(), answer);
    }
}

#[allow(clippy::disallowed_methods, reason = "the slowness is what it is for, and nobody waits for its end")]
fn answer(stream: TcpStream, answers: &Answers, asked: &Asked) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    lock(asked).push(path.clone());
    let mut stream = reader.into_inner();
    let found = lock(answers).get(&path).cloned();
    match found {
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        Some(Answer::Bytes(bytes)) => {
            stream.write_all(head(Some(bytes.len())).as_bytes())?;
            stream.write_all(&bytes)
        }
        Some(Answer::Endless(bytes)) => {
            stream.write_all(head(None).as_bytes())?;
            stream.write_all(&bytes)?;
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }
        Some(Answer::Trickle(bytes)) => {
            stream.write_all(head(Some(bytes.len())).as_bytes())?;
            for byte in bytes {
                stream.write_all(&[byte])?;
                std::thread::sleep(DRIP);
            }
            Ok(())
        }
    }
}

fn head(length: Option<usize>) -> String {
    let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
    format!("HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n")
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
