//! What docs/cryptography.md says is what the programs are built of.

use std::collections::BTreeSet;
use std::process::Command;

use rustls::SupportedProtocolVersion;

fn page() -> String {
    std::fs::read_to_string(tests::shared::workspace().join("docs/cryptography.md")).expect("the page is there")
}

/// The first cells of the table under that heading.
fn column(page: &str, heading: &str) -> Vec<String> {
    let from = page.find(&format!("| {heading} |")).unwrap_or_else(|| panic!("a table of each {heading}"));
    let rows = page[from..].lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap_or_default().trim().trim_matches('`').to_owned()).collect()
}

#[test]
fn the_suites_and_groups_are_those_that_are_offered_in_that_order() {
    let (page, provider) = (page(), certs::provider());
    let suites: Vec<_> = provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    assert_eq!(column(&page, "suite"), suites);
    let groups: Vec<_> = provider.kx_groups.iter().map(|group| format!("{:?}", group.name())).collect();
    assert_eq!(column(&page, "group"), groups);
    let versions: BTreeSet<_> = provider.cipher_suites.iter().map(|suite| version(suite.version())).collect();
    assert_eq!(versions, BTreeSet::from(["1.2", "1.3"]));
    assert!(!provider.fips(), "the page says that this is no validated build");
}

fn version(version: &SupportedProtocolVersion) -> &'static str {
    match version.version {
        rustls::ProtocolVersion::TLSv1_3 => "1.3",
        rustls::ProtocolVersion::TLSv1_2 => "1.2",
        _ => "another",
    }
}

#[test]
fn no_other_library_of_that_kind_is_among_the_dependencies() {
    // Of the programs, not of what tests them.
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "--package", "feed-server", "--package", "feed-client"]);
    tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]).current_dir(tests::shared::workspace());
    let output = tree.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    let elsewhere = ["aws-lc-rs", "aws-lc-sys", "rustls", "sigstore-crypto", "tough", "sha2", "sha1", "md-5", "rand"];
    let of_key_files = ["pkcs8", "pkcs5", "pbkdf2", "hmac", "scrypt", "salsa20", "aes", "cbc", "aes-gcm"];
    for used in elsewhere.into_iter().chain(of_key_files) {
        assert!(names.contains(used), "the page speaks of {used}, which is not there");
    }
    for other in [
        "aws-lc-fips-sys",
        "boring",
        "ed25519-dalek",
        "curve25519-dalek",
        "ring",
        "openssl",
        "openssl-sys",
        "native-tls",
        "p256",
        "p384",
        "rsa",
        "des",
        "chacha20poly1305",
    ] {
        assert!(!names.contains(other), "the page says that there is no {other}");
    }
}
