//! Who may do what, and how errors look.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::running::{NO_FETCHING, Site, plain};

/// Far longer than anything here takes: it ends a hanging test, it decides nothing.
const DEADLINE: Duration = Duration::from_secs(30);

async fn ask(site: &Site, method: &Method, path: &str, authorization: Option<&str>) -> (StatusCode, Value) {
    let mut request = plain().request(method.clone(), site.url(path));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    if !status.is_success() {
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{method} {path}");
    }
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
}

#[tokio::test]
async fn whatever_the_description_refers_to_is_described() {
    let site = Site::serving(NO_FETCHING);
    let text = plain().get(site.url("/api/v1/openapi.json")).send().await.unwrap().text().await.unwrap();
    let description: Value = serde_json::from_str(&text).unwrap();
    let mut open = vec![&description];
    let mut references = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            references += 1;
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        open.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    assert!(references > 20, "{references}");
    let run = description.pointer("/components/schemas/RunDetails").unwrap().to_string();
    assert!(run.contains("chains") && run.contains("RunView"), "{run}");
    let status = description.pointer("/components/schemas/StatusView/properties").unwrap();
    assert!(status["warnings"].is_object() && status["upstream_chain"].is_object(), "{status}");
}

#[tokio::test]
async fn a_headend_reports_for_itself_alone() {
    let site = Site::serving(NO_FETCHING);
    let [one, other] = ["one", "other"].map(|id| site.prints(&["headend", "add", id]).trim().to_owned());
    let report = json!({
        "client_version": "0.1.0", "last_attempt": "2025-03-13T14:24:50Z", "interval_seconds": 7200,
        "last_failure": {"reason": "connect", "message": "no route"},
    });
    let put = async |id: &str, token: &str, body: String| {
        let url = site.url(&format!("/api/v1/headends/{id}/report"));
        plain().put(url).bearer_auth(token).body(body).send().await.unwrap().status()
    };
    assert_eq!(put("one", &one, report.to_string()).await, StatusCode::NO_CONTENT);
    assert_eq!(put("other", &one, report.to_string()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(put("nobody", &one, report.to_string()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(put("other", &other, "{".to_owned()).await, StatusCode::BAD_REQUEST);
    assert_eq!(put("other", &other, " ".repeat(70_000)).await, StatusCode::PAYLOAD_TOO_LARGE);

    let headends: Value = serde_json::from_str(&site.prints(&["headend", "list", "--json"])).unwrap();
    let states: Vec<_> = headends.as_array().unwrap().iter().map(|headend| &headend["state"]).collect();
    assert_eq!(states, ["failing", "silent"]);
    assert_eq!(headends[0]["report"]["report"]["last_failure"]["reason"], "connect");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_crash() {
    let mut site = Site::serving(NO_FETCHING);
    let token = site.prints(&["headend", "add", "one"]);
    let admin = site.prints(&["token", "add", "ops", "--scope", "read"]);
    let report = json!({"client_version": "0.1.0", "last_attempt": "2025-03-13T14:24:50Z", "interval_seconds": 7200});
    let url = site.url("/api/v1/headends/one/report");
    let sent = plain().put(url).bearer_auth(token.trim()).body(report.to_string()).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    site.kill();
    site.serve();
    let (status, headend) =
        ask(&site, &Method::GET, "/api/v1/headends/one", Some(&format!("Bearer {}", admin.trim()))).await;
    assert_eq!((status, &headend["state"]), (StatusCode::OK, &json!("current")));
}

#[tokio::test]
async fn mistakes_in_requests_are_told_as_problems() {
    let site = Site::serving(NO_FETCHING);
    let token = format!("Bearer {}", site.prints(&["token", "add", "ops", "--scope", "admin"]).trim());
    for (method, path, expected, reason) in [
        (Method::GET, "/api/v1/nothing", StatusCode::NOT_FOUND, "not_found"),
        (Method::GET, "/nothing", StatusCode::NOT_FOUND, "not_found"),
        (Method::PATCH, "/api/v1/status", StatusCode::METHOD_NOT_ALLOWED, "bad_request"),
        (Method::POST, "/metrics", StatusCode::METHOD_NOT_ALLOWED, "bad_request"),
        (Method::GET, "/api/v1/releases/zero", StatusCode::BAD_REQUEST, "bad_request"),
        (Method::GET, "/api/v1/releases/7", StatusCode::NOT_FOUND, "not_found"),
        (Method::GET, "/api/v1/runs?limit=all", StatusCode::BAD_REQUEST, "bad_request"),
        (Method::POST, "/api/v1/headends", StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request"),
        (Method::POST, "/api/v1/sync", StatusCode::BAD_REQUEST, "bad_request"),
    ] {
        let (status, problem) = ask(&site, &method, path, Some(&token)).await;
        assert_eq!((status, problem["reason"].as_str()), (expected, Some(reason)), "{method} {path}");
        assert_eq!(problem["status"], expected.as_u16());
        assert!(!problem["detail"].as_str().unwrap().contains('\n'), "{problem}");
        assert!(!problem.to_string().contains(site.path().to_str().unwrap()), "{problem}");
    }
}

#[tokio::test]
async fn a_run_can_be_asked_for_and_followed() {
    let site = Site::serving("[schedule]\ninitial_delay = \"10:00:00\"\n");
    let token = site.prints(&["token", "add", "ops", "--scope", "operate"]);
    let misspelt = plain().post(site.url("/api/v1/sync")).bearer_auth(token.trim()).body("{\"accept\": true}");
    assert_eq!(misspelt.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let response = plain().post(site.url("/api/v1/sync")).bearer_auth(token.trim()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let run: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let ended = ended(&site, &run["run"], &format!("Bearer {}", token.trim())).await;
    assert_eq!((&ended["result"], &ended["trigger"]), (&json!("connect"), &json!("operator")));
}

#[tokio::test]
async fn the_schedule_starts_the_first_run_and_plans_a_retry() {
    let site = Site::serving("");
    let token = format!("Bearer {}", site.prints(&["token", "add", "ops", "--scope", "read"]).trim());
    let run = ended(&site, &json!(1), &token).await;
    assert_eq!((&run["result"], &run["trigger"]), (&json!("connect"), &json!("schedule")));
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let deadline = Instant::now() + DEADLINE;
    let wait = loop {
        let (_, status) = ask(&site, &Method::GET, "/api/v1/status", Some(&token)).await;
        let wait = time(&status["next_run"]).duration_since(time(&run["ended"])).as_secs();
        if wait > 0 {
            break wait;
        }
        assert!(Instant::now() < deadline, "{status}");
    };
    assert!((60..=91).contains(&wait), "a minute, lengthened by up to a half: {wait}");
}

async fn ended(site: &Site, run: &Value, authorization: &str) -> Value {
    let path = format!("/api/v1/runs/{run}");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (_, view) = ask(site, &Method::GET, &path, Some(authorization)).await;
        if view["result"].is_string() {
            return view;
        }
        assert!(Instant::now() < deadline, "{view}");
    }
}
