//! `/metrics`, `/healthz`, `/readyz`: for machines, without a token; nothing here asks upstream.

use actix_web::{HttpRequest, HttpResponse, Resource, web};

use crate::app::App;
use crate::http::errors::{Answer, Problem, no_such_method};
use crate::metrics::CONTENT_TYPE;

/// The metrics in Prometheus' text format.
pub async fn metrics(app: web::Data<App>) -> Answer {
    // Whoever waits here holds no thread.
    let gathering = app.clone().into_inner();
    let _turn = gathering.gathering.lock().await;
    let text = web::block(move || {
        app.metrics.render(&app.facts()).map_err(|error| {
            tracing::error!(%error, "the metrics cannot be written");
            Problem::new(bundles::Reason::Internal, "the metrics cannot be written; report it as a defect")
        })
    })
    .await??;
    Ok(HttpResponse::Ok().insert_header(("content-type", CONTENT_TYPE)).body(text))
}

/// The process answers.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().insert_header(("content-type", "text/plain; charset=utf-8")).body("ok\n")
}

/// What was published last is loaded and served. It is before the listeners open: that this answers is the proof.
pub async fn readyz() -> HttpResponse {
    HttpResponse::Ok().insert_header(("content-type", "text/plain; charset=utf-8")).body("ready\n")
}

/// The routes.
pub fn configure(config: &mut web::ServiceConfig) {
    let at = |path: &str, allow: &'static str| -> Resource {
        let other_method = move |request: HttpRequest| async move { no_such_method(&request, allow) };
        web::resource(path).default_service(web::to(other_method))
    };
    // Load balancers ask with HEAD too.
    config
        .service(at("/metrics", "GET").route(web::get().to(metrics)))
        .service(at("/healthz", "GET, HEAD").route(web::get().to(healthz)).route(web::head().to(healthz)))
        .service(at("/readyz", "GET, HEAD").route(web::get().to(readyz)).route(web::head().to(readyz)));
}
