//! Bodies that are sent piece by piece, and may stop, stall, crawl or be cut on the way.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{mpsc, watch};

use super::gate::Gate;

/// What the server sends.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// Pieces of a body: large enough to be quick, small enough that a directory's archive is never whole in memory.
const PIECE: u64 = 64 << 10;

/// [`super::Fault::Slow`]: so that a feed of some 300 KB takes seconds, and a test of timeouts need not take minutes.
const SLOW_PIECE: u64 = 4 << 10;
const SLOW_PAUSE: Duration = Duration::from_millis(100);

/// [`super::Fault::Trickle`].
const TRICKLE_PIECE: u64 = 1;
const TRICKLE_PAUSE: Duration = Duration::from_secs(1);

/// Between the last byte before a cut and the cut: hyper throws away what it has not flushed when a body fails, and
/// flushes when a body has nothing to give. Without it, most cuts would be after 0 bytes.
const LAST_FLUSH: Duration = Duration::from_millis(20);

/// Where a body's bytes come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// From memory.
    Bytes(Bytes),
    /// From a file of that length.
    File(std::path::PathBuf, u64),
    /// The bytes, then zeros up to the length.
    Padded(Bytes, u64),
}

impl Source {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, length) | Self::Padded(_, length) => *length,
        }
    }
}

/// How a body goes out.
#[derive(Debug, Clone, Default)]
pub(super) struct Delivery {
    /// Cut the connection before this byte.
    pub(super) cut_at: Option<u64>,
    /// Wait before this byte.
    pub(super) hold: Option<(u64, Hold)>,
    /// How fast.
    pub(super) pace: Pace,
}

/// How fast a body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pace {
    /// As fast as it is taken.
    #[default]
    Full,
    /// So many bytes, then a pause.
    Pieces(u64, Duration),
}

impl Pace {
    pub(super) const SLOW: Self = Self::Pieces(SLOW_PIECE, SLOW_PAUSE);
    pub(super) const TRICKLE: Self = Self::Pieces(TRICKLE_PIECE, TRICKLE_PAUSE);
}

/// What a body waits for.
#[derive(Debug, Clone)]
pub(super) enum Hold {
    /// A test that releases it.
    Gate(Gate),
    /// The end of the fault.
    UntilMended(watch::Receiver<u64>),
}

/// A body that is there at once.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// The bytes from `start` to `end`, delivered so.
pub(super) fn sent(source: Source, start: u64, end: u64, delivery: Delivery) -> Body {
    let (pieces, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        if let Err(error) = send(&pieces, source, start, end, delivery).await {
            // Nobody is left to tell where the connection is gone already.
            let _ = pieces.send(Err(error)).await;
        }
    });
    let frames = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<io::Result<Bytes>>| {
        receiver.recv().await.map(|piece| (piece.map(Frame::data), receiver))
    });
    BodyExt::boxed(StreamBody::new(Box::pin(frames)))
}

async fn send(
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    source: Source,
    start: u64,
    end: u64,
    mut delivery: Delivery,
) -> io::Result<()> {
    let mut reader = Reader::open(source, start).await?;
    let mut position = start;
    let (most, mut pause) = match delivery.pace {
        Pace::Full => (PIECE, None),
        Pace::Pieces(most, pause) => (most, Some(tokio::time::interval(pause))),
    };
    while position < end {
        if delivery.hold.as_ref().is_some_and(|(at, _)| position >= *at) {
            match delivery.hold.take() {
                Some((_, Hold::Gate(gate))) => gate.pass().await,
                // An error means that the lab is ending, and this body with it.
                Some((_, Hold::UntilMended(mut mended))) => drop(mended.changed().await),
                None => {}
            }
        }
        if delivery.cut_at.is_some_and(|cut| position >= cut) {
            tokio::time::sleep(LAST_FLUSH).await;
            return Err(io::Error::other("the lab cuts this connection"));
        }
        if let Some(pause) = &mut pause {
            pause.tick().await;
        }
        let stops = [Some(end), delivery.cut_at, delivery.hold.as_ref().map(|(at, _)| *at)];
        let stop = stops.into_iter().flatten().filter(|stop| *stop > position).min().unwrap_or(end);
        let piece = reader.read(position, (stop - position).min(most)).await?;
        position += piece.len() as u64;
        if pieces.send(Ok(piece)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

enum Reader {
    Bytes(Bytes),
    File(tokio::fs::File),
}

impl Reader {
    async fn open(source: Source, start: u64) -> io::Result<Self> {
        match source {
            Source::Bytes(bytes) | Source::Padded(bytes, _) => Ok(Self::Bytes(bytes)),
            Source::File(path, _) => {
                let mut file = tokio::fs::File::open(path).await?;
                file.seek(io::SeekFrom::Start(start)).await?;
                Ok(Self::File(file))
            }
        }
    }

    /// At least one byte and at most `length`, which is at most [`PIECE`].
    async fn read(&mut self, position: u64, length: u64) -> io::Result<Bytes> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(position).unwrap_or(usize::MAX);
                if start >= bytes.len() {
                    return Ok(Bytes::from(vec![0; length]));
                }
                Ok(bytes.slice(start..start.saturating_add(length).min(bytes.len())))
            }
            Self::File(file) => {
                let mut piece = vec![0; length];
                let read = file.read(&mut piece).await?;
                if read == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was served"));
                }
                piece.truncate(read);
                Ok(piece.into())
            }
        }
    }
}
