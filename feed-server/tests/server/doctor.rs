//! `doctor`, as far as it needs no upstream.

use serde_json::Value;

use crate::running::{NO_FETCHING, Site};

fn report(site: &Site, code: i32) -> Value {
    let output = site.run(&["doctor", "--json"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn step<'r>(report: &'r Value, name: &str) -> &'r Value {
    report["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap()
}

#[test]
fn a_port_that_nobody_listens_on_is_connect() {
    let site = Site::new("");
    let report = report(&site, 10);
    assert_eq!(report["failed_step"], "tcp", "{report:#}");
    assert_eq!(step(&report, "tls")["result"], "not_tried");
    assert_eq!(step(&report, "disk")["result"], "ok");
    assert!(!site.data().exists());
}

#[test]
fn the_report_has_what_a_support_ticket_needs() {
    let report = report(&Site::new(""), 10);
    let keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "advice archives at chains clock disk exit_code failed_step failure fallbacks index offline_zip_bytes \
                    program result server settings steps";
    assert_eq!(keys.join(" "), expected);
    let program = &report["program"];
    let told: Vec<&str> = program.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(told.join(" "), "architecture kernel name system user_agent version");
    assert_eq!((&program["name"], &program["version"]), (&"feed-server".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(program["kernel"].as_str().is_some_and(|kernel| !kernel.is_empty()), "{program}");
    let settings: Vec<&str> = report["settings"].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "allowed_hosts data_directory every_seconds file proxy role sources trust_anchors upstream";
    assert_eq!(settings.join(" "), expected);
    assert!(report["settings"]["trust_anchors"][0]["key_sha256"].is_string());
}

#[test]
fn where_nothing_is_fetched_the_network_is_left_alone() {
    let site = Site::serving(NO_FETCHING);
    let report = report(&site, 0);
    for name in ["dns", "tls", "archives"] {
        assert_eq!(step(&report, name)["result"], "none");
        assert!(step(&report, name)["seen"].as_str().unwrap().contains("kind = \"none\""));
    }
    assert_eq!(step(&report, "server")["result"], "ok");
    assert_eq!(step(&report, "disk")["result"], "ok");
}

#[test]
fn settings_that_cannot_be_used_are_the_first_step_that_fails() {
    let site = Site::new("[upstream]\ntrust_anchors = [\"no.pem\"]\n");
    let report = report(&site, 2);
    assert_eq!(report["failed_step"], "settings");
    assert!(report["failure"]["message"].as_str().unwrap().contains("no.pem"), "{report:#}");
    assert_eq!(step(&report, "dns")["result"], "not_tried");
    assert_eq!(step(&report, "clock")["result"], "ok");
}

#[test]
fn files_that_serve_cannot_use_are_found() {
    let both = "tls_certificate = \"no.pem\"\ntls_key = \"no.pem\"\n";
    let site = Site::new(&format!("{NO_FETCHING}[listen]\naddress = \"127.0.0.1:0\"\n{both}"));
    let found = report(&site, 2);
    assert_eq!(found["failed_step"], "disk", "{found:#}");
    std::fs::write(site.data(), "no directory").unwrap();
    let site_with_file = Site::new(NO_FETCHING);
    std::fs::write(site_with_file.data(), "no directory").unwrap();
    let found = report(&site_with_file, 15);
    assert!(found["failure"]["message"].as_str().unwrap().contains("is not a directory"), "{found:#}");
}

/// Files of root's in another user's directory are what an administrator leaves behind; tests run as root.
#[test]
fn anothers_files_and_another_user_are_told() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = Site::new(NO_FETCHING);
    std::fs::create_dir(site.data()).unwrap();
    std::os::unix::fs::chown(site.data(), Some(65_534), None).unwrap();
    let found = report(&site, 0);
    assert_eq!(step(&found, "disk")["result"], "warning", "{found:#}");
    assert_eq!((found["disk"]["owner"].as_str(), found["disk"]["user"].as_str()), (Some("nobody"), Some("root")));
    std::fs::create_dir(site.data().join("catalog")).unwrap();
    let found = report(&site, 15);
    let message = found["failure"]["message"].as_str().unwrap();
    assert!(message.contains("catalog is root's") && message.contains("chown -R 'nobody'"), "{message}");
}

#[test]
fn a_request_for_the_firewall_team_is_ready_to_be_sent() {
    let configuration = "[upstream]\nallowed_hosts = [\"iseservice.cisco.com\"]\n[schedule]\nevery = \"2h\"\n";
    let site = Site::new(configuration);
    let expected = format!(
        r#"Request: allow a server of ours to fetch posture updates

Posture Feed (feed-server) mirrors the vendor's posture update feed for our headends. Please allow:

Connections from this server
  TCP 443         to www.cisco.com (index and archives)
  TCP 443         to iseservice.cisco.com (archives)
  DNS (UDP and TCP 53) and NTP (UDP 123) to your usual servers

No TLS inspection for these hosts, please: the program accepts certificates of the roots below and of
no other, so that an inspected connection fails.
  www.cisco.com
    root          IdenTrust Commercial Root CA 1 (of Mozilla's list)
    SHA-256       5d56499be4d2e08bcfcad08a3e38723d50503bde706948e42f55603019e528ae (certificate)
  iseservice.cisco.com
    root          IdenTrust Commercial Root CA 1 (of Mozilla's list)
    SHA-256       5d56499be4d2e08bcfcad08a3e38723d50503bde706948e42f55603019e528ae (certificate)

Traffic
  User-Agent      posture-feed/{}
  Requests        12 runs a day, GET only, each asking for changes only
  Bytes a day     about 192.00 KiB where nothing is new
                  a run fetches what changed; how much at most, a running server knows after the first one
  Limit           a run is broken off beyond 8.00 GiB
"#,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(site.prints(&["doctor", "--request"]), expected);
    let facts: Value = serde_json::from_str(&site.prints(&["doctor", "--request", "--json"])).unwrap();
    assert_eq!(facts["hosts"][0]["host"], "www.cisco.com");
    assert_eq!(facts["hosts"][0]["ports"], serde_json::json!([443]));
    assert_eq!(facts["runs_a_day"], 12);
    assert!(!site.data().exists());
}
