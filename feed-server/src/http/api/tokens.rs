//! `/api/v1/tokens`: administrators' tokens.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use bundles::Reason;
use bundles::report::Failure;

use super::audit::changed;
use super::views::{IssuedToken, NewToken, TokenView};
use crate::app::App;
use crate::headends;
use crate::http::auth::{Admin, Allowed};
use crate::http::errors::{Answer, Problem};
use crate::store::Batch;
use crate::store::audit::Act;
use crate::store::records::TokenRecord;
use crate::tokens::{Lifetime, Token};

/// All tokens by name; what they are is not kept.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", security(("admin" = [])),
    responses((status = 200, description = "All tokens", body = Vec<TokenView>))
)]
pub async fn list(_: Allowed<Admin>, app: web::Data<App>) -> Answer {
    let tokens: Vec<_> = web::block(move || {
        let uses = app.token_uses()?;
        let view = |token: TokenRecord| {
            let last_used = uses.get(&token.token).copied();
            TokenView::new(token, last_used)
        };
        Ok::<_, Problem>(app.store.tokens()?.into_iter().map(view).collect())
    })
    .await??;
    Ok(HttpResponse::Ok().json(tokens))
}

/// Makes a token and shows it this once.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", security(("admin" = [])), request_body = NewToken,
    responses(
        (status = 201, description = "The token", body = IssuedToken),
        (status = 400, description = "It can have no such name, or no such end", body = crate::http::errors::Problem),
        (status = 409, description = "There is one of this name", body = crate::http::errors::Problem),
    )
)]
pub async fn add(caller: Allowed<Admin>, app: web::Data<App>, new: web::Json<NewToken>) -> Answer {
    let NewToken { name, scope, expires } = new.into_inner();
    if !headends::is_id(&name) {
        return Err(Problem::bad_request(
            "a token's name has 1 to 253 of A-Z a-z 0-9 . _ - and begins with a letter or a digit",
        ));
    }
    let created = app.now();
    let lifetime = expires.map_or_else(|| Ok(Lifetime::default()), |text| text.parse::<Lifetime>());
    let expires = lifetime.and_then(|lifetime| lifetime.end(created)).map_err(|error| Failure::of(&error))?;
    let token = Token::new();
    let made_by = Some(caller.who.clone());
    let record = TokenRecord { name: name.clone(), scope, created, token: token.digest(), expires, made_by };
    let ends = expires.map_or_else(|| "without an end".to_owned(), |end| format!("until {end}"));
    let doing = caller.doing(Act::TokenAdd).to(&name).with(format!("scope {}, {ends}", scope.as_str()));
    changed(app, doing, move |store| {
        if store.tokens()?.iter().any(|token| token.name == record.name) {
            let name = &record.name;
            let detail = format!("there is a token {name} already; revoke it first, or choose another name");
            return Err(Problem::with_status(StatusCode::CONFLICT, Reason::BadRequest, detail));
        }
        let mut batch = Batch::new();
        batch.put_token(&record)?;
        Ok(batch)
    })
    .await?;
    tracing::info!(token = name, ?scope, ?expires, by = %caller.who, "made a token");
    Ok(HttpResponse::Created().json(IssuedToken { name, token: Some(token.reveal().to_owned()), expires }))
}

/// Revokes a token.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{name}", tag = "tokens", security(("admin" = [])),
    params(("name" = String, Path, description = "The token's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such token", body = crate::http::errors::Problem),
    )
)]
pub async fn revoke(caller: Allowed<Admin>, app: web::Data<App>, name: web::Path<String>) -> Answer {
    let name = name.into_inner();
    let gone = name.clone();
    let doing = caller.doing(Act::TokenRevoke).to(&name);
    changed(app, doing, move |store| {
        if !store.tokens()?.iter().any(|token| token.name == gone) {
            return Err(Problem::none_called("token", &gone));
        }
        let mut batch = Batch::new();
        batch.remove_token(&gone);
        Ok(batch)
    })
    .await?;
    tracing::info!(token = name, by = %caller.who, "revoked a token");
    Ok(HttpResponse::NoContent().finish())
}
