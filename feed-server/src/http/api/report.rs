//! `PUT /api/v1/headends/{id}/report`: a headend says what it runs.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use bundles::report::{MAX_REPORT_BYTES, Report};
use bundles::{Reason, Reasoned as _};

use crate::app::App;
use crate::headends::NotKept;
use crate::http::auth::{self, Refusal, Refused};
use crate::http::body;
use crate::http::clients::Clients;
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
        (status = 401, description = "Neither token nor certificate is this headend's", body = crate::http::errors::Problem),
        (status = 408, description = "It came too slowly", body = crate::http::errors::Problem),
        (status = 500, description = "It cannot be stored", body = crate::http::errors::Problem),
        (status = 503, description = "Too many come in; `Retry-After` says when to send it again", body = crate::http::errors::Problem),
    )
)]
pub async fn put(request: HttpRequest, app: web::Data<App>, id: web::Path<String>, body: web::Payload) -> Answer {
    let id = id.into_inner();
    may_report(&request, &app, &id).await?;

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

/// Whether the request comes with the headend's own token, or over a connection in which a certificate was shown that names it.
async fn may_report(request: &HttpRequest, app: &web::Data<App>, id: &str) -> Result<(), Problem> {
    let refused = |refusal, problem| Err(Refused::note(request, Who::Nobody, refusal, problem));
    let presented = auth::presented(request);
    let by_certificate = Clients::check(request, id, app.now());
    if let (Err(problem), None) = (&presented, &by_certificate) {
        return refused(Refusal::NoToken, problem.clone());
    }
    // The same answer for a wrong token and for an unknown headend: ids are nobody else's business.
    let (catalog, asked) = (app.clone(), id.to_owned());
    let turn = app.inbox.turn().await;
    let headend = web::block(move || catalog.store.headend(&asked)).await??;
    drop(turn);
    let token = headend.as_ref().and_then(|headend| headend.token);
    match (&presented, token, by_certificate) {
        (Ok(presented), Some(token), _) if presented.is(&token) => Ok(()),
        (_, _, Some(Ok(()))) if headend.is_some() => Ok(()),
        (Ok(_), _, _) | (Err(_), _, None) => refused(Refusal::WrongToken, auth::unknown_token()),
        (Err(_), _, Some(Err(problem))) => refused(Refusal::WrongCertificate, problem),
        (Err(_), _, Some(Ok(()))) => {
            let detail = "no headend of the certificate's name was added here; `feed-server headend add ID --certificate` does it";
            refused(Refusal::WrongCertificate, Problem::new(Reason::Unauthorized, detail))
        }
    }
}
