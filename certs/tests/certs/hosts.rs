//! Anchors of a host's own, several at once, and the forms in which a good chain may come.

use std::collections::BTreeMap;
use std::sync::Arc;

use certs::lab::{Chain, Keys, Presented, Versions};
use certs::{Anchors, PinnedVerifier, TlsFailure, client_config, failure_in, verify_chain};
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::UnixTime;

use crate::support::{chain, default_anchors, noon};

fn other() -> Chain {
    Chain::builder().loopback().keys(Keys::Ecdsa).root_named("The Other Root").build().unwrap()
}

fn ask(verifier: &PinnedVerifier, chain: &Chain, host: &str) -> Result<(), TlsFailure> {
    let presented = chain.presented();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(noon().as_second().try_into().unwrap()));
    let name = host.to_owned().try_into().unwrap();
    let verified = verifier.verify_server_cert(&presented[0], &presented[1..], &name, &[], now);
    verified.map(|_| ()).map_err(|error| failure_in(&error).unwrap())
}

#[test]
fn a_host_with_anchors_of_its_own_is_held_to_those_alone() {
    let other = other();
    let hosts = BTreeMap::from([("LocalHost".to_owned(), other.anchors().unwrap())]);
    let verifier = PinnedVerifier::with_hosts(chain().anchors().unwrap(), hosts).unwrap();

    assert_eq!(ask(&verifier, &other, "localhost"), Ok(()));
    assert_eq!(ask(&verifier, chain(), "127.0.0.1"), Ok(()));
    assert!(ask(&verifier, chain(), "localhost").unwrap_err().is_untrusted_issuer());
    let refused = ask(&verifier, &other, "127.0.0.1").unwrap_err();
    assert!(refused.is_untrusted_issuer() && refused.to_string().contains("The Other Root"), "{refused}");

    assert_eq!(verifier.anchors_for("LOCALHOST").iter().next().unwrap().name(), "The Other Root");
    assert_eq!(verifier.anchors_for("127.0.0.1"), verifier.anchors());
    assert_eq!(verifier.presented("127.0.0.1").unwrap().outcome, Err(refused));
    assert_eq!(verifier.presented("127.0.0.1").unwrap().certificates, other.presented());
    assert!(!format!("{verifier:?}").is_empty());
}

#[test]
fn an_address_is_held_to_its_own_anchors_however_it_is_written() {
    let own = other();
    // As URLs and configurations write them: with brackets, and an embedded IPv4 address in hexadecimal.
    for (configured, asked) in [("[::1]", "::1"), ("::1", "::1"), ("[::ffff:7f00:1]", "::ffff:127.0.0.1")] {
        let hosts = BTreeMap::from([(configured.to_owned(), own.anchors().unwrap())]);
        let verifier = PinnedVerifier::with_hosts(chain().anchors().unwrap(), hosts).unwrap();
        let refused = ask(&verifier, chain(), asked).expect_err(configured);
        assert!(refused.is_untrusted_issuer(), "{configured}: {refused}");
        for written in [configured, asked] {
            assert_eq!(verifier.anchors_for(written), &own.anchors().unwrap(), "{configured}: {written}");
            assert!(verifier.presented(written).is_some(), "{configured}: {written}");
        }
    }
}

#[test]
fn a_host_without_any_anchor_is_refused_when_the_verifier_is_made() {
    let hosts = BTreeMap::from([("localhost".to_owned(), Anchors::default())]);
    assert!(PinnedVerifier::with_hosts(default_anchors(), hosts).is_err());
}

#[test]
fn the_next_root_can_be_trusted_beside_the_present_one() {
    let next = other();
    let both: Vec<_> = [default_anchors(), chain().anchors().unwrap(), next.anchors().unwrap()]
        .iter()
        .flat_map(Anchors::iter)
        .cloned()
        .collect();
    for chain in [chain(), &next] {
        assert_eq!(verify_chain(&both.clone().into(), &chain.presented(), "localhost", noon()), Ok(()));
    }
}

#[test]
fn order_and_company_do_not_matter_where_the_links_are_there() {
    let anchors = chain().anchors().unwrap();
    for presented in [Presented::Whole, Presented::WithoutRoot, Presented::WrongOrder, Presented::WithExtras] {
        let chain = chain().presenting(presented);
        assert_eq!(verify_chain(&anchors, &chain.presented(), "localhost", noon()), Ok(()), "{presented:?}");
        assert!(chain.server_config(Versions::Tls12And13).is_ok());
    }
}

#[test]
fn files_for_other_programs_hold_what_is_presented() {
    let folder = tempfile::tempdir().unwrap();
    let chain = chain().presenting(Presented::LeafOnly);
    let files = chain.write_pem(folder.path()).unwrap();
    let read = |path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(&files.chain), chain.leaf.pem);
    assert_eq!(read(&files.leaf), chain.leaf.pem);
    assert_eq!(read(&files.rest), "");
    assert_eq!(read(&files.key), chain.leaf_key_pem());
    assert_eq!(read(&files.root_key), chain.root_key_pem());
    let anchors = Anchors::load(&[files.root.display().to_string()], folder.path()).unwrap();
    let verifier = PinnedVerifier::new(anchors).unwrap();
    assert_eq!(client_config(Arc::clone(&verifier)).alpn_protocols.len(), 0);
    assert!(matches!(ask(&verifier, &chain, "localhost"), Err(TlsFailure::MissingIntermediate { .. })));
}
