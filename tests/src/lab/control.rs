//! The control endpoint: what tests do through Rust, for people and scripts with curl. Plain HTTP, on a port of its own,
//! since the vendor's port must look like the vendor's.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::State;
use super::body::{Body, full};
use super::fault::{Fault, Target};
use super::site::Content;

/// Listens there, and says on which port.
pub(super) async fn start(address: SocketAddr, state: Arc<State>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                let service = service_fn(|request| answered(request, Arc::clone(&state)));
                // Whoever hangs up early has what they wanted.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(bound)
}

async fn answered(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Infallible> {
    // Some orders wait for the accept loop, so they must not stand in its runtime's way.
    let outcome = tokio::task::spawn_blocking(move || obey(&request, &state)).await;
    let (status, body) = match outcome {
        Ok(Ok((status, body))) => (status, body),
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, json!({ "error": format!("{error:#}") })),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
    };
    let mut response = Response::new(full(format!("{body:#}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn obey(request: &Request<Incoming>, state: &State) -> Result<(StatusCode, Value)> {
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => {}
        (&Method::POST, "/publish-next") => state.publish_next()?,
        (&Method::POST, "/fault") => {
            let fault: Fault = query.get("name").context("which fault? POST /fault?name=…")?.parse()?;
            let target = query.get("at").map(|at| at.parse::<Target>()).transpose()?;
            state.break_with(fault, target.unwrap_or(fault.usual_target()))?;
        }
        (&Method::DELETE, "/fault") => state.mend()?,
        (&Method::GET, "/log") => {
            return Ok((StatusCode::OK, serde_json::to_value(&state.inner().log)?));
        }
        (&Method::DELETE, "/log") => state.inner().log.clear(),
        (_, path) => {
            let known = "GET /, POST /publish-next, POST /fault?name=…[&at=index|archives|everything], DELETE /fault, \
                         GET /log, DELETE /log";
            return Ok((StatusCode::NOT_FOUND, json!({ "error": format!("{path} is unknown here"), "known": known })));
        }
    }
    Ok((StatusCode::OK, status(state)))
}

/// What is served and what is broken now.
fn status(state: &State) -> Value {
    let inner = state.inner();
    let base = &state.bound().base;
    let index = match &inner.content {
        Content::Captured(captured) => base.join(captured.index()).map(String::from).unwrap_or_default(),
        Content::Fake(_) | Content::Directory(_) => format!("{base}{}", super::INDEX),
    };
    let faults: Vec<&str> = inner.faults.iter().map(|(_, fault)| fault.name()).collect();
    match &inner.content {
        Content::Fake(content) => {
            let edition = content.edition();
            json!({
                "index": index,
                "faults": faults,
                "edition": edition.number(),
                "versions": edition.versions.iter().map(|(c, v)| (c.to_string(), json!(v))).collect::<Map<_, _>>(),
            })
        }
        Content::Captured(captured) => {
            json!({ "index": index, "faults": faults, "capture": captured.source() })
        }
        Content::Directory(directory) => json!({ "index": index, "faults": faults, "directory": directory }),
    }
}
