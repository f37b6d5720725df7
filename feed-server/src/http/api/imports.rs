//! `/api/v1/imports`: zips come in, and what became of them.

use std::fmt::Display;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bundles::Reason;
use bundles::report::Failure;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::views::{ImportProgressView, ImportView, ImportsView};
use crate::app::App;
use crate::app::imports::{Brought, Piece};
use crate::app::runs::Wishes;
use crate::http::auth::{Allowed, Operate, Read};
use crate::http::errors::{Answer, Problem, came_too_slowly, status_of};
use crate::store::Who;
use crate::store::audit::{Act, AuditResult};
use crate::store::imports::{BroughtBy, ImportKind, KEPT_IMPORTS};

/// A page of a hundred is what people look at.
const DEFAULT_IMPORTS: usize = 100;

/// No file system has longer names (NAME_MAX of Linux), and each import keeps one.
const MAX_NAME_CHARS: usize = 255;

/// What is said of a zip that is brought.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// `bundle`, which is the default, or `vendor-zip`.
    #[param(value_type = Option<String>)]
    kind: Option<ImportKind>,
    /// The file's name, for the records.
    name: Option<String>,
    /// Of a vendor's zip: take a component even where its version goes backwards.
    #[serde(default)]
    accept_version_rollback: bool,
}

/// Brings a zip, whose bytes are the request's body, and answers when its import has ended. Once the body is whole, the
/// import goes on whether or not anybody waits.
#[utoipa::path(
    post, path = "/api/v1/imports", tag = "imports", security(("operate" = [])), params(ImportQuery),
    request_body(content = String, description = "The zip", content_type = "application/zip"),
    responses(
        (status = 200, description = "It is imported, or was here already", body = ImportView),
        (status = 400, description = "It is damaged, no zip, or not for this server", body = crate::http::errors::Problem),
        (status = 408, description = "It stopped coming", body = crate::http::errors::Problem),
        (status = 409, description = "It is not trusted, expired or older than what is here, or something else is going on",
            body = crate::http::errors::Problem),
        (status = 413, description = "It is larger than is taken", body = crate::http::errors::Problem),
    )
)]
pub async fn take(
    caller: Allowed<Operate>,
    request: HttpRequest,
    app: web::Data<App>,
    query: web::Query<ImportQuery>,
    body: web::Payload,
) -> Answer {
    let ImportQuery { kind, name, accept_version_rollback } = query.into_inner();
    let mut doing = caller.doing(Act::Import);
    let by = match caller.who {
        Who::Token { name } => BroughtBy::Token { name },
        Who::User { name } => BroughtBy::Operator { user: Some(name) },
        Who::Headend { .. } | Who::Nobody | Who::Program => BroughtBy::Operator { user: None },
    };
    let brought = Brought {
        by,
        kind: kind.unwrap_or(ImportKind::Bundle),
        name: name.map(|name| plain(&name)),
        length: announced(&request),
        wishes: Wishes { accept_version_rollback, ..Wishes::default() },
        from: caller.from,
    };
    let asked = app.clone();
    let handing = web::block(move || {
        doing.detail.clone_from(&brought.name);
        let handing = asked.import(brought);
        // One that begins is recorded by whoever does it.
        if let Err(failure) = &handing {
            asked.tell(doing, AuditResult::Failed(failure.reason));
        }
        handing
    })
    .await??;
    hand_over(body, came_too_slowly, handing.pieces).await;
    let stopping = || Problem::with_status(StatusCode::SERVICE_UNAVAILABLE, Reason::Busy, "the server is stopping");
    let record = handing.answer.await.map_err(|_| stopping())?;
    match record.failure() {
        None => Ok(HttpResponse::Ok().json(ImportView::from(&record))),
        Some(failure) => Err(refused(failure)),
    }
}

/// What whoever brought a zip is told of it.
pub(in crate::http) fn refused(failure: &Failure) -> Problem {
    Problem::with_status(status(failure.reason), failure.reason, failure.message.clone())
}

fn announced(request: &HttpRequest) -> Option<u64> {
    request.headers().get("content-length")?.to_str().ok()?.parse().ok()
}

/// The file's own name, without folders, as one short line.
pub(in crate::http) fn plain(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    last.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

/// Hands over what comes for as long as it is wanted. What ends before its end gets no [`Piece::End`]. `is_slow` knows the
/// errors of what came too slowly.
pub(in crate::http) async fn hand_over<E: Display>(
    mut coming: impl Stream<Item = Result<Bytes, E>> + Unpin,
    is_slow: impl Fn(&E) -> bool,
    pieces: mpsc::Sender<Piece>,
) {
    loop {
        let next = tokio::select! {
            next = coming.next() => next,
            () = pieces.closed() => return,
        };
        let piece = match next {
            None => Piece::End,
            Some(Ok(bytes)) => Piece::Bytes(bytes),
            Some(Err(error)) if is_slow(&error) => Piece::TooSlow,
            Some(Err(error)) => {
                tracing::info!(%error, "an upload broke off");
                return;
            }
        };
        let is_end = matches!(piece, Piece::End | Piece::TooSlow);
        if pieces.send(piece).await.is_err() || is_end {
            return;
        }
    }
}

/// Here the input is the client's, and no upstream is involved.
fn status(reason: Reason) -> StatusCode {
    match status_of(reason) {
        StatusCode::BAD_GATEWAY => StatusCode::BAD_REQUEST,
        StatusCode::GATEWAY_TIMEOUT => StatusCode::REQUEST_TIMEOUT,
        status => status,
    }
}

/// How many.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// At most this many, newest first.
    limit: Option<usize>,
}

/// The import that is going on, and the last ones, newest first.
#[utoipa::path(
    get, path = "/api/v1/imports", tag = "imports", security(("read" = [])), params(Page),
    responses((status = 200, description = "Imports", body = ImportsView))
)]
pub async fn list(_: Allowed<Read>, app: web::Data<App>, page: web::Query<Page>) -> Answer {
    let limit = page.limit.unwrap_or(DEFAULT_IMPORTS).min(KEPT_IMPORTS);
    let running = app.runs.importing().as_deref().map(ImportProgressView::from);
    let imports = web::block(move || app.recent_imports(limit)).await??.iter().map(ImportView::from).collect();
    Ok(HttpResponse::Ok().json(ImportsView { running, imports }))
}

/// One import.
#[utoipa::path(
    get, path = "/api/v1/imports/{id}", tag = "imports", security(("read" = [])),
    params(("id" = u64, Path, description = "The import's number")),
    responses(
        (status = 200, description = "The import", body = ImportView),
        (status = 404, description = "There is no such import", body = crate::http::errors::Problem),
    )
)]
pub async fn get(_: Allowed<Read>, app: web::Data<App>, id: web::Path<u64>) -> Answer {
    let import = web::block(move || app.import_record(*id)).await??;
    let import = import.ok_or_else(|| Problem::not_found("such import"))?;
    Ok(HttpResponse::Ok().json(ImportView::from(&import)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lines_without_folders() {
        assert_eq!(plain("C:\\media\\posture-bundle-1.zip"), "posture-bundle-1.zip");
        assert_eq!(plain("../../etc/x\u{1b}[2J.zip\n"), "x[2J.zip");
        assert_eq!(plain(&"x".repeat(300)).len(), 255);
    }

    #[test]
    fn what_came_is_never_upstreams_fault() {
        for reason in Reason::ALL {
            let status = status(*reason);
            assert!(status != StatusCode::BAD_GATEWAY && status != StatusCode::GATEWAY_TIMEOUT, "{reason}");
        }
    }
}
