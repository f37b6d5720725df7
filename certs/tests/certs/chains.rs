//! Chains against anchors, through the public API: the lab's own, and the vendor's real one where the data is present.

use std::sync::Arc;

use certs::lab::{Chain, Keys, Versions};
use certs::{
    AnchorError, Anchors, CertificateFacts, DEFAULT_ANCHOR, PinnedVerifier, PresentedChain, TlsFailure, client_config,
    failure_of, verify_chain,
};
use proptest::prelude::*;
use rustls::{ClientConnection, ServerConnection};

use crate::support::{at, chain, default_anchors, noon, real_chain, shared};

#[test]
fn the_real_chain_holds_in_its_time_and_for_its_hosts_only() {
    let Some((chain, root)) = real_chain() else { return };
    let anchors = default_anchors();
    let june = at("2023-06-01T00:00:00Z");

    assert_eq!(verify_chain(&anchors, &chain, "www.cisco.com", june), Ok(()));
    let with_root: Vec<_> = chain.iter().cloned().chain([root]).collect();
    assert_eq!(verify_chain(&anchors, &with_root, "www.static-cisco.com", june), Ok(()));

    let Err(TlsFailure::Expired { not_after: Some(not_after), .. }) =
        verify_chain(&anchors, &chain, "www.cisco.com", noon())
    else {
        panic!("a chain of 2023 is expired in 2026")
    };
    assert_eq!(not_after.to_string()[..10], *"2024-02-29");
    assert!(matches!(
        verify_chain(&anchors, &chain, "www.cisco.com", at("2023-01-01T00:00:00Z")),
        Err(TlsFailure::NotYetValid { .. })
    ));
    let Err(TlsFailure::Name { presented, .. }) = verify_chain(&anchors, &chain, "iseservice.cisco.com", june) else {
        panic!("the chain is not for that host")
    };
    assert!(presented.contains(&"www.cisco.com".to_owned()), "{presented:?}");

    // Without its intermediate, the leaf leads nowhere: nothing is fetched from elsewhere to complete it.
    let Err(TlsFailure::MissingIntermediate { issuer, .. }) =
        verify_chain(&anchors, &chain[..1], "www.cisco.com", june)
    else {
        panic!("the intermediate is missing")
    };
    assert!(issuer.contains("HydrantID Server CA O1"), "{issuer}");
}

#[test]
fn the_real_root_is_the_default_anchor() {
    let Some((_, root)) = real_chain() else { return };
    let facts = CertificateFacts::from_der(&root).unwrap();
    assert_eq!(facts.subject, "C=US, O=IdenTrust, CN=IdenTrust Commercial Root CA 1");
    assert_eq!(facts.sha256, "5d56499be4d2e08bcfcad08a3e38723d50503bde706948e42f55603019e528ae");
    assert_eq!(facts.key, "RSA 4096");
    assert!(facts.is_ca);

    let pem = std::fs::read(shared("certs").unwrap().join("IdenTrust_Commercial_Root_CA_1.pem")).unwrap();
    let from_file = Anchors::from_pem(&pem, "root.pem").unwrap();
    let named = Anchors::named(DEFAULT_ANCHOR).unwrap();
    assert_eq!(from_file[0].key_sha256(), named.key_sha256());
    assert_eq!(from_file[0].name(), named.name());
}

#[test]
fn the_lab_chain_has_the_vendors_shape() {
    let facts: Vec<CertificateFacts> =
        chain().presented().iter().map(|der| CertificateFacts::from_der(der).unwrap()).collect();
    let subjects: Vec<&str> = facts.iter().map(|facts| facts.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "CN=www.cisco.com, O=Cisco Systems Inc., L=San Jose, ST=California, C=US",
            "C=US, O=IdenTrust, OU=HydrantID Trusted Certificate Service, CN=HydrantID Server CA O1",
            "C=US, O=IdenTrust, CN=IdenTrust Commercial Root CA 1",
        ]
    );
    assert_eq!(facts[0].issuer, facts[1].subject);
    assert_eq!(facts[1].issuer, facts[2].subject);
    assert_eq!(facts[0].sans, ["www.cisco.com", "localhost", "127.0.0.1", "::1"]);
    assert!(facts.iter().all(|facts| facts.key == "RSA 2048"));
    assert_eq!(facts.iter().map(|facts| facts.is_ca).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(facts[2].not_after, at("2034-01-16T00:00:00Z"));
}

#[test]
fn a_root_of_the_same_subject_with_another_key_vouches_for_nothing() {
    let mine = chain().anchors().unwrap();
    assert_eq!(verify_chain(&mine, &chain().presented(), "localhost", noon()), Ok(()));
    for keys in [Keys::Rsa, Keys::Ecdsa] {
        let impostor = Chain::builder().loopback().keys(keys).build().unwrap().presented();
        for anchors in [&mine, &default_anchors()] {
            assert!(verify_chain(anchors, &impostor, "localhost", noon()).unwrap_err().is_untrusted_issuer());
        }
    }
}

#[test]
fn dates_are_arguments_of_chain_and_check() {
    let (from, until) = (at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
    let chain = Chain::builder().names(["127.0.0.1"]).valid(from, until).keys(Keys::Ecdsa).build().unwrap();
    let anchors = chain.anchors().unwrap();
    let verify = |now: &str| verify_chain(&anchors, &chain.presented(), "127.0.0.1", at(now));
    let leaf = Some(CertificateFacts::from_der(&chain.leaf.der).unwrap().subject);
    assert_eq!(verify("2026-03-15T00:00:00Z"), Ok(()));
    assert_eq!(
        verify("2026-02-28T00:00:00Z"),
        Err(TlsFailure::NotYetValid {
            subject: leaf.clone(),
            not_before: Some(from),
            now: Some(at("2026-02-28T00:00:00Z"))
        })
    );
    assert_eq!(
        verify("2026-04-02T00:00:00Z"),
        Err(TlsFailure::Expired { subject: leaf, not_after: Some(until), now: Some(at("2026-04-02T00:00:00Z")) })
    );
}

#[test]
fn a_leaf_is_no_anchor() {
    let file = format!("{}{}", chain().root.pem, chain().leaf.pem);
    let refused = Anchors::from_pem(file.as_bytes(), "ca.pem").unwrap_err();
    assert!(matches!(refused, AnchorError::NotACa { position: 2, .. }), "{refused:?}");
    assert!(refused.to_string().contains("CN=www.cisco.com"), "{refused}");
    assert!(matches!(Anchors::from_pem(b"", "ca.pem"), Err(AnchorError::NoCertificate { .. })));
    assert!(matches!(
        Anchors::from_pem(chain().leaf_key_pem().as_bytes(), "ca.pem"),
        Err(AnchorError::NoCertificate { .. })
    ));
}

#[test]
fn anchors_load_from_names_and_files_and_each_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lab.pem"), &chain().root.pem).unwrap();
    let entries = ["lab.pem", DEFAULT_ANCHOR, "lab.pem"].map(ToOwned::to_owned);
    let anchors = Anchors::load(&entries, folder.path()).unwrap();
    assert_eq!(anchors.iter().count(), 2);
    assert!(anchors.iter().any(|anchor| anchor.origin().ends_with("lab.pem")));
}

/// Lets both sides talk in memory until the client is done, and says how it ended for the client.
fn handshake(
    verifier: &Arc<PinnedVerifier>,
    host: &str,
    versions: Versions,
) -> Result<rustls::ProtocolVersion, rustls::Error> {
    let mut server = ServerConnection::new(Arc::new(chain().server_config(versions).unwrap())).unwrap();
    let name = host.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config(verifier.clone())), name).unwrap();
    while client.is_handshaking() {
        let mut sent = Vec::new();
        client.write_tls(&mut sent).unwrap();
        // One call reads a few kilobytes at most, and a chain may be longer.
        let mut wire = sent.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets()?;
        }
        let mut sent = Vec::new();
        server.write_tls(&mut sent).unwrap();
        let mut wire = sent.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(client.protocol_version().unwrap())
}

#[test]
fn a_handshake_records_what_was_presented_whatever_comes_of_it() {
    let trusting = PinnedVerifier::new(chain().anchors().unwrap()).unwrap();
    assert_eq!(handshake(&trusting, "localhost", Versions::Tls12Only), Ok(rustls::ProtocolVersion::TLSv1_2));
    assert_eq!(handshake(&trusting, "localhost", Versions::Tls12And13), Ok(rustls::ProtocolVersion::TLSv1_3));
    let presented = trusting.presented("LocalHost").unwrap();
    assert_eq!(presented.certificates, chain().presented());
    assert_eq!(presented.outcome, Ok(()));

    assert!(handshake(&trusting, "elsewhere.example", Versions::Tls12Only).is_err());
    let presented = trusting.presented("elsewhere.example").unwrap();
    assert!(matches!(presented.outcome, Err(TlsFailure::Name { .. })), "{:?}", presented.outcome);

    let wary = PinnedVerifier::new(default_anchors()).unwrap();
    let refused = handshake(&wary, "localhost", Versions::Tls12Only).unwrap_err();
    assert!(failure_of(&refused).is_untrusted_issuer());
    let presented = wary.presented("localhost").unwrap();
    assert_eq!(presented.outcome, Err(failure_of(&refused)));
    assert_eq!(presented.facts()[0].as_ref().unwrap().sans[0], "www.cisco.com");
    assert_eq!(wary.all_presented().len(), 1);
}

#[test]
fn what_was_presented_is_shown_place_by_place_readable_or_not() {
    let mut certificates = chain().presented();
    certificates.insert(1, b"no certificate".to_vec().into());
    let presented = PresentedChain { certificates, outcome: Ok(()), at: noon() };
    let seen = presented.seen();
    assert_eq!(seen.iter().map(|seen| seen.position).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let leaf = CertificateFacts::from_der(&chain().leaf.der).unwrap();
    let lines = [
        format!("0  subject  {}", leaf.subject),
        format!("   issuer   {}", leaf.issuer),
        format!("   serial   {}", leaf.serial),
        format!("   valid    {} to {}", leaf.not_before, leaf.not_after),
        format!("   SHA-256  {}", leaf.sha256),
    ];
    assert_eq!(seen[0].to_lines(), lines);
    let unreadable = seen[1].to_lines();
    assert!(unreadable.len() == 1 && unreadable[0].starts_with("1  cannot be read: these bytes"), "{unreadable:?}");
    assert_eq!(seen[2].facts.as_ref().unwrap().subject, leaf.issuer);
}

#[test]
fn a_verifier_without_anchors_is_refused() {
    assert!(PinnedVerifier::new(Anchors::default()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic_or_become_an_anchor_by_accident(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = CertificateFacts::from_der(&bytes);
        prop_assert!(Anchors::from_pem(&bytes, "noise").is_err());
    }

    #[test]
    fn a_damaged_certificate_is_read_or_refused_but_never_verifies(
        position in any::<proptest::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut chain_der = chain().presented();
        let mut leaf = chain_der[0].to_vec();
        let position = position.index(leaf.len());
        leaf[position] ^= flip;
        let _ = CertificateFacts::from_der(&leaf);
        chain_der[0] = leaf.into();
        let anchors = chain().anchors().unwrap();
        prop_assert!(verify_chain(&anchors, &chain_der, "localhost", noon()).is_err());
    }
}
