//! Listeners: their addresses, TLS, the control socket, metrics, and their end.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use reqwest::StatusCode;

use crate::running::{NO_FETCHING, Site, client, plain};

async fn get(url: String) -> (StatusCode, String) {
    let response = plain().get(url).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_server_says_where_it_is_and_cleans_up() {
    let mut site = Site::serving(NO_FETCHING);
    assert_eq!(get(site.url("/healthz")).await.0, StatusCode::OK);
    assert_eq!(get(site.url("/readyz")).await.0, StatusCode::OK);
    assert_eq!(plain().head(site.url("/readyz")).send().await.unwrap().status(), StatusCode::OK);
    let socket = site.data().join("control.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(site.stop(), Some(0));
    assert!(!socket.exists());
    assert!(!site.data().join("listening.json").exists());
    site.serve();
    assert_eq!(get(site.url("/healthz")).await.0, StatusCode::OK);
}

#[test]
fn more_may_connect_than_a_process_is_allowed_at_first() {
    let mut site = Site::new(NO_FETCHING);
    // As much as the server is given is less than half of what it needs.
    site.serve_limited("ulimit -S -n 256");
    let address = site.listening()["address"].as_str().unwrap().to_owned();
    let mut connections = Vec::new();
    for number in 0..600 {
        let mut connection = std::net::TcpStream::connect(&address).unwrap();
        connection.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        assert_eq!(&answer, b"HTTP/1.1 200");
        connections.push(connection);
    }
}

#[tokio::test]
async fn a_crash_leaves_nothing_in_the_way() {
    let mut site = Site::serving(NO_FETCHING);
    site.kill();
    assert!(site.data().join("control.sock").exists());
    site.prints(&["status"]);
    site.serve();
    site.prints(&["status"]);
}

#[tokio::test]
async fn a_second_server_is_refused() {
    let site = Site::serving(NO_FETCHING);
    let (code, error) = site.fails(&["serve"]);
    assert_eq!(code, 16, "{error}");
    assert_eq!(get(site.url("/healthz")).await.0, StatusCode::OK);
    site.prints(&["status"]);
}

#[test]
fn a_port_that_is_taken_is_told_by_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new(&format!("{NO_FETCHING}[listen]\naddress = \"{address}\"\n"));
    let (code, error) = site.fails(&["serve"]);
    assert!(code == 2 && error.contains(&address), "{error}");
}

#[tokio::test]
async fn a_fresh_server_has_every_result_at_zero() {
    let site = Site::serving(NO_FETCHING);
    let response = plain().get(site.url("/metrics")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    for reason in bundles::Reason::ALL {
        assert!(text.contains(&format!("posture_feed_sync_total{{result=\"{reason}\"}} 0\n")), "{reason}: {text}");
    }
    for state in ["silent", "failing", "behind", "current"] {
        assert!(text.contains(&format!("posture_feed_headends{{state=\"{state}\"}} 0\n")), "{state}");
    }
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let name = "posture_feed_metadata_expires_timestamp_seconds";
        assert!(text.contains(&format!("{name}{{repository=\"online\",role=\"{role}\"}} ")), "{role}: {text}");
    }
    for absent in ["last_success_timestamp", "last_attempt_timestamp", "release_serial", "next_run_timestamp"] {
        assert!(!text.contains(absent), "{absent} has no value yet");
    }
    assert!(
        text.contains(&format!("posture_feed_build_info{{role=\"origin\",version=\"{}\"}} 1\n", feed_server::VERSION))
    );
}

#[tokio::test]
async fn times_of_runs_outlive_a_restart_and_labels_are_no_input() {
    let mut site = Site::serving("[schedule]\ninitial_delay = \"10:00:00\"\n");
    assert_eq!(site.fails(&["sync"]).0, 10);
    get(site.url("/secret-path")).await;
    let line = |text: &str, name: &str| {
        let name = format!("posture_feed_{name} ");
        text.lines().find(|line| line.starts_with(&name)).map(str::to_owned)
    };
    let (_, before) = get(site.url("/metrics")).await;
    assert!(before.contains("posture_feed_sync_total{result=\"connect\"} 1\n"));
    assert!(before.contains("route=\"unmatched\"") && !before.contains("secret-path"), "{before}");
    let attempt = line(&before, "last_attempt_timestamp_seconds");
    assert!(attempt.is_some());
    assert_eq!(site.stop(), Some(0));
    site.serve();
    let (_, after) = get(site.url("/metrics")).await;
    assert_eq!(line(&after, "last_attempt_timestamp_seconds"), attempt);
    assert!(after.contains("posture_feed_last_attempt_result{result=\"connect\"} 1\n"), "{after}");
}

#[tokio::test]
async fn what_is_looked_for_in_the_vendors_layout_and_not_found_is_counted() {
    let site = Site::serving(NO_FETCHING);
    assert!(get(site.url("/metrics")).await.1.contains("posture_feed_vendor_layout_misses_total 0\n"));
    for path in ["/web/secure/spa/r/1/none.tar.gz", "/web/secure/spa/other/thing.xml"] {
        let response = plain().get(site.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    // Neither of these is a file that ISE misses: there will be an index, and the other is no address of its.
    get(site.url("/web/secure/spa/posture-update.xml")).await;
    get(site.url("/repo/targets/none")).await;
    assert!(get(site.url("/metrics")).await.1.contains("posture_feed_vendor_layout_misses_total 2\n"));
}

#[tokio::test]
async fn monitoring_has_a_listener_of_its_own_where_configured() {
    let listen = "[listen]\naddress = \"127.0.0.1:0\"\nmetrics_address = \"127.0.0.1:0\"\n";
    let site = Site::serving(&format!("{NO_FETCHING}{listen}"));
    let address = site.listening()["metrics_address"].as_str().unwrap().to_owned();
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(get(format!("http://{address}{path}")).await.0, StatusCode::OK, "{path}");
        assert_eq!(get(site.url(path)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(get(format!("http://{address}/api/v1/status")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tls_is_served_where_configured_and_nothing_else_is() {
    let chain = certs::lab::Chain::builder().loopback().build().unwrap();
    let listen = "[listen]\naddress = \"127.0.0.1:0\"\ntls_certificate = \"chain.pem\"\ntls_key = \"key.pem\"\n";
    let mut site = Site::new(&format!("{NO_FETCHING}{listen}"));
    std::fs::write(site.path().join("chain.pem"), chain.presented_pem()).unwrap();
    std::fs::write(site.path().join("key.pem"), chain.leaf_key_pem()).unwrap();
    site.serve();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain.root.der.clone()).unwrap();
    let response = client(roots).get(site.url("/healthz")).send().await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, reqwest::Version::HTTP_2));
    assert!(plain().get(site.url("/healthz")).send().await.is_err(), "another root");
    let without = site.url("/healthz").replace("https://", "http://");
    assert!(plain().get(without).send().await.is_err(), "no TLS at all");
}

#[tokio::test]
async fn answers_are_not_for_browsers_to_run() {
    let site = Site::serving(NO_FETCHING);
    for path in ["/healthz", "/api/v1/status", "/nothing"] {
        let response = plain().get(site.url(path)).send().await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(response.headers()["x-frame-options"], "DENY", "{path}");
    }
    let status = plain().get(site.url("/api/v1/status")).send().await.unwrap();
    assert_eq!(status.headers()["cache-control"], "no-store");
    assert_eq!(status.headers()["www-authenticate"], "Bearer realm=\"posture-feed\"");
}
