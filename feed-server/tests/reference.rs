//! `deploy/feed-server.toml` says what there is to configure: with its defaults, and with keys that exist.

use std::path::Path;

use feed_server::config::{self, Config};

const REFERENCE: &str = include_str!("../../deploy/feed-server.toml");

/// The reference with every example made real.
fn with_examples() -> String {
    let is_example =
        |line: &str| line.strip_prefix("# ").is_some_and(|rest| rest.contains(" = ") && !rest.contains(": "));
    REFERENCE.lines().map(|line| if is_example(line) { &line[2..] } else { line }.to_owned() + "\n").collect()
}

#[test]
fn the_reference_holds_the_defaults() {
    let parsed = config::parse(REFERENCE, Path::new(".")).unwrap();
    let mut default = Config::default();
    default.data.directory = "/var/lib/posture-feed".into();
    default.upstream.base_dir = ".".into();
    assert_eq!(format!("{parsed:#?}"), format!("{default:#?}"));
}

#[test]
fn every_example_is_a_key_that_exists() {
    let text = with_examples();
    for key in ["metrics_address", "tls_certificate", "tls_key", "public_url", "chart_w"] {
        assert!(text.lines().any(|line| line.trim_start_matches('"').starts_with(key)), "{key} is missing in\n{text}");
    }
    config::parse(&text, Path::new(".")).unwrap();
}
