//! The crates: the third column of the design's table (section 3), "knows nothing of".

use proc_macro2::{TokenStream, TokenTree};
use toml::Table;

/// What a crate may not depend on, nor its tests, and what the design says about it.
const FORBIDDEN: [(&str, &[&str], &str); 5] = [
    (
        "bundles",
        &[
            "actix",
            "async-",
            "certs",
            "feed-client",
            "feed-server",
            "futures",
            "hyper",
            "reqwest",
            "rustls",
            "sled",
            "tests",
            "tokio",
        ],
        "network, async, clock, store",
    ),
    ("certs", &["bundles", "feed-client", "feed-server", "reqwest", "tests", "tokio"], "what the connection is for"),
    ("feed-server", &["feed-client", "tests"], "feed-client"),
    ("feed-client", &["feed-server", "tests"], "feed-server"),
    ("tests", &["feed-client", "feed-server"], "internals: it drives binaries, HTTP and files"),
];

/// The dependencies that a manifest must not have. Names that end with `-`, or have crates of their own kind below them
/// (`actix-web`), are matched as beginnings.
fn forbidden_dependencies(manifest: &str, forbidden: &[&str]) -> Vec<String> {
    let manifest: Table = manifest.parse().unwrap();
    let mut sections = vec![&manifest];
    let targets = manifest.get("target").and_then(|targets| targets.as_table());
    sections.extend(targets.into_iter().flat_map(|targets| targets.values().filter_map(|target| target.as_table())));
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    sections
        .iter()
        .flat_map(|section| tables.iter().filter_map(|table| section.get(*table)?.as_table()))
        .flatten()
        .filter_map(|(name, value)| {
            // A dependency may go by another name.
            let package = value.get("package").and_then(|package| package.as_str()).unwrap_or(name);
            let is = |word: &&str| package == *word || package.starts_with(&format!("{}-", word.trim_end_matches('-')));
            forbidden.iter().any(is).then(|| package.to_owned())
        })
        .collect()
}

/// Words of a source that only something with a clock or a runtime has any use for.
fn clock_or_async(source: &str) -> Vec<String> {
    fn walk(tokens: TokenStream, found: &mut Vec<String>) {
        let mut after_colon = false;
        for token in tokens {
            match &token {
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    let tells_time = word == "now" && after_colon;
                    if tells_time || matches!(word.as_str(), "async" | "await" | "SystemTime" | "Instant") {
                        found.push(word);
                    }
                }
                TokenTree::Group(group) => walk(group.stream(), found),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            after_colon = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':');
        }
    }
    let mut found = Vec::new();
    walk(source.parse().unwrap(), &mut found);
    found
}

#[test]
fn no_crate_depends_on_what_it_knows_nothing_of() {
    for (name, forbidden, of) in FORBIDDEN {
        let manifest = std::fs::read_to_string(tests::shared::workspace().join(name).join("Cargo.toml")).unwrap();
        let found = forbidden_dependencies(&manifest, forbidden);
        assert!(found.is_empty(), "{name} knows nothing of {of}, but depends on {found:?}");
    }
}

#[test]
fn bundles_takes_time_as_an_argument_and_waits_for_nothing() {
    let files = super::sources(&tests::shared::workspace().join("bundles/src"));
    assert!(files.len() > 10);
    for file in files {
        let found = clock_or_async(&std::fs::read_to_string(&file).unwrap());
        assert!(found.is_empty(), "{} uses {found:?}; time is an argument, and bundles knows no async", file.display());
    }
}

#[test]
fn planted_violations_are_found() {
    let manifest = r#"
        [dependencies]
        tokio-util.workspace = true
        fine = "1"
        other = { package = "reqwest", version = "1" }
        [dev-dependencies]
        actix-web = "4"
        [target.'cfg(unix)'.dependencies]
        sled = "0.34"
    "#;
    let mut found = forbidden_dependencies(manifest, FORBIDDEN[0].1);
    found.sort();
    assert_eq!(found, ["actix-web", "reqwest", "sled", "tokio-util"]);
    assert!(forbidden_dependencies("[dependencies]\ntar = \"1\"\nfutures_like = \"1\"", FORBIDDEN[0].1).is_empty());

    assert_eq!(clock_or_async("async fn f() { g(SystemTime::now()).await }"), ["async", "SystemTime", "now", "await"]);
    assert!(clock_or_async("// async\nfn f(now: &str) { g(now, \"now()\"); }").is_empty());
}
