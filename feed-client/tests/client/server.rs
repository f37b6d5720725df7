//! A file server on loopback that can be told to misbehave, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bundles::{Digest, increment};
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
    /// As [`Fault::CutAfter`], where the beginning is asked for.
    CutBeginning(usize),
    /// These bytes in this coding, to whoever takes anything but the content as it is.
    Packed(&'static str, Vec<u8>),
    /// The same without end.
    PackedEndless(&'static str),
    /// Another status to whoever names what they have.
    StatusOfPacked(u16),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
    head: String,
    /// Which connection it came by.
    pub(crate) connection: usize,
    /// Content bytes that were sent.
    pub(crate) sent: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn accepts(&self, coding: &str) -> bool {
        self.header("accept-encoding").is_some_and(|all| all.split(',').any(|one| one.trim() == coding))
    }
}

#[derive(Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<Vec<(String, Fault)>>,
    requests: Mutex<Vec<Request>>,
    packs: AtomicBool,
    connections: AtomicUsize,
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
                    None => drop(converse(&shared, stream)),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        drop(converse(&shared, StreamOwned::new(connection, stream)));
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

    /// From now on content comes packed to whoever takes it so, told by any file that is served here.
    pub(crate) fn pack(&self) {
        self.shared.packs.store(true, Ordering::Relaxed);
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

fn converse(shared: &Shared, mut stream: impl Read + Write + Hangup) -> std::io::Result<()> {
    let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
    while answer(shared, &mut stream, connection)? {}
    stream.hang_up();
    Ok(())
}

/// An answer: status, announced length, further header lines, content.
struct Answer {
    status: u16,
    length: Option<usize>,
    headers: String,
    bytes: Vec<u8>,
}

impl Answer {
    fn of(status: u16, bytes: Vec<u8>) -> Self {
        Self { status, length: Some(bytes.len()), headers: String::new(), bytes }
    }
}

/// Whether another request may follow.
fn answer(shared: &Shared, stream: &mut (impl Read + Write), connection: usize) -> std::io::Result<bool> {
    let request = Request { connection, ..read_request(stream)? };
    let number = {
        let mut requests = lock(&shared.requests);
        requests.push(request.clone());
        requests.len() - 1
    };
    let file = lock(&shared.files).get(&request.path).cloned();
    let fault =
        lock(&shared.faults).iter().find(|(part, _)| request.path.contains(part)).map(|(_, fault)| fault.clone());
    let packed = !request.accepts("identity");
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let answer = match (fault, file) {
        (Some(Fault::BusyOnce(status)), _) => {
            lock(&shared.faults).retain(|(part, _)| !request.path.contains(part));
            Answer { headers: "Retry-After: 1\r\n".to_owned(), ..Answer::of(status, Vec::new()) }
        }
        (Some(Fault::Status(status)), _) => Answer::of(status, Vec::new()),
        (Some(Fault::StatusOfPacked(status)), _) if packed => Answer::of(status, Vec::new()),
        (Some(Fault::Instead(bytes)), _) => Answer::of(200, bytes),
        (Some(Fault::Packed(coding, bytes)), _) if packed => {
            Answer { headers: format!("Content-Encoding: {coding}\r\n"), ..Answer::of(200, bytes) }
        }
        (Some(Fault::Endless), _) => return endless(stream, ""),
        (Some(Fault::PackedEndless(coding)), _) if packed => {
            return endless(stream, &format!("Content-Encoding: {coding}\r\n"));
        }
        (Some(Fault::CutAfter(count)), Some(bytes)) => {
            Answer { length: Some(bytes.len()), ..Answer::of(200, bytes[..count].to_vec()) }
        }
        (Some(Fault::CutBeginning(count)), Some(bytes)) if range.is_none() => {
            Answer { length: Some(bytes.len()), ..Answer::of(200, bytes[..count].to_vec()) }
        }
        (Some(Fault::Shortened(count)), Some(bytes)) => Answer::of(200, bytes[..count].to_vec()),
        (Some(Fault::Longer(more)), Some(mut bytes)) => {
            bytes.extend(more);
            Answer::of(200, bytes)
        }
        (_, Some(bytes)) => well(shared, &request, range, &bytes),
        (_, None) if request.method == "PUT" => Answer { length: None, ..Answer::of(204, Vec::new()) },
        (_, None) => Answer::of(404, Vec::new()),
    };
    let Answer { status, length, headers, bytes } = answer;
    let length_line = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
    if let Some(request) = lock(&shared.requests).get_mut(number) {
        request.sent = bytes.len();
    }
    write!(stream, "HTTP/1.1 {status} X\r\n{length_line}{headers}\r\n")?;
    stream.write_all(&bytes)?;
    stream.flush()?;
    Ok(length.is_none_or(|length| length == bytes.len()))
}

fn endless(stream: &mut impl Write, headers: &str) -> std::io::Result<bool> {
    write!(stream, "HTTP/1.1 200 OK\r\n{headers}Connection: close\r\n\r\n")?;
    loop {
        stream.write_all(&[b'x'; 4096])?;
    }
}

/// As it should be answered.
fn well(shared: &Shared, request: &Request, range: Option<usize>, bytes: &[u8]) -> Answer {
    // Each form has its tag, and whoever can read a form has the content if he has its tag.
    let short = Digest::of(bytes).short();
    let tag = |coding: &str| format!("ETag: \"{short}-{coding}\"\r\n");
    if let Some(held) = request.header("if-none-match")
        && ["identity", "zstd", "dcz"]
            .iter()
            .any(|coding| tag(coding).contains(held) && (*coding == "identity" || request.accepts(coding)))
    {
        return Answer { length: None, ..Answer::of(304, Vec::new()) };
    }
    if let Some(from) = range.filter(|from| *from < bytes.len()) {
        let headers = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
        return Answer { headers, ..Answer::of(206, bytes[from..].to_vec()) };
    }
    if shared.packs.load(Ordering::Relaxed) {
        let named = request.header("available-dictionary").and_then(increment::parse_available_dictionary);
        let base = named.and_then(|named| lock(&shared.files).values().find(|file| Digest::of(file) == named).cloned());
        let packed = match base.filter(|_| request.accepts("dcz")) {
            Some(base) => Some(("dcz", increment::increment(&base, bytes).unwrap())),
            None if request.accepts("zstd") => Some(("zstd", increment::zstd(bytes).unwrap())),
            None => None,
        };
        if let Some((coding, packed)) = packed {
            let headers = format!("Content-Encoding: {coding}\r\n{}", tag(coding));
            return Answer { headers, ..Answer::of(200, packed) };
        }
    }
    Answer { headers: tag("identity"), ..Answer::of(200, bytes.to_vec()) }
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
        head,
        connection: 0,
        sent: 0,
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
