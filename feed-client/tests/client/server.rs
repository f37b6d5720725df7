//! A file server on loopback that can be told to misbehave, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How an answer is broken.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Another status, no content.
    Status(u16),
    /// This status and one second in `Retry-After`, once.
    BusyOnce(u16),
    /// The full length is announced, and the connection is cut after this many bytes.
    CutAfter(usize),
    /// Fewer bytes than the file has, neatly announced.
    Shortened(usize),
    /// These bytes are appended, and announced.
    Longer(Vec<u8>),
    /// Without end and without a length, as fast as they are taken.
    Endless,
    /// Other bytes altogether.
    Instead(Vec<u8>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<Vec<(String, Fault)>>,
    requests: Mutex<Vec<Request>>,
}

/// Serves until the test's process ends.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::listen("http", None)
    }

    pub(crate) fn start_tls(config: ServerConfig) -> Self {
        Self::listen("https", Some(Arc::new(config)))
    }

    fn listen(scheme: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let server = Self { url, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                // A client that hangs up early is a test's business, not the server's.
                std::thread::spawn(move || match tls {
                    None => drop(answer(&shared, stream)),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        drop(answer(&shared, StreamOwned::new(connection, stream)));
                    }
                });
            }
        });
        server
    }

    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) {
        lock(&self.shared.files).insert(path.to_owned(), bytes);
    }

    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.shared.files).clone()
    }

    pub(crate) fn set_files(&self, files: BTreeMap<String, Vec<u8>>) {
        *lock(&self.shared.files) = files;
    }

    /// Breaks every answer whose path contains `part`, until [`Server::mend`].
    pub(crate) fn break_at(&self, part: &str, fault: Fault) {
        lock(&self.shared.faults).push((part.to_owned(), fault));
    }

    pub(crate) fn mend(&self) {
        lock(&self.shared.faults).clear();
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.shared.requests))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

fn answer(shared: &Shared, mut stream: impl Read + Write + Hangup) -> std::io::Result<()> {
    let request = read_request(&mut stream)?;
    lock(&shared.requests).push(request.clone());
    let file = lock(&shared.files).get(&request.path).cloned();
    let fault =
        lock(&shared.faults).iter().find(|(part, _)| request.path.contains(part)).map(|(_, fault)| fault.clone());
    let is_busy = matches!(fault, Some(Fault::BusyOnce(_)));
    let (status, length, bytes) = match (fault, file) {
        (Some(Fault::BusyOnce(status)), _) => {
            lock(&shared.faults).retain(|(part, _)| !request.path.contains(part));
            (status, Some(0), Vec::new())
        }
        (Some(Fault::Status(status)), _) => (status, Some(0), Vec::new()),
        (Some(Fault::Instead(bytes)), _) => (200, Some(bytes.len()), bytes),
        (Some(Fault::Endless), _) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
        (Some(Fault::CutAfter(count)), Some(bytes)) => (200, Some(bytes.len()), bytes[..count].to_vec()),
        (Some(Fault::Shortened(count)), Some(bytes)) => (200, Some(count), bytes[..count].to_vec()),
        (Some(Fault::Longer(more)), Some(mut bytes)) => {
            bytes.extend(more);
            (200, Some(bytes.len()), bytes)
        }
        (None, Some(bytes)) => (200, Some(bytes.len()), bytes),
        (_, None) if request.method == "PUT" => (204, None, Vec::new()),
        (_, None) => (404, Some(0), Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\n")?;
    if is_busy {
        stream.write_all(b"Retry-After: 1\r\n")?;
    }
    if let Some(length) = length {
        write!(stream, "Content-Length: {length}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(&bytes)?;
    stream.flush()?;
    stream.hang_up();
    Ok(())
}

fn read_request(stream: &mut impl Read) -> std::io::Result<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut first = head.lines().next().unwrap_or_default().split(' ');
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Request {
        method: first.next().unwrap_or_default().to_owned(),
        path: first.next().unwrap_or_default().to_owned(),
        authorization: header("authorization"),
        body,
    })
}

/// The end of an answer, said properly: TLS clients take a mere end of the stream for an attack.
trait Hangup {
    fn hang_up(&mut self);
}

impl Hangup for TcpStream {
    fn hang_up(&mut self) {}
}

impl Hangup for StreamOwned<ServerConnection, TcpStream> {
    fn hang_up(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}
