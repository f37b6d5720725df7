//! A password is sent to the proxy, and shown to nobody.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use bundles::Reasoned as _;
use proptest::prelude::*;

use super::*;

fn proxy(value: &str) -> Proxy {
    resolved("", &[("https_proxy", value)]).unwrap().proxy().unwrap().clone()
}

#[test]
fn the_header_is_basic_in_utf_8_and_hides_itself() {
    // RFC 7617, section 2.1.
    let header = proxy("http://test:123%C2%A3@proxy.example:3128").authorization().unwrap();
    assert_eq!(header.to_str().unwrap(), "Basic dGVzdDoxMjPCow==");
    assert!(header.is_sensitive());
    assert!(!format!("{header:?}").contains("dGVz"), "{header:?}");
    // Without a password there is an empty one, as curl sends it.
    assert_eq!(proxy("http://user@proxy.example:3128").authorization().unwrap().to_str().unwrap(), "Basic dXNlcjo=");
    assert!(proxy("http://proxy.example:3128").authorization().is_none());
    assert!(proxy("http://proxy.example:3128").credentials().is_none());
}

#[test]
fn nothing_that_can_be_printed_holds_it() {
    const VALUE: &str = "http://user:hunter2@proxy.example:3128";
    let environment = Environment::from_pairs([("https_proxy", VALUE)]);
    let directory = tempfile::tempdir().unwrap();
    let proxies = Proxies::resolve(&upstream(directory.path(), ""), &environment).unwrap();
    let proxy = proxies.proxy().unwrap();
    let printed = format!(
        "{proxies:?} {proxies:#?} {proxy:?} {:?} {environment:?} {} {} {} {}",
        proxy.authorization(),
        proxy.identity(),
        proxy.authority(),
        proxy.origin(),
        proxies.bypass()
    );
    assert!(printed.contains("user") && !printed.contains("hunter2") && !printed.contains("aHVudGVyMg"), "{printed}");
    assert!(!printed.contains("dXNlcjpodW50ZXIy"), "nor as it is sent: {printed}");
}

#[test]
fn a_value_that_is_no_text_is_told_by_its_variables_name() {
    let value = OsString::from_vec(b"http://u:hunter2\xff@proxy:1".to_vec());
    let environment = Environment::from_pairs([("ALL_PROXY", value)]);
    let directory = tempfile::tempdir().unwrap();
    let error = Proxies::resolve(&upstream(directory.path(), ""), &environment).unwrap_err();
    let said = format!("{} {error:?}", error.whole_message());
    assert!(said.contains("ALL_PROXY") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_mark_tells_whether_anything_changed_and_what_it_was_made_of_is_not_in_it() {
    let mark = |value: &str, salt: &[u8]| proxy(value).credentials_mark(salt);
    let first = mark("http://user:hunter2@proxy.example:3128", b"salt");
    assert_eq!(first, mark("http://user:hunter2@proxy.example:3128/", b"salt"), "the same is recognised");
    assert!(first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    for (value, salt) in [
        ("http://user:hunter2@proxy.example:3128", "pepper"),
        ("http://user:hunter3@proxy.example:3128", "salt"),
        ("http://user:@proxy.example:3128", "salt"),
        ("http://user2:hunter2@proxy.example:3128", "salt"),
        ("http://user:hunter2@proxy.example:3129", "salt"),
        ("http://user:hunter2@other.example:3128", "salt"),
    ] {
        assert_ne!(first, mark(value, salt.as_bytes()), "{value} {salt}");
    }
    let (none, other) = (mark("http://a.example:1", b"salt"), mark("http://b.example:1", b"salt"));
    assert_ne!(none, other);
    assert_eq!(none, mark("http://a.example:1", b"pepper"), "there is nothing to hide");
}

proptest! {
    /// Whatever is wrong with a URL around a password, and wherever that makes the password stand.
    #[test]
    fn no_error_repeats_a_password(
        password in "[A-Z]{6,12}",
        before in "(http|https|socks5|ftp|x)?(://|:/|:)?[a-z]{0,3}[:/@?#%\\\\ ]{0,3}",
        after in "[:/@?#%\\\\ \u{7f}\t]{0,3}[a-z.]{0,9}(@?[a-z]{1,5}:[0-9]{0,6})?",
        in_no_proxy: bool,
    ) {
        let value = format!("{before}{password}{after}");
        let mut environment = vec![("https_proxy", value.as_str())];
        if in_no_proxy {
            environment.push(("no_proxy", &value));
        }
        match resolved("", &environment) {
            Err(error) => {
                let said = format!("{} {error:?} {error:#?}", error.whole_message());
                prop_assert!(said.contains("https_proxy"), "{}", said);
                prop_assert!(!said.to_lowercase().contains(&password.to_lowercase()), "{}", said);
            }
            Ok(proxies) => {
                // Then it is what stands in the place of a password, or it was the name of a host or user all along.
                let secret = proxies.proxy().is_some_and(|proxy| {
                    let shown = format!("{proxy:?}").to_lowercase();
                    shown.contains(&password.to_lowercase()) && !proxy.identity().to_lowercase().contains(&password.to_lowercase())
                });
                prop_assert!(!secret);
            }
        }
    }
}
