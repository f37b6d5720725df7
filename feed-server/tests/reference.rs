//! `deploy/feed-server.toml` says what there is to configure: with its defaults, and with keys that exist.

use std::path::Path;

use feed_server::config::{self, Config, Role};

const REFERENCE: &str = include_str!("../../deploy/feed-server.toml");

/// The reference with every example made real that does something for this kind of upstream.
fn with_examples(kind: &str) -> String {
    let is_example =
        |line: &str| line.strip_prefix("# ").is_some_and(|rest| rest.contains(" = ") && !rest.contains(": "));
    let is_mirrors = |line: &str| line.starts_with("# root = ");
    let is_vendors = |line: &str| line.starts_with("# offline_zip_url = ");
    let is_others = |line: &str| line.starts_with("# \"chart_w") || is_vendors(line);
    let does_nothing = |line: &str| match kind {
        "mirror" => is_others(line),
        "vendor" => is_mirrors(line),
        _ => is_mirrors(line) || is_vendors(line),
    };
    let text: String = REFERENCE
        .lines()
        .map(|line| if is_example(line) && !does_nothing(line) { &line[2..] } else { line }.to_owned() + "\n")
        .collect();
    text.replace("\nkind = \"vendor\"\n", &format!("\nkind = \"{kind}\"\n"))
}

#[test]
fn the_reference_holds_the_defaults() {
    let parsed = config::parse(REFERENCE, Path::new(".")).unwrap();
    let mut default = Config::default();
    default.data.directory = "/var/lib/posture-feed".into();
    default.upstream.base_dir = ".".into();
    default.signing.base_dir = ".".into();
    default.origins = parsed.origins.clone();
    assert_eq!(format!("{parsed:#?}"), format!("{default:#?}"));
}

#[test]
fn every_example_is_a_key_that_exists() {
    let text = with_examples("vendor") + &with_examples("mirror");
    for key in [
        "root",
        "offline_zip_url",
        "metrics_address",
        "tls_certificate",
        "tls_key",
        "public_url",
        "chart_w",
        "url = \"http://proxy",
        "username",
        "password_file",
        "watched_folder",
    ] {
        assert!(text.lines().any(|line| line.trim_start_matches('"').starts_with(key)), "{key} is missing in\n{text}");
    }
    for (kind, role) in [("vendor", Role::Origin), ("none", Role::Origin), ("mirror", Role::Relay)] {
        let config = config::parse(&with_examples(kind), Path::new(".")).unwrap();
        assert_eq!((config.upstream.kind.as_str(), config.upstream.role()), (kind, role));
    }
}

#[test]
fn whatever_is_in_the_reference_is_listed_with_its_line() {
    for kind in ["vendor", "none", "mirror"] {
        let text = with_examples(kind);
        let settings = config::parse(&text, Path::new(".")).unwrap().settings();
        let mut section = "";
        for (number, line) in text.lines().enumerate() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
            } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                let key = format!("{section}.{key}");
                let setting = settings.iter().find(|setting| setting.key == key);
                let setting = setting.unwrap_or_else(|| panic!("{key} is not listed"));
                assert_eq!(setting.origin.place(), Some(format!("line {}", number + 1)), "{key}");
                assert!(setting.value.is_some(), "{key}");
            }
        }
        for setting in &settings {
            let key = setting.key.rsplit('.').next().unwrap();
            assert!(
                REFERENCE.contains(&format!("{key} = ")) || setting.key.contains("components"),
                "{key} is not in the reference"
            );
        }
    }
}
