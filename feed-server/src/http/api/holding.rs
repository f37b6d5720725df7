//! `/api/v1/releases/hold`, `/resume` and `/{serial}/republish`: what keeps bad content from headends.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, rt, web};
use bundles::{Reason, Reasoned as _, Serial};

use super::views::{ReasonGiven, RepublishRequest};
use crate::app::App;
use crate::app::holding::HoldingError;
use crate::http::auth::{Allowed, Operate};
use crate::http::errors::{Answer, Problem};
use crate::store::audit::Act;
use crate::store::holding::{Holding, Withdrawal};

/// Holds releases: from now on no new one is made or followed here, until they are resumed.
#[utoipa::path(
    post, path = "/api/v1/releases/hold", tag = "releases", security(("operate" = [])), request_body = ReasonGiven,
    responses(
        (status = 200, description = "What is held from now on", body = Holding),
        (status = 409, description = "They are held already", body = crate::http::errors::Problem),
    )
)]
pub async fn hold(caller: Allowed<Operate>, app: web::Data<App>, given: web::Json<ReasonGiven>) -> Answer {
    let doing = caller.doing(Act::ReleaseHold);
    let held = web::block(move || app.hold(doing, &given.reason)).await?;
    Ok(HttpResponse::Ok().json(held.map_err(problem)?))
}

/// Ends a hold; where there is none, what was withdrawn may come back from now on.
#[utoipa::path(
    post, path = "/api/v1/releases/resume", tag = "releases", security(("operate" = [])), request_body = ReasonGiven,
    responses(
        (status = 200, description = "What is held still", body = Holding),
        (status = 409, description = "Nothing is held", body = crate::http::errors::Problem),
    )
)]
pub async fn resume(caller: Allowed<Operate>, app: web::Data<App>, given: web::Json<ReasonGiven>) -> Answer {
    let doing = caller.doing(Act::ReleaseResume);
    let held = web::block(move || app.resume(doing, &given.reason)).await?;
    Ok(HttpResponse::Ok().json(held.map_err(problem)?))
}

/// Makes a release of an earlier one's content, under the next number, and publishes it; what it takes the place of does not
/// come back while upstream serves it.
#[utoipa::path(
    post, path = "/api/v1/releases/{serial}/republish", tag = "releases", security(("operate" = [])),
    params(("serial" = u64, Path, description = "The release whose content is wanted")), request_body = RepublishRequest,
    responses(
        (status = 201, description = "The new release, and what was withdrawn", body = Withdrawal),
        (status = 404, description = "There is no such release", body = crate::http::errors::Problem),
        (status = 409, description = "The newest has that content, or a run goes on", body = crate::http::errors::Problem),
    )
)]
pub async fn republish(
    caller: Allowed<Operate>,
    app: web::Data<App>,
    serial: web::Path<Serial>,
    given: web::Json<RepublishRequest>,
) -> Answer {
    let doing = caller.doing(Act::ReleaseRepublish);
    let app: Arc<App> = app.into_inner();
    // Goes on whether or not anybody waits.
    let going = rt::spawn(app.republish(doing, serial.into_inner(), given.into_inner().reason));
    let made = going.await.unwrap_or_else(|error| {
        tracing::error!(%error, "releasing again did not come to its end");
        Err(HoldingError::Other(crate::app::internal(&error)))
    });
    Ok(HttpResponse::Created().json(made.map_err(problem)?))
}

/// As it is answered.
pub(in crate::http) fn problem(error: HoldingError) -> Problem {
    match error {
        HoldingError::Held { .. } | HoldingError::NotHeld | HoldingError::SameContent { .. } => {
            Problem::with_status(StatusCode::CONFLICT, Reason::BadRequest, error.to_string())
        }
        HoldingError::Store(source) => source.into(),
        HoldingError::NoReason
        | HoldingError::Relay
        | HoldingError::Unknown { .. }
        | HoldingError::NotRetained { .. }
        | HoldingError::NumbersUsedUp
        | HoldingError::Unpublished { .. }
        | HoldingError::Other(_) => Problem::new(error.reason(), error.to_string()),
    }
}
