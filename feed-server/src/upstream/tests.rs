use proptest::prelude::*;
use url::Url;

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn only_the_indexs_host_and_allowed_ones_are_asked_and_only_by_https() {
    let hosts = Hosts::new([&url("https://www.cisco.com/x.xml")], ["iseservice.cisco.com".to_owned()]);
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
    let date = head::parse_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    assert_eq!(date.as_second(), 784_111_777);
}

#[test]
fn retry_after_is_read_in_both_of_its_forms() {
    use hyper::StatusCode;
    use hyper::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

    let pause = |status: StatusCode, after: Option<&'static str>, date: Option<&'static str>| {
        let pairs = [(RETRY_AFTER, after), (DATE, date)];
        let headers: HeaderMap =
            pairs.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_static(value?)))).collect();
        let error = head::refusal("https://h/x".to_owned(), status, &headers);
        let reason = bundles::Reasoned::reason(&error);
        (reason, error.asks_for_pause().map(|pause| (pause.status, pause.retry_after.map(|after| after.as_secs()))))
    };
    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    let later = Some("Sun, 06 Nov 1994 08:51:37 GMT");
    let (limited, refused) = (bundles::Reason::RateLimited, bundles::Reason::HttpStatus);
    assert_eq!(pause(StatusCode::TOO_MANY_REQUESTS, Some(" 30 "), None), (limited, Some((429, Some(30)))));
    assert_eq!(pause(StatusCode::TOO_MANY_REQUESTS, later, date), (limited, Some((429, Some(120)))));
    // A date that has passed, or that is none, asks for no particular pause.
    assert_eq!(pause(StatusCode::TOO_MANY_REQUESTS, date, later), (limited, Some((429, None))));
    assert_eq!(pause(StatusCode::TOO_MANY_REQUESTS, Some("soon"), None), (limited, Some((429, None))));
    assert_eq!(pause(StatusCode::FORBIDDEN, None, None), (refused, Some((403, None))));
    assert_eq!(pause(StatusCode::FORBIDDEN, Some("9"), None), (limited, Some((403, Some(9)))));
    assert_eq!(pause(StatusCode::SERVICE_UNAVAILABLE, Some("9"), None), (refused, Some((503, Some(9)))));
    assert_eq!(pause(StatusCode::SERVICE_UNAVAILABLE, None, None), (refused, None));
}

#[test]
fn an_encoding_is_the_archives_own_where_its_name_says_so() {
    use body::Encoding;

    let of = |header, asked, found| Encoding::of(header, [&url(asked), &url(found)]);
    let (index, archive) = ("https://h/posture-update.xml", "https://h/osgroups.tar.GZ");
    for header in [None, Some(""), Some("Identity")] {
        assert_eq!(of(header, index, index), Encoding::Identity);
    }
    assert_eq!(of(Some("GZIP"), index, index), Encoding::Gzip);
    assert_eq!(of(Some("x-gzip"), archive, archive), Encoding::Identity);
    assert_eq!(of(Some("gzip"), archive, "https://cdn/4711"), Encoding::Identity, "redirects may hide the name");
    assert_eq!(of(Some("br"), archive, archive), Encoding::Other("br".to_owned()));
}

proptest! {
    #[test]
    fn any_date_header_is_read_or_not_but_never_panics(text in "\\PC{0,60}") {
        let _ = head::parse_date(&text);
    }
}
