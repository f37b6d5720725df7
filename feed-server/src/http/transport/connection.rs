//! Every open connection, and which of them ends where there are too many.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use prometheus::{IntCounter, IntGauge};
use rustls::AlertDescription;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::Terms;
use crate::app::ise::CLOSED;
use crate::metrics::ConnectionMetrics;

/// Of a full house, this part makes room at once: looking for who has been idle the longest costs a look at everybody.
const MAKE_ROOM: usize = 64;

/// Why the server ended a connection, or a request on it. A closed set: it is a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No handshake, or no whole head of a request, in the time for it.
    SlowHead,
    /// A request's body came too slowly.
    SlowBody,
    /// An answer was taken too slowly.
    SlowReader,
    /// Nothing was asked for on it for a while.
    Idle,
    /// There were too many, and nobody had asked for anything on this one for longer than on any other.
    Crowded,
    /// There were too many, and none of them idle.
    Refused,
    /// More requests at once on an HTTP/2 connection than it may have, given up as fast as they are made.
    Flooded,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::SlowHead, Self::SlowBody, Self::SlowReader, Self::Idle, Self::Crowded, Self::Refused, Self::Flooded];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::SlowBody => "slow_body",
            Self::SlowReader => "slow_reader",
            Self::Idle => "idle",
            Self::Crowded => "crowded",
            Self::Refused => "refused",
            Self::Flooded => "flooded",
        }
    }
}

/// One connection, as the line that moves its bytes, the requests on it, and whoever makes room see it.
#[derive(Debug)]
pub(super) struct Connection {
    opened: Instant,
    /// Requests whose answers are not sent yet.
    requests: AtomicU32,
    /// When the last of them ended, or it was opened: milliseconds since then.
    idle_since: AtomicU64,
    /// When the head of a request began to come that is not whole yet: milliseconds since it was opened, and 1.
    head_since: AtomicU64,
    /// HTTP/2: bytes between requests are no heads that begin.
    is_multiplexed: AtomicBool,
    ended: OnceLock<Ended>,
    /// The certificates that the client showed in the handshake, the leaf first.
    pub(super) shown: OnceLock<Vec<CertificateDer<'static>>>,
    waker: AtomicWaker,
    /// Milliseconds that tests let pass.
    #[cfg(test)]
    passed: AtomicU64,
}

impl Connection {
    fn new(now: Instant) -> Self {
        Self {
            opened: now,
            requests: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            is_multiplexed: AtomicBool::new(false),
            ended: OnceLock::new(),
            shown: OnceLock::new(),
            waker: AtomicWaker::new(),
            #[cfg(test)]
            passed: AtomicU64::new(0),
        }
    }

    fn age(&self) -> u64 {
        let age = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        #[cfg(test)]
        let age = age.saturating_add(self.passed.load(Ordering::Relaxed));
        age
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(super) fn pass(&self, time: Duration) {
        self.passed.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Bytes came.
    pub(super) fn received(&self) {
        if self.requests.load(Ordering::Relaxed) == 0
            && !self.is_multiplexed.load(Ordering::Relaxed)
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            self.head_since.store(self.age() + 1, Ordering::Relaxed);
        }
    }

    /// Whether anything came.
    fn has_begun(&self) -> bool {
        self.head_since.load(Ordering::Relaxed) != 0
    }

    /// It speaks HTTP/2.
    pub(super) fn multiplexed(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
    }

    /// A request's head is whole; the request lasts as long as what is given.
    pub(super) fn begin(self: &Arc<Self>) -> Going {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        Going(Arc::clone(self))
    }

    /// How many requests are going on.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How long nothing has been asked for; `None` while something is.
    pub(super) fn idle(&self) -> Option<Duration> {
        let since = self.idle_since.load(Ordering::Relaxed);
        (self.requests() == 0).then(|| Duration::from_millis(self.age().saturating_sub(since)))
    }

    /// What is overdue now; else when to look again.
    pub(super) fn overdue(&self, terms: &Terms) -> Result<Duration, Ended> {
        if let Some(why) = self.ended.get() {
            return Err(*why);
        }
        let Some(idle) = self.idle() else { return Ok(terms.idle()) };
        let left = terms.idle().checked_sub(idle).filter(|left| !left.is_zero()).ok_or(Ended::Idle)?;
        let begun = self.head_since.load(Ordering::Relaxed);
        if begun == 0 {
            return Ok(left);
        }
        let taken = Duration::from_millis((self.age() + 1).saturating_sub(begun));
        let head = terms.head.checked_sub(taken).filter(|left| !left.is_zero()).ok_or(Ended::SlowHead)?;
        Ok(left.min(head))
    }

    /// Wakes whoever is to see that it ended.
    pub(super) fn watched_by(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    fn end(&self, why: Ended) {
        let _ = self.ended.set(why);
        self.waker.wake();
    }
}

/// A request that is going on.
#[derive(Debug)]
pub(super) struct Going(Arc<Connection>);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.age(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections of a listener.
#[derive(Debug)]
pub struct Connections {
    limit: usize,
    /// How long what may take on each.
    pub(super) terms: Terms,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    count: IntGauge,
    /// By [`Ended::ALL`].
    ended: [IntCounter; Ended::ALL.len()],
    alerted: Alerted,
}

/// Told of a handshake that the other side broke off: its address, and the alert's name.
type Told = dyn Fn(IpAddr, &str) + Send + Sync;

/// Who is told of such handshakes.
#[derive(Default)]
struct Alerted(Option<Box<Told>>);

impl std::fmt::Debug for Alerted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alerted").finish_non_exhaustive()
    }
}

impl Connections {
    /// None yet, and `limit` at most; `listener` is its label in `metrics`.
    #[must_use]
    pub fn new(limit: usize, terms: Terms, metrics: &ConnectionMetrics, listener: &str) -> Self {
        let ended = |why: Ended| metrics.connections_ended_total.with_label_values(&[listener, why.as_str()]);
        Self {
            limit: limit.max(1),
            terms,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            count: metrics.connections.with_label_values(&[listener]),
            ended: Ended::ALL.map(ended),
            alerted: Alerted::default(),
        }
    }

    /// Tells of each TLS handshake that the other side broke off with an alert.
    #[must_use]
    pub fn telling(self, alerted: impl Fn(IpAddr, &str) + Send + Sync + 'static) -> Self {
        Self { alerted: Alerted(Some(Box::new(alerted))), ..self }
    }

    /// A TLS handshake failed on a connection. Java's clients close it without an alert where they refuse a certificate.
    pub(super) fn note_handshake(&self, peer: Option<SocketAddr>, connection: &Connection, error: &std::io::Error) {
        let alert = match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => alert_name(*alert),
            // Whoever sends nothing at all looks whether the port is open.
            None if connection.has_begun() && is_closed(error) => CLOSED.to_owned(),
            Some(_) | None => return,
        };
        if let (Some(peer), Some(told)) = (peer, &self.alerted.0) {
            told(peer.ip(), &alert);
        }
    }

    /// Takes one more. Where there are too many, those go that nobody has asked for anything on for the longest; `None` where
    /// all of them are busy.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= self.limit {
            let mut idle: Vec<_> =
                open.iter().filter_map(|(number, connection)| Some((connection.idle()?, *number))).collect();
            idle.sort_unstable_by(|a, b| b.cmp(a));
            for (_, number) in idle.into_iter().take(self.limit / MAKE_ROOM + 1) {
                if let Some(connection) = open.remove(&number) {
                    connection.end(Ended::Crowded);
                }
            }
        }
        if open.len() >= self.limit {
            self.note(Ended::Refused);
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::new(Instant::now()));
        open.insert(number, Arc::clone(&connection));
        self.count.inc();
        Some(Admitted { connection, number, all: Arc::clone(self) })
    }

    /// Counts one that was ended.
    pub(super) fn note(&self, why: Ended) {
        tracing::debug!(why = why.as_str(), "the server ends a connection or a request");
        self.ended[why as usize].inc();
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// As RFC 8446, section 6, has it, of those by which certificates are refused; else as the library calls it.
fn alert_name(alert: AlertDescription) -> String {
    let name = match alert {
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::ProtocolVersion => "protocol_version",
        other => return format!("{other:?}").to_lowercase(),
    };
    name.to_owned()
}

/// A connection's place among all; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) connection: Arc<Connection>,
    number: u64,
    pub(super) all: Arc<Connections>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        self.all.count.dec();
    }
}
