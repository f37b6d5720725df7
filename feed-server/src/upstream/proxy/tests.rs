//! Where the proxy comes from. What becomes of passwords is in `secrecy`, the file they are in is in `files`.

mod files;
mod secrecy;

use std::path::Path;

use super::*;
use crate::config::Upstream;

/// `[upstream.proxy]` with these keys, in a configuration file of `directory`.
fn upstream(directory: &Path, keys: &str) -> Upstream {
    crate::config::parse(&format!("[upstream.proxy]\n{keys}"), directory).unwrap().upstream
}

fn resolved(keys: &str, environment: &[(&'static str, &str)]) -> Result<Proxies, ProxyError> {
    let directory = tempfile::tempdir().unwrap();
    let pairs = environment.iter().map(|(variable, value)| (*variable, (*value).to_owned()));
    Proxies::resolve(&upstream(directory.path(), keys), &Environment::from_pairs(pairs))
}

/// What the vendor's host is reached through.
fn route(keys: &str, environment: &[(&'static str, &str)]) -> Option<String> {
    let proxies = resolved(keys, environment).unwrap();
    proxies.route("www.cisco.com", 443).map(Proxy::identity)
}

#[test]
fn the_configuration_goes_before_the_environment() {
    const SET: &str = "url = \"http://proxy.example:3128\"\n";
    let environment = [("https_proxy", "http://other.example:1"), ("no_proxy", "*")];
    assert_eq!(route(SET, &environment), Some("http://proxy.example:3128".to_owned()));
    assert_eq!(route("url = \"none\"\n", &environment[..1]), None);
    assert_eq!(route("url = \"none\"\n", &[("https_proxy", "no proxy at all")]), None);
    assert_eq!(route(SET, &[("https_proxy", "no proxy at all")]), Some("http://proxy.example:3128".to_owned()));
    assert_eq!(route("", &environment[..1]), Some("http://other.example:1".to_owned()));
    assert_eq!(route("", &environment), None);
    assert_eq!(route("", &[]), None);
}

#[test]
fn variables_are_read_in_the_order_in_which_curl_reads_them() {
    let order = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    for first in 0..order.len() {
        // The first is set to something, and all after it to something else; those before it are empty, so not set.
        let value = |at: usize| match at.cmp(&first) {
            std::cmp::Ordering::Less => "",
            std::cmp::Ordering::Equal => "first.example:1",
            std::cmp::Ordering::Greater => "later.example:2",
        };
        let environment: Vec<_> = order.iter().enumerate().map(|(at, variable)| (*variable, value(at))).collect();
        let proxies = resolved("", &environment).unwrap();
        let proxy = proxies.proxy().unwrap();
        assert_eq!(proxy.authority(), "first.example:1", "{}", order[first]);
        assert_eq!(proxy.origin(), Origin::Environment { variable: order[first] });
        assert_eq!(proxy.origin().to_string(), format!("the environment variable {}", order[first]));
    }
    assert_eq!(route("", &[("http_proxy", "x:1"), ("HTTP_PROXY", "x:1"), ("ftp_proxy", "x:1")]), None, "not for https");
    let proxy = ("HTTPS_PROXY", "x:1");
    assert_eq!(route("", &[proxy, ("NO_PROXY", "*"), ("no_proxy", "a.example")]), Some("http://x:1".to_owned()));
    assert_eq!(route("", &[proxy, ("NO_PROXY", "*"), ("no_proxy", "")]), None);
}

#[test]
fn what_the_environment_may_say() {
    for (value, identity) in [
        ("proxy.example:3128", "http://proxy.example:3128"),
        (" http://proxy.example:80/ ", "http://proxy.example:80"),
        ("user:pw@proxy.example:3128", "http://user@proxy.example:3128"),
        ("http://CORP%5Cj%C3%BCrgen:pw@[2001:db8::7]:3128", "http://CORP\\jürgen@[2001:db8::7]:3128"),
        ("http://user@proxy.example:3128", "http://user@proxy.example:3128"),
    ] {
        assert_eq!(route("", &[("https_proxy", value)]).as_deref(), Some(identity), "{value}");
    }
}

#[test]
fn keys_without_a_url_are_for_the_environments_proxy() {
    let environment = [("https_proxy", "http://proxy.example:3128"), ("no_proxy", "a.example")];
    let proxies = resolved("bypass = [\"b.example:443\"]\n", &environment).unwrap();
    assert!(proxies.route("a.example", 443).is_none() && proxies.route("b.example", 443).is_none(), "one list of both");
    assert!(proxies.route("b.example", 8443).is_some() && proxies.route("c.example", 443).is_some());
    assert_eq!(proxies.bypass().to_string(), "b.example:443, a.example");
}

#[test]
fn entries_of_no_proxy_that_nobody_understands_do_not_stop_a_run() {
    let environment = [("https_proxy", "http://proxy.example:3128"), ("no_proxy", "<local>,10.*,.cisco.com")];
    assert_eq!(route("", &environment), None);
}

#[test]
fn a_proxy_with_tls_has_anchors_of_its_own() {
    const ANCHORED: &str = "trust_anchors = [\"IdenTrust Commercial Root CA 1\"]\n";
    let https = [("HTTPS_PROXY", "https://proxy.example:3128")];
    let error = resolved("", &https).unwrap_err();
    let message = bundles::Reasoned::whole_message(&error);
    assert!(message.contains("HTTPS_PROXY") && message.contains("[upstream.proxy] trust_anchors"), "{message}");
    let proxies = resolved(ANCHORED, &https).unwrap();
    let names: Vec<_> = proxies.verifier().unwrap().anchors().iter().map(certs::Anchor::name).collect();
    assert_eq!(names, ["IdenTrust Commercial Root CA 1"]);
    assert!(proxies.proxy().unwrap().is_tls);
    assert_eq!(proxies.proxy().unwrap().identity(), "https://proxy.example:3128");

    let proxies = resolved(ANCHORED, &[("HTTPS_PROXY", "http://proxy.example:3128")]).unwrap();
    assert!(proxies.verifier().is_none() && !proxies.proxy().unwrap().is_tls, "nothing to vouch for");
    let error = resolved("trust_anchors = [\"no.pem\"]\n", &[]).unwrap_err();
    assert!(bundles::Reasoned::whole_message(&error).contains("no.pem"), "told before there is a proxy that needs it");
}

#[test]
fn all_of_these_are_mistakes_in_the_configuration() {
    for value in ["socks5://proxy:1080", "proxy.example", "ftp://proxy:21", "http://a:80/b@proxy:3128"] {
        for variable in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            let error = resolved("", &[(variable, value)]).unwrap_err();
            assert_eq!(bundles::Reasoned::reason(&error), bundles::Reason::BadRequest);
            assert!(error.to_string().contains(variable), "{error}");
        }
    }
}
