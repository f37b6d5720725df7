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
    assert_eq!(config.bundles.max_upload, 8 << 30);
    assert_eq!(config.watched_folder(), Path::new("feed-data/incoming"));
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
        fallback_urls = ["https://www.perfigo.com/ise/posture-update.xml", "https://feed.example/b.xml"]
        allowed_hosts = [
            "ISEservice.cisco.com",
            "192.0.2.7",
            { host = "Other.example", trust_anchors = ["other.pem", "lab.pem"] },
            { host = "plain.example" },
        ]
        [upstream.proxy]
        url = "https://Proxy.example:443"
        username = "CORP\\feed"
        password_file = "proxy-password"
        bypass = [".example", "192.0.2.0/24:8443"]
        trust_anchors = ["proxy.pem"]
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
        max_upload = "2GiB"
        watched_folder = "incoming"
        [limits]
        index_bytes = 1_000
        index_entries = 7
        index_depth = 8
        archive_bytes = "2GiB"
        payload_bytes = "10 GB"
        expansion_ratio = 100
        offline_zip_bytes = "5MiB"
        archive_members = 9
        run_bytes = "1TiB"
    "#;
    let config = parse(text, Path::new("/etc/feed")).unwrap();
    assert_eq!(config.upstream.kind, UpstreamKind::None);
    assert_eq!(config.upstream.url.port(), Some(8443));
    assert_eq!(config.upstream.base_dir, Path::new("/etc/feed"));
    let fallbacks: Vec<&str> = config.upstream.fallback_urls.iter().map(Url::as_str).collect();
    assert_eq!(fallbacks, ["https://www.perfigo.com/ise/posture-update.xml", "https://feed.example/b.xml"]);
    let allowed = |host: &str, anchors: Option<&[&str]>| AllowedHost {
        host: host.to_owned(),
        trust_anchors: anchors.map(|anchors| anchors.iter().map(|&anchor| anchor.to_owned()).collect()),
    };
    let hosts = [
        allowed("iseservice.cisco.com", None),
        allowed("192.0.2.7", None),
        allowed("other.example", Some(&["other.pem", "lab.pem"])),
        allowed("plain.example", None),
    ];
    assert_eq!(config.upstream.allowed_hosts, hosts);
    let proxy = config.upstream.proxy;
    assert_eq!(proxy.url, ProxyUrl::Url(Url::parse("https://proxy.example:443").unwrap()));
    assert_eq!((proxy.username.as_deref(), proxy.password_file), (Some("CORP\\feed"), Some("proxy-password".into())));
    assert_eq!((proxy.bypass.len(), proxy.trust_anchors), (2, vec!["proxy.pem".to_owned()]));
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
    assert_eq!(config.bundles.watched_folder.as_deref(), Some(Path::new("/etc/feed/incoming")));
    assert_eq!(config.data.retain_releases, 3);
    assert_eq!(config.bundles.valid_for, Duration::from_secs(30 * 86_400));
    assert_eq!(config.bundles.max_upload, 2 << 30);
    let limits = Limits {
        index_bytes: 1_000,
        index_entries: 7,
        index_depth: 8,
        archive_bytes: 2 << 30,
        payload_bytes: 10_000_000_000,
        expansion_ratio: 100,
        offline_zip_bytes: 5 << 20,
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
feed.toml:11: colour: is not a key here; known are upstream, schedule, listen, serve, data, bundles, increments, signing, limits";
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
        ("[upstream]\nkind = \"miror\"\nroot = \"r\"", "upstream.kind", "\"vendor\", \"mirror\" or \"none\""),
        ("[upstream]\nkind = \"mirror\"", "upstream.kind", "set upstream.root"),
        ("[upstream]\nkind = \"mirror\"\nroot = \"\"", "upstream.root", "is empty"),
        ("[upstream]\nroot = \"r\"", "upstream.root", "upstream.kind is not \"mirror\""),
        ("[upstream]\nkind = \"none\"\nroot = \"r\"", "upstream.root", "leave it out"),
        (
            "[upstream]\nkind = \"mirror\"\nroot = \"r\"\ntrust_anchors = [\"a\"]\nurl = \"http://h/\"",
            "upstream.url",
            "only https:// is accepted; write one such as \"https://feed.example.net:8443",
        ),
        (
            "[upstream]\nkind = \"mirror\"\nroot = \"r\"\nurl = \"https://h/\"",
            "upstream.url",
            "set upstream.trust_anchors",
        ),
        (
            "[upstream]\nkind = \"mirror\"\nroot = \"r\"\nurl = \"https://h/\"\ntrust_anchors = [\"a\"]\n[upstream.components]\nx = \"conditions\"",
            "upstream.components",
            "as their origin made them",
        ),
        (
            "[upstream]\nkind = \"mirror\"\nroot = \"r\"\nfallback_urls = [\"https://h/\"]",
            "upstream.fallback_urls",
            "without upstream.url",
        ),
        (
            "[upstream]\nkind = \"mirror\"\nroot = \"r\"\nallowed_hosts = [\"h\"]",
            "upstream.allowed_hosts",
            "fed by hand",
        ),
        (
            "[upstream]\nkind = \"mirror\"\nroot = \"r\"\ntrust_anchors = [\"a\"]",
            "upstream.trust_anchors",
            "without upstream.url",
        ),
        ("[upstream]\nkind = \"mirror\"\nroot = \"r\"\nproxy.url = \"none\"", "upstream.proxy", "without upstream.url"),
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
        ("[bundles]\nmax_upload = 0", "bundles.max_upload", "at least 1"),
        ("[bundles]\nwatched_folder = \"\"", "bundles.watched_folder", "is empty"),
        ("[limits]\nrun_bytes = \"2 gigs\"", "limits.run_bytes", "512MiB"),
        ("[limits]\narchive_bytes = 0", "limits.archive_bytes", "at least 1"),
        ("[limits]\nconnections = 3", "limits.connections", "less than 64"),
        ("[upstream]\noffline_zip_url = \"http://h/x.zip\"", "upstream.offline_zip_url", "posture-offline.zip"),
        (
            "[upstream]\nurl = \"https://h/x\"\noffline_zip_url = \"https://h/x\"",
            "upstream.offline_zip_url",
            "is a URL of the index",
        ),
        (
            "[upstream]\nkind = \"none\"\noffline_zip_url = \"https://h/x.zip\"",
            "upstream.offline_zip_url",
            "bundle import",
        ),
        (
            "[upstream]\nkind = \"mirror\"\nroot = \"r\"\noffline_zip_url = \"https://h/x.zip\"",
            "upstream.offline_zip_url",
            "where their origin does",
        ),
        ("[upstream]\nfallback_urls = \"https://h/x\"", "upstream.fallback_urls", "in brackets"),
        ("[upstream]\nfallback_urls = [\"http://h/x\"]", "upstream.fallback_urls", "only https:// is accepted"),
        ("[upstream]\nfallback_urls = [\"https://u:secret@h/x\"]", "upstream.fallback_urls", "password"),
        ("[upstream]\nfallback_urls = [1]", "upstream.fallback_urls", "is an integer"),
        ("[upstream]\nfallback_urls = [\"https://h/x\", \"https://H:443/x\"]", "upstream.fallback_urls", "twice"),
        (
            "[upstream]\nurl = \"https://h/x\"\nfallback_urls = [\"https://H/x\"]",
            "upstream.fallback_urls",
            "upstream.url",
        ),
        ("[upstream]\nallowed_hosts = [\"h\", { host = \"H\" }]", "upstream.allowed_hosts", "names h twice"),
        ("[upstream]\nallowed_hosts = [{ host = \"x/y\" }]", "upstream.allowed_hosts.host", "is no host"),
        ("[upstream]\nallowed_hosts = [{ host = 1 }]", "upstream.allowed_hosts.host", "a host name"),
        ("[upstream]\nallowed_hosts = [{}]", "upstream.allowed_hosts", "has no host"),
        (
            "[upstream]\nallowed_hosts = [{ host = \"h\", trust_anchor = [] }]",
            "upstream.allowed_hosts.trust_anchor",
            "did you mean",
        ),
        (
            "[upstream]\nallowed_hosts = [{ host = \"h\", trust_anchors = [] }]",
            "upstream.allowed_hosts.trust_anchors",
            "leave the key out",
        ),
        ("[upstream.proxy]\nurl = \"proxy\"", "upstream.proxy.url", "http://proxy.example.com:3128"),
        ("[upstream.proxy]\nurl = \"http://proxy\"", "upstream.proxy.url", "names no port"),
        ("[upstream.proxy]\nurl = \"socks5://u:secret@proxy:1080\"", "upstream.proxy.url", "SOCKS"),
        (
            "[upstream.proxy]\nurl = \"http://u:secret@proxy:3128\"",
            "upstream.proxy.url",
            "upstream.proxy.password_file",
        ),
        ("[upstream.proxy]\nurl = \"http://secret@proxy:3128\"", "upstream.proxy.url", "upstream.proxy.username"),
        ("[upstream.proxy]\nurl = \"http://u:1/secret@proxy:3128\"", "upstream.proxy.url", "more than scheme"),
        ("[upstream.proxy]\nurl = \"https://proxy:443\"", "upstream.proxy.url", "set upstream.proxy.trust_anchors"),
        (
            "[upstream.proxy]\nurl = \"http://proxy:80\"\ntrust_anchors = [\"a.pem\"]",
            "upstream.proxy.trust_anchors",
            "write https:// there",
        ),
        ("[upstream.proxy]\nurl = \"none\"\nbypass = [\"h\"]", "upstream.proxy.bypass", "does nothing"),
        ("[upstream.proxy]\nusername = \"u\"", "upstream.proxy.username", "without upstream.proxy.password_file"),
        ("[upstream.proxy]\npassword_file = \"p\"", "upstream.proxy.password_file", "without upstream.proxy.username"),
        ("[upstream.proxy]\nusername = \"a:b\"\npassword_file = \"p\"", "upstream.proxy.username", "colon"),
        ("[upstream.proxy]\nbypass = [\"10.*\"]", "upstream.proxy.bypass", "\"192.0.2.0/24\""),
        ("[upstream.proxy]\nbypass = \"h\"", "upstream.proxy.bypass", "in brackets"),
        (
            "[upstream.proxy]\npassword = \"secret\"",
            "upstream.proxy.password",
            "did you mean upstream.proxy.password_file",
        ),
    ] {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(&format!(" {key}: ")) && found[0].contains(says), "{text}: {}", found[0]);
        assert!(!found[0].contains("secret"), "passwords are not repeated");
    }
}

#[test]
fn a_mirror_is_a_relay_that_follows_where_it_has_a_url() {
    let fed = "[upstream]\nkind = \"mirror\"\nroot = \"origin/root.json\"\n";
    let by_hand =
        parse(&format!("{fed}fallback_urls = []\n[upstream.proxy]\nbypass = []\n"), Path::new("/etc/feed")).unwrap();
    assert_eq!((by_hand.upstream.role(), by_hand.upstream.fetches()), (Role::Relay, false));
    assert_eq!(by_hand.upstream.root.unwrap(), Path::new("/etc/feed/origin/root.json"));

    let text = format!(
        "{fed}url = \"https://feed.example.net:8443\"\nfallback_urls = [\"https://other.example.net\"]\n\
         trust_anchors = [\"ca.pem\"]\nallowed_hosts = [\"cdn.example.net\"]\nproxy.url = \"http://proxy.example:3128\"\n"
    );
    let following = parse(&text, Path::new("/etc/feed")).unwrap().upstream;
    assert_eq!((following.role(), following.fetches()), (Role::Relay, true));
    assert_eq!(following.url.as_str(), "https://feed.example.net:8443/");

    for (kind, fetches) in [("vendor", true), ("none", false)] {
        let origin = parse(&format!("[upstream]\nkind = \"{kind}\"\n"), Path::new("/")).unwrap().upstream;
        assert_eq!((origin.role(), origin.fetches(), origin.root), (Role::Origin, fetches, None));
    }
}

#[test]
fn mistakes_in_a_list_stand_on_their_own_lines() {
    let text = "\
[upstream]
allowed_hosts = [
    \"good.example\",
    \"bad/\",
    { host = \"a.example\",
      wrong = 1 },
]
fallback_urls = [
    \"https://a.example/x\",
    \"ftp://a.example/x\",
]
[upstream.proxy]
url = \"none\"
username = \"u\"
bypass = []
";
    let lines: Vec<usize> =
        parse(text, Path::new("/")).unwrap_err().mistakes().iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [4, 6, 10, 14, 14], "{:#?}", mistakes(text));
}

#[test]
fn no_proxy_can_be_asked_for() {
    let config = parse("[upstream.proxy]\nurl = \"none\"\nbypass = []\ntrust_anchors = []\n", Path::new("/")).unwrap();
    assert_eq!(config.upstream.proxy.url, ProxyUrl::None);
    assert_eq!(parse("", Path::new("/")).unwrap().upstream.proxy.url, ProxyUrl::FromEnvironment);
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
        section in prop::sample::select(vec!["upstream", "upstream.proxy", "schedule", "listen", "serve", "data", "bundles", "limits"]),
        key in prop::sample::select(vec![
            "kind", "url", "trust_anchors", "allowed_hosts", "components", "initial_delay", "every", "address",
            "metrics_address", "tls_certificate", "tls_key", "public_url", "rewrite_index", "directory",
            "retain_releases", "valid_for", "index_bytes", "index_entries", "expansion_ratio", "fallback_urls",
            "username", "password_file", "bypass", "max_upload", "watched_folder",
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
