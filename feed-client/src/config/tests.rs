use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
    Config::parse(text, Path::new("/etc/feed"))
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = parse("").unwrap();
    assert_eq!(config.schedule, Rhythm { every: DEFAULT_EVERY, jitter: DEFAULT_JITTER });
    assert_eq!(config.apply.keep_releases, 3);
    assert!(config.apply.defaults.is_match("conditions/conditions/defaults/policy.xml"));
    assert!(!config.apply.defaults.is_match("conditions/conditions/checks.xml"));
}

#[test]
fn everything_is_read_and_relative_paths_start_at_the_file() {
    let config = parse(
        r#"
        [server]
        url = "https://feed.example.net/posture"
        trust_anchors = ["pki/root.pem", "IdenTrust Commercial Root CA 1"]
        [headend]
        id = "ise-1.example.net"
        token_file = "token"
        [schedule]
        every = "30m"
        jitter = "00:01:00"
        [apply]
        directory = "/srv/posture"
        hook = "bin/hook"
        keep_releases = 5
        defaults = ["conditions/*/defaults/*.xml"]
        [metrics]
        textfile = "/var/lib/node_exporter/feed.prom"
        "#,
    )
    .unwrap();
    assert_eq!(config.server.url.unwrap().as_str(), "https://feed.example.net/posture");
    assert_eq!(config.server.trust_anchors.len(), 2);
    assert_eq!(config.headend.token_file.unwrap(), Path::new("/etc/feed/token"));
    assert_eq!(config.schedule.every, Duration::from_secs(1800));
    assert_eq!(config.schedule.jitter, Duration::from_secs(60));
    assert_eq!(config.apply.directory.unwrap(), Path::new("/srv/posture"));
    assert_eq!(config.apply.hook.unwrap(), Path::new("/etc/feed/bin/hook"));
    assert!(config.apply.defaults.is_match("conditions/x/defaults/a.xml"));
    assert!(!config.apply.defaults.is_match("conditions/x/y/defaults/a.xml"), "`*` stays within one folder");
}

#[test]
fn all_mistakes_come_at_once_each_with_its_line() {
    let mistakes = parse(concat!(
        "colour = \"green\"\n",
        "[server]\n",
        "url = \"ftp://feed.example.net\"\n",
        "trust_anchor = \"x\"\n",
        "[headend]\n",
        "id = \"../../etc\"\n",
        "[schedule]\n",
        "every = \"2 fortnights\"\n",
        "[apply]\n",
        "keep_releases = 1\n",
        "defaults = [\"ok/**\",\n",
        "  \"[\"]\n",
        "hook = 7\n",
    ))
    .unwrap_err();
    let found: Vec<_> = mistakes.iter().map(|mistake| (mistake.line, mistake.what.as_str())).collect();
    let expected = [
        (1, "unknown table or key `colour`"),
        (3, "server.url: must be an http:// or https:// URL"),
        (4, "unknown key `server.trust_anchor`; known are: url, trust_anchors"),
        (6, "headend.id: is not a headend's id"),
        (8, "schedule.every: is not a duration"),
        (10, "apply.keep_releases: must be between 2"),
        (12, "apply.defaults: has \"[\""),
        (13, "apply.hook: must be a string, and is integer"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, what), (expected_line, begins)) in found.iter().zip(expected) {
        assert_eq!(*line, expected_line, "{what}");
        assert!(what.starts_with(begins), "{what:?} does not begin with {begins:?}");
    }
}

#[test]
fn broken_toml_is_a_mistake_like_others() {
    let mistakes = parse("[server]\nurl = \n[apply]\nkeep_releases = 1\n").unwrap_err();
    assert!(mistakes.iter().any(|mistake| mistake.line == 2), "{mistakes:?}");
    assert!(mistakes.iter().any(|mistake| mistake.line == 4), "{mistakes:?}");
}

#[test]
fn intervals_that_reports_cannot_state_are_refused() {
    for every in ["0s", "11d", "500ms", "-2h"] {
        assert!(parse(&format!("[schedule]\nevery = {every:?}\n")).is_err(), "{every}");
    }
    assert!(parse("[schedule]\nevery = \"10m\"\njitter = \"11m\"\n").is_err());
    assert_eq!(parse("[schedule]\nevery = \"10m\"\n").unwrap().schedule.jitter, Duration::from_secs(60));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|\n){0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn an_id_is_one_plain_path_segment(text in "[a-zA-Z0-9._-]{1,260}|\\PC{0,140}") {
        if let Ok(id) = text.parse::<HeadendId>() {
            let url = Url::parse("http://h/a/b/c").unwrap().join(&format!("x/{id}/report")).unwrap();
            prop_assert_eq!(url.path(), format!("/a/b/x/{id}/report"));
            prop_assert_eq!(std::path::Path::new(id.as_str()).components().count(), 1);
        }
    }
}
