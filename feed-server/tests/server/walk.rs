//! Every route and method of the description, tried by everybody who may not: each is refused, and nothing has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::running::{NO_FETCHING, Site, client_from, plain};

/// Far longer than anything here takes: it ends a hanging test, it decides nothing.
const DEADLINE: Duration = Duration::from_secs(30);

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];

/// A route as the description has it, with an address at which there is something that could be changed.
struct Route {
    method: Method,
    path: String,
    /// Who may: `None` is anyone.
    scheme: Option<String>,
    /// What it is said to answer.
    statuses: BTreeMap<String, Value>,
}

async fn description(site: &Site) -> Value {
    let text = plain().get(site.url("/api/v1/openapi.json")).send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn routes(site: &Site) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, methods) in description(site).await["paths"].as_object().unwrap() {
        let object = if path.starts_with("/api/v1/headends/") { "h" } else { "1" };
        let path = path.replace("{id}", object).replace("{serial}", "1").replace("{name}", "victim");
        let path = path.replace("{repository}", "online");
        assert!(!path.contains('{'), "{path}");
        for (method, route) in methods.as_object().unwrap() {
            routes.push(Route {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                scheme: route["security"][0].as_object().and_then(|scheme| scheme.keys().next().cloned()),
                statuses: serde_json::from_value(route["responses"].clone()).unwrap(),
            });
        }
    }
    assert!(routes.len() > 25, "{}", routes.len());
    routes
}

/// What each route would take, so that only the token stands in the way.
fn body(route: &Route) -> Value {
    match route.path.as_str() {
        "/api/v1/headends" => json!({"id": "new"}),
        "/api/v1/ise" => json!({"name": "new", "addresses": ["192.0.2.1"]}),
        "/api/v1/releases/hold" | "/api/v1/releases/resume" => json!({"reason": "x"}),
        "/api/v1/tokens" => json!({"name": "new", "scope": "admin"}),
        path if path.ends_with("/report") => {
            json!({"client_version": "0.1.0", "last_attempt": "2025-03-13T14:24:50Z", "interval_seconds": 7200})
        }
        _ => json!({}),
    }
}

/// Knocks, a few times from each address: more would be answered otherwise, and that is shown elsewhere.
struct Knocker {
    knocks: u32,
    client: Client,
}

impl Knocker {
    fn new() -> Self {
        Self { knocks: 0, client: plain() }
    }

    async fn ask(&mut self, site: &Site, route: &Route, token: Option<&str>) -> Response {
        if self.knocks.is_multiple_of(8) {
            let [_, _, a, b] = (self.knocks / 8 + 1).to_be_bytes();
            self.client = client_from(IpAddr::V4(Ipv4Addr::new(127, 7, a, b)));
        }
        self.knocks += 1;
        let request = self.client.request(route.method.clone(), site.url(&route.path));
        let request = match token {
            Some(token) => request.bearer_auth(token.trim()),
            None => request,
        };
        let has_body = route.method != Method::GET && route.method != Method::DELETE;
        let request = if has_body { request.json(&body(route)) } else { request };
        request.send().await.unwrap()
    }

    /// Asks, and must be refused in a way that is described.
    async fn is_refused(&mut self, site: &Site, route: &Route, token: Option<&str>, status: StatusCode, who: &str) {
        let response = self.ask(site, route, token).await;
        let told = format!("{} {} by {who}", route.method, route.path);
        assert_eq!(response.status(), status, "{told}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{told}");
        let described = &route.statuses[status.as_str()];
        assert!(described["content"]["application/problem+json"].is_object(), "{told}: {described}");
        let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(
            (&problem["reason"], &problem["status"]),
            (&json!("unauthorized"), &json!(status.as_u16())),
            "{told}"
        );
    }
}

/// Everything that somebody could have changed.
fn state(site: &Site) -> Vec<Value> {
    let json = |arguments: &[&str]| -> Value { serde_json::from_str(&site.prints(arguments)).unwrap() };
    let mut tokens = json(&["token", "list", "--json"]);
    for token in tokens.as_array_mut().unwrap() {
        token.as_object_mut().unwrap().remove("last_used");
    }
    let lines = site.prints(&["audit", "--after", "0", "--json"]);
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let done: Vec<_> = records.filter(|record| record["result"] == "done").collect();
    let mut status = json(&["status", "--json"]);
    // Everybody on this machine changes that.
    status.as_object_mut().unwrap().remove("store_free_bytes");
    vec![status, tokens, json(&["headend", "list", "--json"]), json(&["keys", "list", "--json"]), json!(done)]
}

#[tokio::test]
async fn nobody_changes_or_sees_anything_without_being_allowed_to() {
    let site = Site::serving(NO_FETCHING);
    let headend = site.prints(&["headend", "add", "h"]);
    let other = site.prints(&["headend", "add", "other"]);
    let scopes = ["read", "operate", "admin"];
    let tokens = scopes.map(|scope| site.prints(&["token", "add", scope, "--scope", scope]));
    site.prints(&["token", "add", "victim", "--scope", "admin"]);
    let revoked = site.prints(&["token", "add", "gone", "--scope", "admin"]);
    site.prints(&["token", "revoke", "gone"]);
    let expired = site.prints(&["token", "add", "past", "--scope", "admin", "--expires", "1s"]);
    let deadline = Instant::now() + DEADLINE;
    while plain()
        .get(site.url("/api/v1/status"))
        .bearer_auth(expired.trim())
        .send()
        .await
        .unwrap()
        .status()
        .is_success()
    {
        assert!(Instant::now() < deadline, "the token does not end");
    }
    let wrong = "pf_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    let before = state(&site);
    let mut knocker = Knocker::new();
    let mut refused = 0;
    for route in routes(&site).await {
        let Some(scheme) = route.scheme.as_deref() else {
            assert_eq!(route.path, "/api/v1/openapi.json", "only the description is open to anyone");
            continue;
        };
        let mut strangers = vec![
            (None, "nobody"),
            (Some(wrong), "a guess"),
            (Some(expired.as_str()), "expired"),
            (Some(revoked.as_str()), "revoked"),
        ];
        let needed = scopes.iter().position(|scope| *scope == scheme);
        match needed {
            Some(_) => strangers.push((Some(&headend), "a headend")),
            // For nobody on the network.
            None if scheme == "control" => {
                knocker.is_refused(&site, &route, Some(&tokens[2]), StatusCode::FORBIDDEN, "an administrator").await;
            }
            None => {
                assert_eq!((scheme, route.path.as_str()), ("headend", "/api/v1/headends/h/report"));
                strangers.push((Some(&other), "another headend"));
                strangers.push((Some(&tokens[2]), "an administrator"));
            }
        }
        for (token, who) in strangers {
            knocker.is_refused(&site, &route, token, StatusCode::UNAUTHORIZED, who).await;
            refused += 1;
        }
        for small in 0..needed.unwrap_or(0) {
            knocker.is_refused(&site, &route, Some(&tokens[small]), StatusCode::FORBIDDEN, scopes[small]).await;
            refused += 1;
        }
    }
    assert_eq!(state(&site), before);
    assert!(refused > 150, "{refused}");
    let metrics = plain().get(site.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for refusal in ["no_token", "wrong_token", "expired_token", "small_scope"] {
        let line = metrics.lines().find(|line| line.contains(&format!("refusal=\"{refusal}\""))).unwrap();
        let count: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(count >= 15.0, "{line}");
    }
    assert!(metrics.contains("posture_feed_unauthorized_total{refusal=\"too_many\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_scope_opens_its_own_routes_and_those_of_smaller_ones() {
    let site = Site::serving(NO_FETCHING);
    let scopes = ["read", "operate", "admin"];
    for (has, scope) in scopes.iter().enumerate() {
        let token = site.prints(&["token", "add", scope, "--scope", scope]);
        for route in routes(&site).await {
            let needed = route.scheme.as_deref().and_then(|scheme| scopes.iter().position(|scope| *scope == scheme));
            if needed.is_none_or(|needed| needed > has) {
                continue;
            }
            let response = Knocker::new().ask(&site, &route, Some(&token)).await;
            let status = response.status();
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
            assert!(!refused, "{} {} with {scope}", route.method, route.path);
            assert!(
                route.statuses.contains_key(status.as_str()),
                "{} {}: {status} is not described",
                route.method,
                route.path
            );
        }
    }
}

#[tokio::test]
async fn methods_that_are_not_described_are_not_there() {
    let site = Site::serving(NO_FETCHING);
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for route in routes(&site).await {
        described.entry(route.path).or_default().insert(route.method.to_string());
    }
    let admin = site.prints(&["token", "add", "boss", "--scope", "admin"]);
    let before = state(&site);
    for (path, known) in &described {
        for method in METHODS.iter().filter(|method| !known.contains(method.as_str())) {
            let response =
                plain().request(method.clone(), site.url(path)).bearer_auth(admin.trim()).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let allow = response.headers()["allow"].to_str().unwrap();
            let allowed: BTreeSet<_> = allow.split(", ").map(str::to_owned).collect();
            assert_eq!(allowed, *known, "{method} {path}");
        }
    }
    assert_eq!(state(&site), before);
}

#[tokio::test]
async fn guessing_is_refused_and_keeps_nobody_else_out() {
    let site = Site::serving(NO_FETCHING);
    let headend = site.prints(&["headend", "add", "h"]);
    let admin = site.prints(&["token", "add", "boss", "--scope", "admin"]);
    let [guesser, neighbour] = [1, 2].map(|host| client_from(IpAddr::V4(Ipv4Addr::new(127, 9, 9, host))));
    let status = site.url("/api/v1/status");
    let mut answers = Vec::new();
    for number in 0..15 {
        let response = guesser.get(&status).bearer_auth(format!("pf_guess{number}")).send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=6).contains(&seconds), "{seconds}");
            assert!(response.text().await.unwrap().contains("\"rate_limited\""));
            answers.push(429);
        } else {
            answers.push(response.status().as_u16());
        }
    }
    assert_eq!(answers[..10], [401; 10]);
    assert!(answers[10..].contains(&429), "{answers:?}");

    let report = json!({"client_version": "0.1.0", "last_attempt": "2025-03-13T14:24:50Z", "interval_seconds": 7200});
    let url = site.url("/api/v1/headends/h/report");
    let guessed = guesser.put(&url).bearer_auth("pf_guess").json(&report).send().await.unwrap().status();
    assert!([401, 429].contains(&guessed.as_u16()), "{guessed}");
    assert_eq!(
        guesser.put(&url).bearer_auth(headend.trim()).json(&report).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(guesser.get(&status).bearer_auth(admin.trim()).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(guesser.get(site.url("/repo/metadata/timestamp.json")).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(neighbour.get(&status).bearer_auth("pf_guess").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let metrics = plain().get(site.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("posture_feed_unauthorized_total{refusal=\"too_many\"} 0"), "{metrics}");
    let trail = site.prints(&["audit", "--json"]);
    assert!(trail.contains("\"rate_limited\"") && trail.contains("127.9.9.1"), "{trail}");
}
