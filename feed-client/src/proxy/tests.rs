use proptest::prelude::*;

use super::*;

fn resolved(setting: &ProxySetting, server: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, ProxyError> {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Proxy::for_server(setting, &Url::parse(server).unwrap(), lookup)
}

fn shown(server: &str, variables: &[(&str, &str)]) -> Option<String> {
    resolved(&ProxySetting::Environment, server, variables).unwrap().map(|proxy| proxy.to_string())
}

const SERVER: &str = "https://feed.example.net:8443/";

#[test]
fn the_configuration_goes_before_the_environment() {
    let environment = [("HTTPS_PROXY", "http://other:3128"), ("NO_PROXY", "*")];
    let set = ProxySetting::parse("http://proxy.example:8080").unwrap();
    let proxy = resolved(&set, SERVER, &environment).unwrap().unwrap();
    assert_eq!((proxy.to_string().as_str(), proxy.origin()), ("proxy.example:8080", "[server] proxy"));
    let none = ProxySetting::parse("none").unwrap();
    assert!(resolved(&none, SERVER, &[("HTTPS_PROXY", "http://other:3128")]).unwrap().is_none());
    assert!(resolved(&set, "http://feed.example.net/", &[]).unwrap().is_some());
}

#[test]
fn the_environment_counts_for_https_and_its_bypass_list_for_hosts_domains_networks_and_ports() {
    let with = |bypass: &'static str| [("https_proxy", "proxy:3128"), ("no_proxy", bypass)];
    assert_eq!(shown(SERVER, &with("")).as_deref(), Some("proxy:3128"));
    assert_eq!(shown(SERVER, &[]), None);
    assert_eq!(shown(SERVER, &[("HTTPS_PROXY", " ")]), None);
    let both = |lower: &'static str| [("HTTPS_PROXY", "upper:3128"), ("https_proxy", lower)];
    assert_eq!(shown(SERVER, &both("lower:3128")).as_deref(), Some("lower:3128"));
    assert_eq!(shown(SERVER, &both("")).as_deref(), Some("upper:3128"), "what is empty is not set");
    assert_eq!(shown("http://feed.example.net/", &with("")), None);
    for (bypass, server, is_direct) in [
        ("feed.example.net", SERVER, true),
        (".example.net", SERVER, true),
        ("other.example, *.example.net", SERVER, true),
        ("*.example.com,example.org", SERVER, false),
        ("feed.example.net:8443", SERVER, true),
        ("feed.example.net:443", SERVER, false),
        ("*", SERVER, true),
        ("10.0.0.0/8", "https://10.1.2.3/", true),
        ("10.0.0.0/8", "https://11.1.2.3/", false),
        ("[2001:db8::1]:443", "https://[2001:db8::1]/", true),
        ("2001:db8::1", "https://[2001:db8::1]/", true),
        ("[2001:db8::1]:444", "https://[2001:db8::1]/", false),
    ] {
        assert_eq!(shown(server, &with(bypass)).is_none(), is_direct, "{bypass} {server}");
    }
}

#[test]
fn a_server_on_this_machine_is_asked_directly() {
    let set = ProxySetting::parse("http://proxy.example:8080").unwrap();
    for server in ["http://127.0.0.1:8080/", "https://localhost/", "https://[::1]:8443/"] {
        assert!(resolved(&set, server, &[]).unwrap().is_none(), "{server}");
    }
}

#[test]
fn credentials_come_from_the_environment_only_and_are_never_shown() {
    assert!(ProxySetting::parse("http://me:secret@proxy:3128").unwrap_err().contains("no user name and password"));
    let variables = [("HTTPS_PROXY", "http://me:s%20ecret@proxy:3128")];
    let proxy = resolved(&ProxySetting::Environment, SERVER, &variables).unwrap().unwrap();
    assert_eq!(proxy.authorization().unwrap().as_bytes(), b"Basic bWU6cyBlY3JldA==");
    assert!(!format!("{proxy} {proxy:?} {:?}", proxy.authorization()).contains("ecret"));
    assert!(!format!("{:?}", proxy.to_reqwest().unwrap()).contains("bWU6"));
}

#[test]
fn other_schemes_are_refused_by_name_and_without_what_was_given() {
    for text in ["https://proxy:3128", "socks5://proxy:1080", "http://proxy:3128/path", "http://", ""] {
        assert!(ProxySetting::parse(text).is_err(), "{text}");
    }
    let error =
        resolved(&ProxySetting::Environment, SERVER, &[("HTTPS_PROXY", "socks5://me:secret@proxy")]).unwrap_err();
    assert!(error.to_string().contains("HTTPS_PROXY") && !error.to_string().contains("secret"), "{error}");
    assert_eq!(error.reason(), Reason::BadRequest);
}

proptest! {
    #[test]
    fn no_variables_panic(proxy in ".{0,40}", bypass in ".{0,40}") {
        let _ = resolved(&ProxySetting::Environment, SERVER, &[("HTTPS_PROXY", &proxy), ("NO_PROXY", &bypass)]);
    }
}
