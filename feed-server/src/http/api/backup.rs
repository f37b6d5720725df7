//! `/api/v1/backup`: the whole data directory as one file, to whoever owns it.

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bundles::{Reason, Reasoned as _};
use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::app::App;
use crate::http::auth::{Admin, Allowed, Door, Refusal, Refused};
use crate::http::errors::{Answer, Problem};
use crate::store::audit::{Act, AuditResult};

/// What is written at once.
const PIECE: usize = 256 << 10;

/// Pieces between the disk and whoever fetches.
const PIECES: usize = 4;

/// What is to be in it.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BackupQuery {
    /// Whether private keys are; they are unless this is false.
    #[serde(default = "yes")]
    keys: bool,
}

const fn yes() -> bool {
    true
}

/// A backup of the data directory, as a tar file. Through the control socket alone: it may hold private keys.
#[utoipa::path(
    get, path = "/api/v1/backup", tag = "backup", security(("control" = [])), params(BackupQuery),
    responses(
        (status = 200, description = "The backup", body = Vec<u8>, content_type = "application/x-tar"),
        (status = 403, description = "Not through the control socket", body = crate::http::errors::Problem),
        (status = 500, description = "Something cannot be read, or has rotted", body = crate::http::errors::Problem),
    )
)]
pub async fn get(
    caller: Allowed<Admin>,
    request: HttpRequest,
    app: web::Data<App>,
    query: web::Query<BackupQuery>,
) -> Answer {
    if request.app_data::<Door>() != Some(&Door::Control) {
        let detail = "a backup may hold private keys and is given out through the control socket alone: run `feed-server backup` \
                      on the server";
        let problem = Problem::with_status(StatusCode::FORBIDDEN, Reason::Unauthorized, detail);
        return Err(Refused::note(&request, caller.who, Refusal::SmallScope, problem));
    }
    let snapshot = app.snapshot(query.keys).await?;
    let length = snapshot.length().map_err(|error| Problem::inside(&error))?;
    let doing = caller.doing(Act::Backup).with(if query.keys { "with private keys" } else { "without private keys" });
    let trail = app.clone();
    web::block(move || trail.record(doing, AuditResult::Done)).await??;
    tracing::info!(bytes = length, keys = query.keys, by = %caller.who, "a backup is taken");
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces { sender, piece: BytesMut::with_capacity(PIECE) };
        if let Err(error) = snapshot.write(&mut pieces) {
            // The answer then ends before its length, which whoever fetches it sees.
            tracing::error!(reason = error.reason().as_str(), error = error.whole_message(), "a backup broke off");
        }
    });
    let pieces = unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
        receiver.recv().await.map(|piece| (Ok::<_, std::io::Error>(piece), receiver))
    });
    Ok(HttpResponse::Ok().content_type("application/x-tar").body(SizedStream::new(length, pieces)))
}

/// Hands on what is written.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: BytesMut,
}

impl std::io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, BytesMut::with_capacity(PIECE)).freeze();
        let gone = |_| std::io::Error::new(std::io::ErrorKind::BrokenPipe, "nobody fetches it any more");
        self.sender.blocking_send(piece).map_err(gone)
    }
}
