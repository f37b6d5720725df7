//! A file as a response body, read piece by piece on threads that may block.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use actix_web::body::SizedStream;
use actix_web::web;
use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};

use super::range::Part;

/// What a slow client makes the server hold. Ten thousand of them are a thousand at once, and 64 MB.
const PIECE: usize = 64 << 10;

/// For downloads that are larger than [`LARGE`]: fewer changes of thread per byte.
const LARGE_PIECE: usize = 256 << 10;
const LARGE: u64 = 8 << 20;

/// Opens a file, by `opener` on a thread that may block, that must have `length` bytes. Once open it is read to its end, even if it is removed meanwhile.
pub(super) async fn open(
    opener: impl FnOnce() -> io::Result<File> + Send + 'static,
    length: u64,
    part: Part,
) -> io::Result<SizedStream<impl Stream<Item = io::Result<Bytes>>>> {
    let open = move || -> io::Result<(File, Bytes)> {
        let file = opener()?;
        if file.metadata()?.len() != length {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file does not have its length"));
        }
        let first = read(&file, part)?;
        Ok((file, first))
    };
    let (file, first) = blocking(open).await?;
    let rest = Part { first: part.first + first.len() as u64, length: part.length - first.len() as u64 };
    let state = (Arc::new(file), Some(first), rest);
    let stream = try_unfold(state, |(file, ready, rest)| async move {
        if let Some(ready) = ready {
            return Ok(Some((ready, (file, None, rest))));
        }
        if rest.length == 0 {
            return Ok(None);
        }
        let reading = Arc::clone(&file);
        let piece = blocking(move || read(&reading, rest)).await?;
        let read = piece.len() as u64;
        Ok(Some((piece, (file, None, Part { first: rest.first + read, length: rest.length - read }))))
    });
    Ok(SizedStream::new(part.length, stream))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    web::block(work).await.map_err(io::Error::other)?
}

/// The next piece; never empty unless the part is.
fn read(file: &File, part: Part) -> io::Result<Bytes> {
    let piece = if part.length > LARGE { LARGE_PIECE } else { PIECE };
    let wanted = usize::try_from(part.length).unwrap_or(usize::MAX).min(piece);
    let mut piece = Vec::with_capacity(wanted);
    // Into memory as it is, which need not be all zeros first.
    let mut from = file;
    from.seek(SeekFrom::Start(part.first))?;
    from.take(wanted as u64).read_to_end(&mut piece)?;
    if piece.len() < wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(piece.into())
}
