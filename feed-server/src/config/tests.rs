use proptest::prelude::*;

use super::*;

fn mistakes(text: &str) -> Vec<String> {
    match parse(text, Path::new("/etc/feed")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn an_empty_file_is_the_default() {
    let config = parse("", Path::new("/etc/feed")).unwrap();
    assert_eq!(config.upstream.url.as_str(), DEFAULT_URL);
    assert_eq!(config.upstream.trust_anchors, [DEFAULT_TRUST_ANCHOR]);
    assert_eq!(config.schedule.every, Duration::from_secs(7_200));
    assert_eq!(config.schedule.initial_delay, Duration::ZERO);
    assert_eq!(config.listen.address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data.directory, Path::new("feed-data"));
    assert_eq!(config.data.retain_releases, 24);
    assert_eq!(config.bundles.valid_for, Duration::from_secs(90 * 86_400));
    assert_eq!(config.limits, Limits::default());
    assert!(config.serve.rewrite_index);
}

#[test]
fn every_key_is_read() {
    let text = r#"
        [upstream]
        kind = "none"
        url = "https://feed.example:8443/a/posture-update.xml"
        trust_anchors = ["IdenTrust Commercial Root CA 1", "lab.pem"]
        allowed_hosts = ["ISEservice.cisco.com", "192.0.2.7"]
        [upstream.components]
        "zz*" = "conditions"
        "aa*" = "other-aa"
        [schedule]
        initial_delay = "01:02:03"
        every = "1h30m"
        [listen]
        address = "[::]:0"
        metrics_address = "127.0.0.1:9090"
        tls_certificate = "chain.pem"
        tls_key = "/secret/key.pem"
        [serve]
        public_url = "http://feed.example:8080/x"
        rewrite_index = false
        [data]
        directory = "data"
        retain_releases = 3
        [bundles]
        valid_for = "30d"
        [limits]
        index_bytes = 1_000
        index_entries = 7
        index_depth = 8
        archive_bytes = "2GiB"
        payload_bytes = "10 GB"
        expansion_ratio = 100
        archive_members = 9
        run_bytes = "1TiB"
    "#;
    let config = parse(text, Path::new("/etc/feed")).unwrap();
    assert_eq!(config.upstream.kind, UpstreamKind::None);
    assert_eq!(config.upstream.url.port(), Some(8443));
    assert_eq!(config.upstream.base_dir, Path::new("/etc/feed"));
    assert_eq!(config.upstream.allowed_hosts, ["iseservice.cisco.com", "192.0.2.7"]);
    let pair = |pattern: &str, component: &str| (pattern.to_owned(), component.to_owned());
    assert_eq!(config.upstream.components, [pair("zz*", "conditions"), pair("aa*", "other-aa")], "in their order");
    assert_eq!(config.schedule.initial_delay, Duration::from_secs(3_723));
    assert_eq!(config.schedule.every, Duration::from_secs(5_400));
    assert_eq!(config.listen.metrics_address.unwrap().port(), 9090);
    let tls = config.listen.tls.unwrap();
    assert_eq!((tls.certificate, tls.key), ("/etc/feed/chain.pem".into(), "/secret/key.pem".into()));
    assert_eq!(config.serve.public_url.unwrap().as_str(), "http://feed.example:8080/x");
    assert!(!config.serve.rewrite_index);
    assert_eq!(config.data.directory, Path::new("/etc/feed/data"));
    assert_eq!(config.data.retain_releases, 3);
    assert_eq!(config.bundles.valid_for, Duration::from_secs(30 * 86_400));
    let limits = Limits {
        index_bytes: 1_000,
        index_entries: 7,
        index_depth: 8,
        archive_bytes: 2 << 30,
        payload_bytes: 10_000_000_000,
        expansion_ratio: 100,
        archive_members: 9,
        run_bytes: 1 << 40,
    };
    assert_eq!(config.limits, limits);
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_line() {
    let text = "\
[upstream]
url = \"http://www.cisco.com/feed.xml\"
trust_anchor = [\"x\"]
[schedule]
every = \"30s\"
initial_delay = 5
[listen]
tls_certificate = \"x.pem\"
[data]
retain_releases = 0
[colour]
a = 1
";
    let expected = "\
feed.toml:2: upstream.url: begins with http://, and only https:// is accepted; write one such as \
\"https://www.cisco.com/web/secure/spa/posture-update.xml\"
feed.toml:3: upstream.trust_anchor: is not a key; did you mean upstream.trust_anchors?
feed.toml:5: schedule.every: \"30s\" is out of range; write a duration from \"1m\" to \"30d\"
feed.toml:6: schedule.initial_delay: is an integer; write a duration such as \"2h\", \"90m\", \"7d\" or \"HH:MM:SS\"
feed.toml:8: listen.tls_certificate: stands without listen.tls_key; write both, or neither
feed.toml:10: data.retain_releases: 0 is out of range; write a whole number of at least 1
feed.toml:11: colour: is not a key here; known are upstream, schedule, listen, serve, data, bundles, limits";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("feed.toml");
    std::fs::write(&path, text).unwrap();
    let errors = read(&path).unwrap_err();
    assert_eq!(errors.to_string().replace(&format!("{}/", directory.path().display()), ""), expected);
    assert_eq!(bundles::Reasoned::reason(&errors), bundles::Reason::BadRequest);
    assert_eq!(errors.mistakes().len(), 7);
}

#[test]
fn each_wrong_value_is_one_mistake_that_says_what_to_write() {
    for (text, key, says) in [
        ("upstream = 3", "upstream", "a table: [upstream]"),
        ("[upstream]\nkind = \"mirror\"", "upstream.kind", "\"vendor\" or \"none\""),
        ("[upstream]\nurl = \"https://user:secret@h/x\"", "upstream.url", "password"),
        ("[upstream]\nurl = \"cisco\"", "upstream.url", "is no URL"),
        ("[upstream]\nurl = \"https://h/x#y\"", "upstream.url", "fragment"),
        ("[upstream]\nurl = \"\"", "upstream.url", "is empty"),
        ("[upstream]\ntrust_anchors = []", "upstream.trust_anchors", "no upstream could be trusted"),
        ("[upstream]\ntrust_anchors = \"x\"", "upstream.trust_anchors", "in brackets"),
        ("[upstream]\nallowed_hosts = [\"*.cisco.com\"]", "upstream.allowed_hosts", "is no host"),
        ("[upstream]\nallowed_hosts = [\"https://h/\"]", "upstream.allowed_hosts", "is no host"),
        ("[upstream]\nallowed_hosts = [1]", "upstream.allowed_hosts", "each in quotes"),
        ("[upstream.components]\nx = \"Chart\"", "upstream.components.x", "av-as-chart-linux"),
        ("[upstream.components]\n\"[\" = \"conditions\"", "upstream.components.\"[\"", "with * and ?"),
        ("[schedule]\nevery = \"2 hours\"", "schedule.every", "is no duration"),
        ("[schedule]\nevery = \"99999999999999999999h\"", "schedule.every", "is no duration"),
        ("[listen]\naddress = \"localhost:80\"", "listen.address", "0.0.0.0:8080"),
        ("[listen]\nmetrics_address = \"127.0.0.1:8080\"", "listen.metrics_address", "another port"),
        ("[listen]\ntls_key = \"k\"", "listen.tls_key", "write both"),
        ("[serve]\npublic_url = \"https://h/?x\"", "serve.public_url", "query"),
        ("[serve]\nrewrite_index = \"yes\"", "serve.rewrite_index", "without quotes"),
        ("[data]\nretain_releases = -1", "data.retain_releases", "at least 1"),
        ("[bundles]\nvalid_for = \"1h\"", "bundles.valid_for", "from \"1d\""),
        ("[limits]\nrun_bytes = \"2 gigs\"", "limits.run_bytes", "512MiB"),
        ("[limits]\narchive_bytes = 0", "limits.archive_bytes", "at least 1"),
        ("[upstream]\nfallback_urls = []", "upstream.fallback_urls", "is not a key"),
    ] {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(&format!(" {key}: ")) && found[0].contains(says), "{text}: {}", found[0]);
        assert!(!found[0].contains("secret"), "passwords are not repeated");
    }
}

#[test]
fn what_is_not_toml_is_told_with_the_mistakes_around_it() {
    let found = mistakes("[schedule]\nevery = \n[data]\nretain_releases = 0\n");
    assert!(found[0].starts_with("configuration:2: is not TOML: "), "{found:?}");
    assert!(found[1].starts_with("configuration:4: data.retain_releases: "), "{found:?}");
    assert_eq!(mistakes("[data]\nretain_releases = 1\nretain_releases = 2").len(), 1);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let errors = read(Path::new("/nowhere/feed.toml")).unwrap_err();
    assert!(errors.to_string().starts_with("/nowhere/feed.toml: cannot be read"), "{errors}");
}

#[test]
fn durations_and_sizes() {
    for (text, seconds) in
        [("2h", 7_200), ("90m", 5_400), ("7d", 604_800), ("1d2h3m4s", 93_784), ("00:00:05", 5), ("48:00:00", 172_800)]
    {
        assert_eq!(values::parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["", "2", "h", "2h2h", "2m1h", "-2h", "1.5h", "1:2", "00:60:00", "1:2:3:4", "+1:00:00", "11y", "4000d"]
    {
        assert_eq!(values::parse_duration(text), None, "{text}");
    }
    for (text, bytes) in [("12", 12), ("1KiB", 1_024), ("2 GiB", 2 << 30), ("1kB", 1_000), ("3B", 3)] {
        assert_eq!(values::parse_size(text), Some(bytes), "{text}");
    }
    for text in ["", "GiB", "1gib", "-1", "1.5GiB", "99999999TiB", "99999999999999999999"] {
        assert_eq!(values::parse_size(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}|([a-z\\[\\]=\"'#{},.0-9_:\n -]{0,300})") {
        let _ = parse(&text, Path::new("/"));
    }

    #[test]
    fn arbitrary_values_of_known_keys_never_panic_and_mistakes_stand_on_their_line(
        section in prop::sample::select(vec!["upstream", "schedule", "listen", "serve", "data", "bundles", "limits"]),
        key in prop::sample::select(vec![
            "kind", "url", "trust_anchors", "allowed_hosts", "components", "initial_delay", "every", "address",
            "metrics_address", "tls_certificate", "tls_key", "public_url", "rewrite_index", "directory",
            "retain_releases", "valid_for", "index_bytes", "index_entries", "expansion_ratio",
        ]),
        value in "\"[^\"\\\\\\p{Cc}]{0,30}\"|-?[1-9][0-9]{0,25}|true|\\[(\"[a-z*:/.]{0,9}\",?)?\\]|0x[0-9a-f]{1,20}|1\\.5|\\{ a = \"b\" \\}",
    ) {
        if let Err(errors) = parse(&format!("\n[{section}]\n{key} = {value}\n"), Path::new("/")) {
            for mistake in errors.mistakes() {
                prop_assert_eq!(mistake.line, 3, "{}", errors);
                prop_assert!(!mistake.message.contains('\n'));
            }
        }
    }
}
