//! `PUT /api/v1/headends/{id}/report`: a headend says what it runs.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use bundles::Reasoned as _;
use bundles::report::{MAX_REPORT_BYTES, Report};

use crate::app::App;
use crate::headends::NotKept;
use crate::http::auth::{self, Refusal, Refused};
use crate::http::body;
use crate::http::errors::{Answer, Problem};
use crate::store::Who;
use crate::store::records::ReportRecord;

/// How long a headend is asked to wait where more reports come in than can be written: some flushes of a slow disk.
const RETRY_AFTER_SECONDS: &str = "10";

/// Takes a report.
#[utoipa::path(
    put, path = "/api/v1/headends/{id}/report", tag = "headends", security(("headend" = [])),
    params(("id" = String, Path, description = "The headend's id")),
    request_body(content = Object, description = "The report", content_type = "application/json"),
    responses(
        (status = 204, description = "It is kept"),
        (status = 400, description = "It is no report", body = crate::http::errors::Problem),
        (status = 401, description = "The token is not this headend's", body = crate::http::errors::Problem),
        (status = 500, description = "It cannot be stored", body = crate::http::errors::Problem),
        (status = 503, description = "Too many come in; `Retry-After` says when to send it again", body = crate::http::errors::Problem),
    )
)]
pub async fn put(request: HttpRequest, app: web::Data<App>, id: web::Path<String>, body: web::Payload) -> Answer {
    let id = id.into_inner();
    let refused = |refusal, problem| Refused::note(&request, Who::Nobody, refusal, problem);
    let presented = auth::presented(&request).map_err(|problem| refused(Refusal::NoToken, problem))?;
    // The same answer for a wrong token and for an unknown headend: ids are nobody else's business.
    let (catalog, asked) = (app.clone(), id.clone());
    let turn = app.inbox.turn().await;
    let headend = web::block(move || catalog.store.headend(&asked)).await??;
    drop(turn);
    let headend = headend.filter(|headend| presented.is(&headend.token));
    if headend.is_none() {
        return Err(refused(Refusal::WrongToken, auth::unknown_token()));
    }

    // Read only now: whoever has no token cannot make the server hold bytes.
    let body = body::read(body, "a report", MAX_REPORT_BYTES).await?;
    let report = Report::from_json(&body).map_err(|error| Problem::new(error.reason(), error.whole_message()))?;
    let record = ReportRecord { received: app.now(), report };
    match app.inbox.take(id, record, body.len()).await {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(NotKept::Failed(failure)) => Err(failure.into()),
        Err(full @ NotKept::Full) => {
            let problem = Problem::with_status(StatusCode::SERVICE_UNAVAILABLE, full.reason(), full.to_string());
            let mut response = problem.error_response();
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER_SECONDS));
            Ok(response)
        }
    }
}
