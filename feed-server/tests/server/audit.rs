//! Who did what is written down before anybody is told that it is done.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::running::{NO_FETCHING, Site, plain};

/// The trail, as `feed-server audit` exports it.
fn trail(site: &Site) -> Vec<Value> {
    let lines = site.prints(&["audit", "--after", "0", "--json"]);
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, record) in (1..).zip(&records) {
        assert_eq!(record["id"], number, "nothing is missing between: {records:?}");
        assert!(record["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{record}");
        assert!(!record.to_string().contains("pf_"), "a secret: {record}");
    }
    records
}

/// What of a record tests compare: who, act, object, result.
fn told(record: &Value) -> (String, &str, &str, &str) {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    let who = &record["who"];
    let name = who["name"].as_str().or(who["id"].as_str()).unwrap_or_default();
    (format!("{} {name}", who["kind"].as_str().unwrap()).trim().to_owned(), text("act"), text("object"), text("result"))
}

async fn ask(site: &Site, method: Method, path: &str, token: &str, body: &Value) -> StatusCode {
    let request = plain().request(method, site.url(path)).header("content-type", "application/json");
    let request = if token.is_empty() { request } else { request.bearer_auth(token.trim()) };
    request.body(body.to_string()).send().await.unwrap().status()
}

#[tokio::test]
async fn every_change_has_its_record_whichever_way_it_came() {
    let site = Site::serving("[schedule]\ninitial_delay = \"10:00:00\"\n");
    let admin = site.prints(&["token", "add", "boss", "--scope", "admin"]);
    let user = format!("user {}", trail(&site)[1]["who"]["name"].as_str().unwrap());
    for (method, path, body, status) in [
        (Method::POST, "/api/v1/headends", json!({"id": "gw"}), 201),
        (Method::POST, "/api/v1/headends", json!({"id": "gw"}), 409),
        (Method::POST, "/api/v1/headends/gw/token", json!(null), 201),
        (Method::POST, "/api/v1/tokens", json!({"name": "t", "scope": "read", "expires": "never"}), 201),
        (Method::DELETE, "/api/v1/tokens/t", json!(null), 204),
        (Method::DELETE, "/api/v1/tokens/t", json!(null), 404),
        (Method::DELETE, "/api/v1/headends/gw", json!(null), 204),
        (Method::POST, "/api/v1/sync", json!({"ignore_cooldown": true}), 202),
        (Method::POST, "/api/v1/keys/changes", json!({"repositories": ["online"], "roles": ["timestamp"]}), 200),
        (Method::DELETE, "/api/v1/keys/request", json!(null), 404),
        (Method::GET, "/api/v1/status", json!(null), 200),
    ] {
        assert_eq!(ask(&site, method.clone(), path, &admin, &body).await.as_u16(), status, "{method} {path}");
    }
    site.prints(&["headend", "add", "local"]);
    let records = trail(&site);
    let boss = || "token boss".to_owned();
    let expected = [
        ("program".to_owned(), "keys_init", "", "done"),
        (user.clone(), "token_add", "boss", "done"),
        (boss(), "headend_add", "gw", "done"),
        (boss(), "headend_add", "gw", "bad_request"),
        (boss(), "headend_token", "gw", "done"),
        (boss(), "token_add", "t", "done"),
        (boss(), "token_revoke", "t", "done"),
        (boss(), "token_revoke", "t", "not_found"),
        (boss(), "headend_remove", "gw", "done"),
        (boss(), "sync", "1", "done"),
        (boss(), "keys_change", "", "begun"),
        (boss(), "keys_change", "", "done"),
        (boss(), "keys_cancel", "", "begun"),
        (boss(), "keys_cancel", "", "not_found"),
        (user, "headend_add", "local", "done"),
    ];
    assert_eq!(records.iter().map(told).collect::<Vec<_>>(), expected);
    let from: Vec<_> = [1, 2, 14].iter().map(|&number: &usize| records[number]["from"].as_str().unwrap()).collect();
    assert_eq!(from, ["control socket", "127.0.0.1", "control socket"]);
    assert_eq!(records[5]["detail"], "scope read, without an end");
    assert_eq!(records[9]["detail"], "ignore_cooldown");
    assert_eq!(records[10]["detail"], "new keys: timestamp");

    let table = site.prints(&["audit"]);
    assert!(table.contains("token boss") && table.contains("t (scope read, without an end)"), "{table}");
    assert_eq!(site.prints(&["audit", "--since", "2h", "--json"]).lines().count(), 15);
    assert_eq!(site.prints(&["audit", "--after", "13", "--json"]).lines().count(), 2);
    assert_eq!(site.prints(&["audit", "--since", "2990-01-01", "--json"]), "");
    assert_eq!(site.fails(&["audit", "--since", "yesterday"]).0, 2);
}

#[test]
fn a_verb_that_opens_the_directory_itself_is_in_the_trail_too() {
    let site = Site::new(NO_FETCHING);
    site.prints(&["keys", "init"]);
    site.prints(&["headend", "add", "gw"]);
    site.fails(&["headend", "add", "gw"]);
    let records = trail(&site);
    let told: Vec<_> = records
        .iter()
        .map(told)
        .map(|(who, act, object, result)| {
            assert!(who.starts_with("user "), "{who}");
            (act, object, result)
        })
        .collect();
    assert_eq!(told, [("keys_init", "", "done"), ("headend_add", "gw", "done"), ("headend_add", "gw", "bad_request")]);
    let (code, error) = site.fails(&["audit", "--follow"]);
    assert!(code == 2 && error.contains("no server runs here"), "{error}");
}

#[tokio::test]
async fn whoever_is_refused_is_in_the_trail_once_an_hour_and_with_a_number() {
    let mut site = Site::serving(NO_FETCHING);
    site.prints(&["headend", "add", "gw"]);
    let reader = site.prints(&["token", "add", "reader", "--scope", "read"]);
    let before = trail(&site).len();
    for _ in 0..5 {
        let status = ask(&site, Method::PUT, "/api/v1/headends/gw/report", "pf_guess", &json!({})).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ask(&site, Method::DELETE, "/api/v1/headends/gw", &reader, &json!(null)).await, StatusCode::FORBIDDEN);
    assert_eq!(ask(&site, Method::GET, "/api/v1/audit", &reader, &json!(null)).await, StatusCode::FORBIDDEN);
    assert_eq!(ask(&site, Method::POST, "/api/v1/sync", "", &json!({})).await, StatusCode::UNAUTHORIZED);
    let expected = [
        ("nobody".to_owned(), "report", "gw", "unauthorized"),
        ("token reader".to_owned(), "headend_remove", "gw", "unauthorized"),
        ("token reader".to_owned(), "read", "", "unauthorized"),
        ("nobody".to_owned(), "sync", "", "unauthorized"),
    ];
    assert_eq!(trail(&site)[before..].iter().map(told).collect::<Vec<_>>(), expected);
    // Where the server stops, what was counted becomes a record.
    assert_eq!(site.stop(), Some(0));
    let records = trail(&site);
    let last = records.last().unwrap();
    assert_eq!((told(last).1, &last["count"], &last["from"]), ("report", &json!(4), &json!("127.0.0.1")));
}

#[tokio::test]
async fn what_was_acknowledged_has_its_record_after_a_kill() {
    let mut site = Site::serving(NO_FETCHING);
    let admin = site.prints(&["token", "add", "boss", "--scope", "admin"]);
    for number in 0..20 {
        let id = format!("gw-{number}");
        let status = ask(&site, Method::POST, "/api/v1/headends", &admin, &json!({ "id": id })).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    site.kill();
    let records = trail(&site);
    let added: Vec<_> = records.iter().filter(|record| record["act"] == "headend_add").collect();
    assert_eq!(added.len(), 20);
    assert_eq!(added[19]["object"], "gw-19");
}

#[tokio::test]
async fn no_route_changes_the_trail() {
    let site = Site::serving(NO_FETCHING);
    let admin = site.prints(&["token", "add", "boss", "--scope", "admin"]);
    let before = trail(&site);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let status = ask(&site, method.clone(), "/api/v1/audit", &admin, &json!({})).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        let status = ask(&site, method.clone(), "/api/v1/audit/1", &admin, &json!({})).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method}");
    }
    assert_eq!(trail(&site), before);
}

#[tokio::test]
async fn the_trail_can_be_followed() {
    let site = Site::serving(NO_FETCHING);
    let mut following = site.spawn(&["audit", "--follow", "--json"]);
    let output = following.stdout.take().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(output)).map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    let next = || told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(next().contains("keys_init"));
    site.prints(&["headend", "add", "gw"]);
    assert!(next().contains("headend_add"));
    following.kill().unwrap();
    following.wait().unwrap();
}
