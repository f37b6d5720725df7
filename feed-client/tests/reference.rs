//! `deploy/feed-client.toml` says what there is to configure: with its defaults, and with keys that exist.

use std::path::Path;

use feed_client::config::Config;

const REFERENCE: &str = include_str!("../../deploy/feed-client.toml");

/// The reference with every example made real.
fn with_examples() -> String {
    let is_example =
        |line: &str| line.strip_prefix("# ").is_some_and(|rest| rest.contains(" = ") && !rest.contains(": "));
    REFERENCE.lines().map(|line| if is_example(line) { &line[2..] } else { line }.to_owned() + "\n").collect()
}

#[test]
fn the_reference_holds_the_defaults() {
    let parsed = Config::parse(REFERENCE, Path::new(".")).unwrap();
    assert_eq!(format!("{parsed:#?}"), format!("{:#?}", Config::default()));
}

#[test]
fn every_example_is_a_key_that_exists() {
    let text = with_examples();
    for key in ["url", "trust_anchors", "proxy", "id", "token_file", "directory", "hook", "textfile"] {
        assert!(text.lines().any(|line| line.starts_with(key)), "{key} is missing in\n{text}");
    }
    Config::parse(&text, Path::new(".")).unwrap();
}
