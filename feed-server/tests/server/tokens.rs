//! Tokens end, are seen to be used, and are replaced.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::running::{NO_FETCHING, Site, plain};

/// Far longer than anything here takes: it ends a hanging test, it decides nothing.
const DEADLINE: Duration = Duration::from_secs(30);

async fn get(site: &Site, path: &str, token: &str) -> (StatusCode, Value) {
    let response = plain().get(site.url(path)).bearer_auth(token.trim()).send().await.unwrap();
    (response.status(), serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
}

async fn report(site: &Site, id: &str, token: &str) -> StatusCode {
    let report = json!({"client_version": "0.1.0", "last_attempt": "2025-03-13T14:24:50Z", "interval_seconds": 7200});
    let url = site.url(&format!("/api/v1/headends/{id}/report"));
    plain().put(url).bearer_auth(token.trim()).body(report.to_string()).send().await.unwrap().status()
}

fn tokens(site: &Site) -> Value {
    serde_json::from_str(&site.prints(&["token", "list", "--json"])).unwrap()
}

#[tokio::test]
async fn a_token_that_ended_opens_nothing_and_says_so_to_its_holder() {
    let site = Site::serving(NO_FETCHING);
    let token = site.prints(&["token", "add", "brief", "--scope", "read", "--expires", "2s"]);
    let deadline = Instant::now() + DEADLINE;
    let problem = loop {
        match get(&site, "/api/v1/status", &token).await {
            (StatusCode::OK, _) => assert!(Instant::now() < deadline, "it never ends"),
            (status, problem) => {
                assert_eq!((status, &problem["reason"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")));
                break problem;
            }
        }
    };
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("the token brief ended at") && detail.contains("token add"), "{detail}");
    assert!(site.prints(&["token", "list"]).contains("ended "));
}

#[test]
fn tokens_last_a_year_unless_it_is_said_otherwise() {
    let site = Site::made("");
    for (name, expires) in
        [("usual", None), ("quarter", Some("90d")), ("date", Some("2990-01-31")), ("ever", Some("never"))]
    {
        let mut arguments = vec!["token", "add", name, "--scope", "read"];
        arguments.extend(expires.into_iter().flat_map(|end| ["--expires", end]));
        site.prints(&arguments);
    }
    for (wrong, told) in
        [("soon", "does not say when a token ends"), ("2001-01-01", "ended already"), ("0s", "ended already")]
    {
        let (code, error) = site.fails(&["token", "add", "x", "--scope", "read", "--expires", wrong]);
        assert!(code == 2 && error.contains(told), "{wrong}: {error}");
    }
    let tokens = tokens(&site);
    let days = |token: &Value| {
        let time = |key: &str| token[key].as_str().map(|time| time.parse::<jiff::Timestamp>().unwrap());
        time("expires").map(|end| end.duration_since(time("created").unwrap()).as_hours() / 24)
    };
    let by_name: Vec<_> =
        tokens.as_array().unwrap().iter().map(|token| (token["name"].as_str().unwrap(), days(token))).collect();
    assert_eq!(by_name[1], ("ever", None));
    assert_eq!(by_name[2..], [("quarter", Some(90)), ("usual", Some(365))]);
    assert_eq!(tokens[0]["expires"], "2990-01-31T00:00:00Z");
    for token in tokens.as_array().unwrap() {
        assert_eq!((&token["made_by"]["kind"], &token["last_used"]), (&json!("user"), &Value::Null), "{token}");
    }
    assert_eq!(tokens.as_array().unwrap().len(), 4, "{tokens}");
}

#[tokio::test]
async fn uses_are_seen_outlive_a_restart_and_end_with_the_token() {
    let mut site = Site::serving(NO_FETCHING);
    let admin = site.prints(&["token", "add", "boss", "--scope", "admin"]);
    let body = json!({"name": "ops", "scope": "read", "expires": "10d"});
    let made = plain().post(site.url("/api/v1/tokens")).bearer_auth(admin.trim()).body(body.to_string());
    let made = made.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Value = serde_json::from_str(&made.text().await.unwrap()).unwrap();
    let (_, status) = get(&site, "/api/v1/status", &admin).await;
    assert_eq!(status["warnings"], json!([]), "nobody uses the one that ends soon");
    let ops = made["token"].as_str().unwrap();
    assert_eq!(get(&site, "/api/v1/status", ops).await.0, StatusCode::OK);

    for is_restarted in [false, true] {
        if is_restarted {
            assert_eq!(site.stop(), Some(0));
            site.serve();
        }
        let tokens = tokens(&site);
        assert!(tokens[1]["last_used"].is_string(), "{tokens}");
        assert_eq!(tokens[1]["made_by"], json!({"kind": "token", "name": "boss"}));
        let status = site.prints(&["status"]);
        assert!(status.contains("token_expiring since") && status.contains("the token ops ends at"), "{status}");
        let metrics = plain().get(site.url("/metrics")).send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains("posture_feed_warning{kind=\"token_expiring\"} 1"), "{metrics}");
    }
    site.prints(&["token", "revoke", "ops"]);
    site.prints(&["token", "add", "ops", "--scope", "read", "--expires", "10d"]);
    assert_eq!(tokens(&site)[1]["last_used"], Value::Null, "a name that is given again was not used yet");
    assert!(!site.prints(&["status"]).contains("token_expiring"));
}

#[tokio::test]
async fn a_headend_gets_another_token_and_keeps_its_reports() {
    let site = Site::serving(NO_FETCHING);
    let first = site.prints(&["headend", "add", "one"]);
    let admin = site.prints(&["token", "add", "boss", "--scope", "admin"]);
    assert_eq!(report(&site, "one", &first).await, StatusCode::NO_CONTENT);
    assert_eq!(report(&site, "one", &admin).await, StatusCode::UNAUTHORIZED, "an administrator is no headend");

    let file = site.path().join("token");
    site.prints(&["headend", "token", "one", "--token-file", file.to_str().unwrap()]);
    let second = std::fs::read_to_string(&file).unwrap();
    assert_eq!(report(&site, "one", &first).await, StatusCode::UNAUTHORIZED);
    let (status, headend) = get(&site, "/api/v1/headends/one", &admin).await;
    assert_eq!((status, &headend["state"]), (StatusCode::OK, &json!("current")), "what it reported stays");
    assert_eq!(report(&site, "one", &second).await, StatusCode::NO_CONTENT);

    let (code, error) = site.fails(&["headend", "token", "one", "--token-file", file.to_str().unwrap()]);
    assert!(code == 2 && error.contains("not overwritten"), "{error}");
    assert_eq!(report(&site, "one", &second).await, StatusCode::NO_CONTENT, "nothing came of it");
    let (code, error) = site.fails(&["headend", "token", "two"]);
    assert!(code == 13 && error.contains("no headend \"two\""), "{error}");
    let (code, error) = site.fails(&["headend", "add", "one"]);
    assert!(code == 2 && error.contains("headend token one"), "{error}");
}

#[test]
fn a_headend_without_a_token_needs_an_authority_for_certificates() {
    let site = Site::made("");
    let (code, error) = site.fails(&["headend", "add", "gw", "--certificate"]);
    assert!(code == 2 && error.contains("[listen] client_ca is not set"), "{error}");
    let site = Site::new("[listen]\naddress = \"127.0.0.1:0\"\nclient_ca = \"ca.pem\"\n");
    let (code, error) = site.fails(&["check-config"]);
    assert!(code == 2 && error.contains("stands without listen.tls_certificate"), "{error}");
    let files = "tls_certificate = \"cert.pem\"\ntls_key = \"key.pem\"\nclient_ca = \"ca.pem\"\n";
    let site = Site::new(&format!("[listen]\naddress = \"127.0.0.1:0\"\n{files}"));
    let chain = certs::lab::Chain::builder().loopback().build().unwrap();
    std::fs::write(site.path().join("cert.pem"), chain.presented_pem()).unwrap();
    std::fs::write(site.path().join("key.pem"), chain.leaf_key_pem()).unwrap();
    let (code, error) = site.fails(&["check-config"]);
    assert!(code == 2 && error.contains("client_ca"), "{error}");
    std::fs::write(site.path().join("ca.pem"), &chain.root.pem).unwrap();
    assert!(site.prints(&["check-config"]).contains("is good"));
}
