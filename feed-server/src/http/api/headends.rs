//! `/api/v1/headends`: which headends may report, and how they are.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use bundles::Reason;

use super::audit::changed;
use super::views::{HeadendView, IssuedToken, NewHeadend};
use crate::app::App;
use crate::headends;
use crate::http::auth::{Admin, Allowed, Read};
use crate::http::errors::{Answer, Problem};
use crate::store::Batch;
use crate::store::audit::Act;
use crate::store::records::{HeadendRecord, ReportRecord};
use crate::tokens::Token;

/// All headends with their state, by id.
#[utoipa::path(
    get, path = "/api/v1/headends", tag = "headends", security(("read" = [])),
    responses((status = 200, description = "All headends", body = Vec<HeadendView>))
)]
pub async fn list(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let views: Vec<_> = web::block(move || views(&app, None)).await??;
    Ok(HttpResponse::Ok().json(views))
}

/// One headend.
#[utoipa::path(
    get, path = "/api/v1/headends/{id}", tag = "headends", security(("read" = [])),
    params(("id" = String, Path, description = "The headend's id")),
    responses(
        (status = 200, description = "The headend", body = HeadendView),
        (status = 404, description = "There is no such headend", body = crate::http::errors::Problem),
    )
)]
pub async fn get(_: Allowed<Read>, app: web::Data<App>, id: web::Path<String>) -> Answer {
    let id = id.into_inner();
    let wanted = id.clone();
    let view = web::block(move || views(&app, Some(&wanted))).await??.pop();
    view.map(|view| HttpResponse::Ok().json(view)).ok_or_else(|| Problem::none_called("headend", &id))
}

/// Adds a headend and shows its token this once; none where it is to show a certificate.
#[utoipa::path(
    post, path = "/api/v1/headends", tag = "headends", security(("admin" = [])), request_body = NewHeadend,
    responses(
        (status = 201, description = "It may report with this token", body = IssuedToken),
        (status = 409, description = "There is one with this id", body = crate::http::errors::Problem),
    )
)]
pub async fn add(caller: Allowed<Admin>, app: web::Data<App>, new: web::Json<NewHeadend>) -> Answer {
    let NewHeadend { id, certificate } = new.into_inner();
    if !headends::is_id(&id) {
        return Err(Problem::bad_request(
            "a headend's id has 1 to 253 of A-Z a-z 0-9 . _ - and begins with a letter or a digit",
        ));
    }
    if certificate && app.config.listen.client_ca.is_none() {
        return Err(Problem::bad_request(
            "[listen] client_ca is not set, so that no headend can show a certificate; set it, or add the headend with a token",
        ));
    }
    let token = (!certificate).then(Token::new);
    let record = HeadendRecord { id: id.clone(), added: app.now(), token: token.as_ref().map(Token::digest) };
    let mut doing = caller.doing(Act::HeadendAdd).to(&id);
    if certificate {
        doing = doing.with("by certificate");
    }
    changed(app, doing, move |store| {
        if store.headend(&record.id)?.is_some() {
            let id = &record.id;
            let detail =
                format!("there is a headend {id} already; `feed-server headend token {id}` gives it another token");
            return Err(Problem::with_status(StatusCode::CONFLICT, Reason::BadRequest, detail));
        }
        let mut batch = Batch::new();
        batch.add_headend(&record)?;
        Ok(batch)
    })
    .await?;
    tracing::info!(headend = id, by = %caller.who, "added a headend");
    Ok(HttpResponse::Created().json(IssuedToken {
        name: id,
        token: token.map(|token| token.reveal().to_owned()),
        expires: None,
    }))
}

/// Gives a headend another token and shows it this once; the one before ends, and what the headend reported stays.
#[utoipa::path(
    post, path = "/api/v1/headends/{id}/token", tag = "headends", security(("admin" = [])),
    params(("id" = String, Path, description = "The headend's id")),
    responses(
        (status = 201, description = "It may report with this token from now on", body = IssuedToken),
        (status = 404, description = "There is no such headend", body = crate::http::errors::Problem),
    )
)]
pub async fn token(caller: Allowed<Admin>, app: web::Data<App>, id: web::Path<String>) -> Answer {
    let id = id.into_inner();
    let wanted = id.clone();
    let token = Token::new();
    let digest = token.digest();
    let doing = caller.doing(Act::HeadendToken).to(&id);
    changed(app, doing, move |store| {
        let headend = store.headend(&wanted)?.ok_or_else(|| Problem::none_called("headend", &wanted))?;
        let mut batch = Batch::new();
        batch.put_headend(&HeadendRecord { token: Some(digest), ..headend })?;
        Ok(batch)
    })
    .await?;
    tracing::info!(headend = id, by = %caller.who, "gave a headend another token");
    Ok(HttpResponse::Created().json(IssuedToken { name: id, token: Some(token.reveal().to_owned()), expires: None }))
}

/// Removes a headend and what it reported; its token ends.
#[utoipa::path(
    delete, path = "/api/v1/headends/{id}", tag = "headends", security(("admin" = [])),
    params(("id" = String, Path, description = "The headend's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such headend", body = crate::http::errors::Problem),
    )
)]
pub async fn remove(caller: Allowed<Admin>, app: web::Data<App>, id: web::Path<String>) -> Answer {
    let id = id.into_inner();
    let gone = id.clone();
    let doing = caller.doing(Act::HeadendRemove).to(&id);
    changed(app, doing, move |store| {
        if store.headend(&gone)?.is_none() {
            return Err(Problem::none_called("headend", &gone));
        }
        let mut batch = Batch::new();
        batch.remove_headend(&gone);
        Ok(batch)
    })
    .await?;
    tracing::info!(headend = id, by = %caller.who, "removed a headend");
    Ok(HttpResponse::NoContent().finish())
}

/// All headends, or the one of that id, by id.
///
/// # Errors
/// The store cannot be read.
pub(in crate::http) fn views(app: &App, only: Option<&str>) -> Result<Vec<HeadendView>, Problem> {
    let now = app.now();
    let releases = app.release_times()?;
    let headends = app.headends()?.into_iter().filter(|(headend, _)| only.is_none_or(|id| id == headend.id));
    let view = |(headend, report): (HeadendRecord, Option<ReportRecord>)| HeadendView {
        state: headends::state(now, report.as_ref(), &releases),
        id: headend.id,
        added: headend.added,
        has_token: headend.token.is_some(),
        report,
    };
    Ok(headends.map(view).collect())
}
