use proptest::prelude::*;

use super::*;

fn matches(entries: &str, host: &str, port: u16) -> bool {
    Bypass::parse(entries.split(',').map(str::trim)).unwrap().matches(host, port)
}

/// What curl's manual says of `--noproxy`; curl 7.88 does the same with every name and IPv4 address here.
#[test]
fn names_addresses_and_networks_are_read_as_curl_reads_them() {
    for (entries, host, expected) in [
        ("local.com", "local.com", true),
        ("local.com", "www.local.com", true),
        ("local.com", "www.notlocal.com", false),
        ("local.com", "notlocal.com", false),
        ("local.com", "local.com.evil.example", false),
        (".local.com", "local.com", true),
        (".local.com", "www.local.com", true),
        (".local.com", "notlocal.com", false),
        ("LOCAL.com.", "www.local.COM", true),
        ("local.com", "www.local.com.", true),
        ("www.local.com", "local.com", false),
        ("com", "local.com", true),
        ("a.example, local.com", "local.com", true),
        ("*", "local.com", true),
        ("*", "192.0.2.7", true),
        ("*", "[2001:db8::7]", true),
        ("192.168.0.0/16", "192.168.77.1", true),
        ("192.168.0.0/16", "192.169.0.1", false),
        ("192.168.0.1/16", "192.168.77.1", true),
        ("192.168.0.0/16", "host.example", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7/32", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.70", false),
        ("0.0.0.0/1", "127.0.0.1", true),
        ("2001:db8::/32", "[2001:db8:ffff::1]", true),
        ("2001:db8::/32", "[2001:db9::1]", false),
        ("2001:db8::7", "[2001:db8:0:0::7]", true),
        ("::1", "[::1]", true),
    ] {
        assert_eq!(matches(entries, host, 443), expected, "{entries} and {host}");
    }
}

#[test]
fn what_curl_does_not_have() {
    for (entries, host, port, expected) in [
        ("*.local.com", "www.local.com", 443, true),
        ("*.local.com", "a.b.local.com", 443, true),
        ("*.local.com", "local.com", 443, false),
        ("*.local.com", "notlocal.com", 443, false),
        ("local.com:8443", "www.local.com", 8443, true),
        ("local.com:8443", "www.local.com", 443, false),
        (".local.com:443", "local.com", 443, true),
        ("*.local.com:443", "local.com", 443, false),
        ("*:8443", "anything.example", 8443, true),
        ("*:8443", "anything.example", 443, false),
        ("192.0.2.0/24:443", "192.0.2.9", 443, true),
        ("192.0.2.0/24:443", "192.0.2.9", 80, false),
        ("192.0.2.9:443", "192.0.2.9", 443, true),
        ("[2001:db8::7]", "2001:db8::7", 443, true),
        ("[2001:db8::7]:443", "[2001:db8::7]", 443, true),
        ("[2001:db8::7]:443", "[2001:db8::7]", 80, false),
        ("[2001:db8::/32]:443", "[2001:db8::7]", 443, true),
        ("0.0.0.0/0", "203.0.113.5", 443, true),
        ("0.0.0.0/0", "[2001:db8::7]", 443, false),
        ("::/0", "[2001:db8::7]", 443, true),
        ("::/0", "203.0.113.5", 443, false),
    ] {
        assert_eq!(matches(entries, host, port), expected, "{entries} and {host}:{port}");
    }
}

#[test]
fn what_means_nothing_is_said_with_what_to_write() {
    for entry in [
        "",
        " ",
        ".",
        "*.",
        "*x",
        "10.*",
        "a b",
        "http://x",
        "x/y",
        "x/8",
        "x:",
        "x:0",
        "x:65536",
        "x:+1",
        "x:y",
        "10.1",
        "192.0.2.0/33",
        "192.0.2.0/",
        "192.0.2.0/+8",
        "2001:db8::/129",
        "[2001:db8::7",
        "[x]",
        "[192.0.2.7]",
        "<local>",
        "..x",
        "10.0.0.0-10.0.0.9",
        "*.*",
    ] {
        let mistake = Bypass::parse([entry]).unwrap_err().to_string();
        assert!(mistake.contains(&format!("{entry:?}")) && mistake.contains("*.example.com"), "{mistake}");
    }
    let long = Bypass::parse(["/".repeat(10_000).as_str()]).unwrap_err().to_string();
    assert!(long.len() < 400, "{long}");
}

#[test]
fn a_variable_is_for_all_programs_so_what_is_not_understood_is_passed_over() {
    let (bypass, not_understood) = Bypass::of_variable("localhost,<local>, 10.*\t.corp.example ,,192.0.2.0/24");
    assert_eq!(not_understood, 2);
    assert_eq!(bypass.to_string(), "localhost, .corp.example, 192.0.2.0/24");
    assert!(
        bypass.matches("www.corp.example", 443) && bypass.matches("192.0.2.1", 443) && bypass.matches("localhost", 1)
    );
    assert!(!bypass.matches("10.0.0.1", 443));
    assert!(Bypass::of_variable(" , ").0.is_empty());
}

#[test]
fn two_lists_are_one() {
    let both = Bypass::parse(["a.example"]).unwrap().and(Bypass::parse(["b.example"]).unwrap());
    assert!(both.matches("a.example", 1) && both.matches("b.example", 1) && !both.matches("c.example", 1));
}

proptest! {
    #[test]
    fn any_text_is_an_entry_or_not_but_never_panics(entry in "\\PC{0,40}|[a-z0-9.:*/\\[\\]-]{0,40}", host in "\\PC{0,40}", port: u16) {
        if let Ok(bypass) = Bypass::parse([entry.as_str()]) {
            let _ = bypass.matches(&host, port);
            // What was understood once is understood again, and means the same.
            prop_assert_eq!(Bypass::parse([bypass.to_string().as_str()]), Ok(bypass));
        }
        let _ = Bypass::of_variable(&entry).0.matches(&host, port);
    }

    #[test]
    fn a_domain_matches_itself_and_below_and_nothing_beside(
        domain in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", below in "[a-z0-9]{1,8}", port in 1..=u16::MAX, other in 1..=u16::MAX,
    ) {
        let (inside, beside) = (format!("{below}.{domain}"), format!("{below}{domain}"));
        prop_assert!(matches(&domain, &domain, port));
        prop_assert!(matches(&domain, &inside, port));
        prop_assert!(!matches(&domain, &beside, port));
        let above = format!("*.{domain}");
        prop_assert!(matches(&above, &inside, port));
        prop_assert!(!matches(&above, &domain, port) && !matches(&above, &beside, port));
        let with_port = format!("{domain}:{port}");
        prop_assert_eq!(matches(&with_port, &domain, other), port == other);
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_with_its_bits(network: u32, address: u32, prefix in 0..=32_u32) {
        let (of, host) = (std::net::Ipv4Addr::from(network), std::net::Ipv4Addr::from(address));
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        let entry = format!("{of}/{prefix}");
        prop_assert_eq!(matches(&entry, &host.to_string(), 443), network & mask == address & mask);
        prop_assert!(matches(&entry, &of.to_string(), 443));
    }

    #[test]
    fn a_network_of_ipv6_as_well(network: u128, flip in 0..128_u32, prefix in 0..=128_u32) {
        let (of, host) = (std::net::Ipv6Addr::from(network), std::net::Ipv6Addr::from(network ^ (1 << (127 - flip))));
        let (entry, host) = (format!("{of}/{prefix}"), format!("[{host}]"));
        prop_assert_eq!(matches(&entry, &host, 443), flip >= prefix);
    }
}
