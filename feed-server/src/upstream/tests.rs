use proptest::prelude::*;
use url::Url;

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn only_the_indexs_host_and_allowed_ones_are_asked_and_only_by_https() {
    let hosts = Hosts::new(&url("https://www.cisco.com/x.xml"), &["iseservice.cisco.com".to_owned()]);
    for text in ["https://www.cisco.com/a", "https://WWW.cisco.com:8443/a", "https://iseservice.cisco.com/"] {
        assert!(hosts.allow(&url(text)).is_ok(), "{text}");
    }
    let error = hosts.allow(&url("https://evil.example/a?secret=1")).unwrap_err();
    assert_eq!(bundles::Reasoned::reason(&error), bundles::Reason::HostNotAllowed);
    let message = error.to_string();
    assert!(message.contains("\"evil.example\" to [upstream] allowed_hosts"), "{message}");
    assert!(!message.contains("secret"), "{message}");
    for text in ["http://www.cisco.com/a", "https://cisco.com/a", "https://www.cisco.com.evil.example/", "file:///etc"]
    {
        let error = hosts.allow(&url(text)).unwrap_err();
        assert_eq!(bundles::Reasoned::reason(&error), bundles::Reason::HostNotAllowed, "{text}");
    }
}

#[test]
fn dates_of_http_are_read() {
    let date = vendor::parse_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    assert_eq!(date.as_second(), 784_111_777);
}

proptest! {
    #[test]
    fn any_date_header_is_read_or_not_but_never_panics(text in "\\PC{0,60}") {
        let _ = vendor::parse_date(&text);
    }
}
