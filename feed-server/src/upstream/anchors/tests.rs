use bundles::{Reason, Reasoned as _};

use super::*;

fn upstream(directory: &std::path::Path, allowed_hosts: &str) -> config::Upstream {
    config::parse(&format!("[upstream]\nallowed_hosts = {allowed_hosts}\n"), directory).unwrap().upstream
}

#[test]
fn hosts_have_roots_of_their_own_where_they_are_given_some() {
    let directory = tempfile::tempdir().unwrap();
    let chain = certs::lab::Chain::builder().build().unwrap();
    chain.write_pem(directory.path()).unwrap();
    let hosts = "[\"a.example\", { host = \"B.example\", trust_anchors = [\"root.pem\"] }, { host = \"c.example\" }]";
    let (default, by_host) = load(&upstream(directory.path(), hosts)).unwrap();
    assert_eq!(default.iter().map(certs::Anchor::name).collect::<Vec<_>>(), [certs::DEFAULT_ANCHOR]);
    assert_eq!(by_host.keys().collect::<Vec<_>>(), ["b.example"]);
    assert_ne!(by_host["b.example"], default);
}

#[test]
fn a_file_that_is_missing_is_told_with_the_host_that_it_is_for() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = "[{ host = \"b.example\", trust_anchors = [\"no.pem\"] }]";
    let error = load(&upstream(directory.path(), hosts)).unwrap_err();
    let message = error.whole_message();
    assert!(message.contains("b.example") && message.contains("no.pem"), "{message}");
    assert_eq!(error.reason(), Reason::BadRequest);
}
