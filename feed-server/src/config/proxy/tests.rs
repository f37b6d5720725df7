use proptest::prelude::*;

use super::*;

#[test]
fn scheme_host_and_port_are_a_proxy() {
    for (text, scheme, host, port) in [
        ("http://proxy.example.com:3128", "http", "proxy.example.com", 3128),
        ("HTTP://Proxy.example.com:80/", "http", "proxy.example.com", 80),
        ("https://proxy:443", "https", "proxy", 443),
        ("http://[2001:db8::7]:8080", "http", "[2001:db8::7]", 8080),
        ("http://user:pass@192.0.2.7:3128/", "http", "192.0.2.7", 3128),
    ] {
        let url = parse_proxy_url(text).unwrap();
        assert_eq!((url.scheme(), url.host_str(), url.port_or_known_default()), (scheme, Some(host), Some(port)));
    }
}

#[test]
fn what_is_none_is_told_without_what_may_be_a_password() {
    use ProxyUrlMistake::{More, NotAUrl, Port, Scheme, Socks};
    for (text, mistake) in [
        ("", NotAUrl),
        ("hunter2", NotAUrl),
        ("hunter2:3128", NotAUrl),
        ("http://", NotAUrl),
        ("http://:3128", NotAUrl),
        ("http://hunter2@:3128", NotAUrl),
        ("http://hun ter2:3128", NotAUrl),
        ("socks5h://u:hunter2@proxy:1080", Socks),
        ("SOCKS4://proxy:1080", Socks),
        ("ftp://u:hunter2@proxy:21", Scheme),
        ("u:hunter2://proxy", Scheme),
        ("http://proxy", Port),
        ("http://proxy:", Port),
        ("http://proxy:0", Port),
        ("http://[2001:db8::7]", Port),
        ("http://u:hunter2@proxy", Port),
        ("http://u:80/hunter2@proxy:3128", More),
        ("http://u:80#hunter2@proxy:3128", More),
        ("http://u:80?hunter2@proxy:3128", More),
        ("http://u:80\\hunter2@proxy:3128", More),
        ("http://proxy:3128/hunter2", More),
    ] {
        let found = parse_proxy_url(text).unwrap_err();
        assert_eq!(found, mistake, "{text}");
        let said = format!("{found} {found:?}");
        assert!(!said.contains("hunter") && said.contains("http://proxy.example.com:3128"), "{text}: {said}");
    }
}

#[test]
fn names_and_passwords_that_cannot_be_sent() {
    use CredentialMistake::{Colon, Control, Empty, Long, Mark};
    assert_eq!(check_username("CORP\\jürgen@example"), Ok(()));
    assert_eq!(check_password(" pass:wörd# "), Ok(()));
    assert_eq!(check_password(""), Ok(()));
    assert_eq!(check_username(""), Err(Empty));
    assert_eq!(check_username("a:b"), Err(Colon));
    assert_eq!(check_username("a\tb"), Err(Control));
    assert_eq!(check_password("a\nb"), Err(Control));
    assert_eq!(check_password("\u{feff}a"), Err(Mark));
    assert_eq!(check_password(&"x".repeat(MAX_CREDENTIAL)), Ok(()));
    assert_eq!(check_password(&"x".repeat(MAX_CREDENTIAL + 1)), Err(Long));
    assert_eq!(check_username(&"x".repeat(MAX_CREDENTIAL + 1)), Err(Long));
}

proptest! {
    #[test]
    fn any_text_is_a_proxy_or_not_but_never_panics(text in "\\PC{0,60}|(http|https|socks)://[a-z0-9.:@/?#%\\[\\]\\\\-]{0,40}") {
        if let Ok(url) = parse_proxy_url(&text) {
            prop_assert!(url.host().is_some() && url.port_or_known_default().is_some_and(|port| port != 0));
            prop_assert!(url.path() == "/" && url.query().is_none() && url.fragment().is_none());
        }
    }
}
