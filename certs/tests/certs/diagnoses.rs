//! Every kind of failure, from a chain that has it, with what is said of it.

use certs::lab::{Chain, ChainBuilder, Keys, Presented, Usage};
use certs::{Anchors, CertificateFacts, Misuse, TlsFailure, verify_chain};
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;

use crate::support::{at, chain, default_anchors, noon, real_chain};

const LEAF: &str = "CN=www.cisco.com, O=Cisco Systems Inc., L=San Jose, ST=California, C=US";

fn lab() -> ChainBuilder {
    Chain::builder().loopback().keys(Keys::Ecdsa)
}

/// What is said of a chain under anchors that it is right to expect it under.
fn said(anchors: &Anchors, chain: &[CertificateDer<'_>]) -> TlsFailure {
    verify_chain(anchors, chain, "localhost", noon()).unwrap_err()
}

fn own(chain: &Chain) -> TlsFailure {
    said(&chain.anchors().unwrap(), &chain.presented())
}

fn facts(der: &CertificateDer<'_>) -> CertificateFacts {
    CertificateFacts::from_der(der).unwrap()
}

#[test]
fn every_failure_has_its_message() {
    let own_root = lab().root_named("Inspection Root").build().unwrap();
    let twin = lab().build().unwrap();
    let old = (at("2023-01-01T00:00:00Z"), at("2024-01-01T00:00:00Z"));
    let later = (at("2030-01-01T00:00:00Z"), at("2031-01-01T00:00:00Z"));
    let table: [(TlsFailure, &[&str], Option<&str>); 11] = [
        (
            said(&default_anchors(), &own_root.presented()),
            &["\"Inspection Root\"", "not one of Mozilla's", &facts(&own_root.root.der).sha256, "key SHA-256"],
            Some("save its certificate as a PEM file"),
        ),
        (
            said(&default_anchors(), &own_root.presenting(Presented::WithoutRoot).presented()),
            &["HydrantID Server CA O1 was issued by O=Posture Feed Lab, CN=Inspection Root", "not presented"],
            Some("CN=Inspection Root is a root of your own"),
        ),
        (
            said(&default_anchors(), &twin.presented()),
            &[
                "bears the name of the trusted \"IdenTrust Commercial Root CA 1\" and is not it",
                "refused",
                "07e854f26a",
            ],
            None,
        ),
        (
            said(&default_anchors(), &twin.presenting(Presented::WithoutRoot).presented()),
            &["bears the name of the trusted", "was not presented"],
            None,
        ),
        (
            own(&twin.presenting(Presented::WithoutIntermediate)),
            &["incomplete", LEAF, "issued by C=US, O=IdenTrust, OU=HydrantID", "should send"],
            Some("PEM file"),
        ),
        (
            own(&lab().valid(old.0, old.1).build().unwrap()),
            &[LEAF, "expired at 2024-01-01T00:00:00Z", "this machine's clock says 2026-06-01T12:00:00Z"],
            None,
        ),
        (
            own(&lab().ca_valid(old.0, old.1).build().unwrap()),
            &["HydrantID Server CA O1", "expired at 2024-01-01T00:00:00Z"],
            None,
        ),
        (
            own(&lab().valid(later.0, later.1).build().unwrap()),
            &[LEAF, "valid from 2030-01-01T00:00:00Z on only", "this machine's clock says 2026-06-01T12:00:00Z"],
            None,
        ),
        (
            own(&Chain::builder().names(["a.example", "b.example"]).keys(Keys::Ecdsa).build().unwrap()),
            &["not for localhost, but for a.example, b.example"],
            None,
        ),
        (own(&lab().usage(Usage::ClientOnly).build().unwrap()), &[LEAF, "does not allow TLS servers"], None),
        (own(&lab().usage(Usage::Authority).build().unwrap()), &[LEAF, "is a CA's certificate"], None),
    ];
    for (failure, words, clue) in table {
        let text = failure.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        match (failure.how_to_trust(), clue) {
            (Some(said), Some(clue)) => assert!(said.contains(clue), "{said}"),
            (said, clue) => assert_eq!(said.as_deref(), clue, "{text}"),
        }
    }
}

#[test]
fn a_public_root_is_named_and_so_is_the_line_that_would_trust_it() {
    let Some((mut chain, root)) = real_chain() else { return };
    let anchors = Anchors::from(vec![Anchors::named("ISRG Root X1").unwrap()]);
    let june = at("2023-06-01T00:00:00Z");
    for presents_root in [false, true] {
        if presents_root {
            chain.push(root.clone());
        }
        let failure = verify_chain(&anchors, &chain, "www.cisco.com", june).unwrap_err();
        let TlsFailure::UnknownIssuer { root: Some(seen) } = &failure else { panic!("{failure:?}") };
        assert!(seen.is_public);
        assert_eq!(seen.name, "IdenTrust Commercial Root CA 1");
        assert_eq!(seen.sha256.is_some(), presents_root);
        assert!(seen.sha256.as_ref().is_none_or(|sha256| *sha256 == facts(&root).sha256));
        assert_eq!(seen.key_sha256, default_anchors().iter().next().unwrap().key_sha256());
        let clue = failure.how_to_trust().unwrap();
        assert!(clue.ends_with(r#"trust_anchors = ["IdenTrust Commercial Root CA 1"]"#), "{clue}");
    }
}

#[test]
fn a_namesake_is_told_by_both_keys_even_with_another_root_trusted_beside() {
    let twin = lab().build().unwrap();
    let both =
        [default_anchors(), chain().anchors().unwrap()].iter().flat_map(Anchors::iter).cloned().collect::<Vec<_>>();
    let TlsFailure::Namesake { name, key_sha256, trusted_key_sha256 } = said(&both.clone().into(), &twin.presented())
    else {
        panic!("a namesake")
    };
    assert_eq!(name, "IdenTrust Commercial Root CA 1");
    assert_eq!(key_sha256.unwrap(), twin.anchors().unwrap().iter().next().unwrap().key_sha256());
    assert_eq!(trusted_key_sha256, both[0].key_sha256());
}

#[test]
fn trust_is_asked_about_before_time_and_time_before_the_name() {
    let old = (at("2023-01-01T00:00:00Z"), at("2024-01-01T00:00:00Z"));
    let chain = lab().root_named("Somebody's Root").valid(old.0, old.1).build().unwrap();
    let ask = |anchors: &Anchors| verify_chain(anchors, &chain.presented(), "elsewhere.example", noon()).unwrap_err();
    assert!(ask(&default_anchors()).is_untrusted_issuer());
    assert!(matches!(ask(&chain.anchors().unwrap()), TlsFailure::Expired { .. }));
}

#[test]
fn a_server_s_own_signature_is_no_root() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let failure = said(&default_anchors(), &[certificate.der().clone()]);
    assert!(failure.is_untrusted_issuer());
    assert!(failure.to_string().contains("a server's self-signed certificate"), "{failure}");
    assert!(failure.how_to_trust().unwrap().contains("cannot be a trust anchor"), "{failure:?}");
}

#[test]
fn a_server_s_certificate_signs_no_other() {
    let chain = lab().build().unwrap();
    let key = rcgen::KeyPair::from_pem(chain.leaf_key_pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&chain.leaf.der, key).unwrap();
    let forged = rcgen::CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer)
        .unwrap();
    let presented: Vec<_> = std::iter::once(forged.der().clone()).chain(chain.presented()).collect();
    let failure = said(&chain.anchors().unwrap(), &presented);
    assert_eq!(failure, TlsFailure::WrongUse { subject: LEAF.to_owned(), what: Misuse::ServerAsAuthority });
}

#[test]
fn names_that_move_cursors_are_made_plain_and_long_ones_cut() {
    let evil = format!("Root\n\u{1b}[2J{}", "x".repeat(5_000));
    let chain = lab().root_named(evil).build().unwrap();
    for presented in [Presented::Whole, Presented::WithoutRoot] {
        let text = said(&default_anchors(), &chain.presenting(presented).presented()).to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.len() < 1_000, "{} bytes", text.len());
    }
    assert!(!facts(&chain.root.der).subject.contains('\n'));
}

proptest! {
    #[test]
    fn no_certificates_make_a_diagnosis_panic_or_a_stranger_trusted(
        mut noise in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4),
        damage in proptest::collection::vec((0_usize..3, any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        leads in any::<bool>(),
    ) {
        let mut presented: Vec<Vec<u8>> = chain().presented().iter().map(|der| der.to_vec()).collect();
        for (which, position, flip) in damage {
            let position = position.index(presented[which].len());
            presented[which][position] ^= flip;
        }
        if leads { noise.append(&mut presented) } else { presented.append(&mut noise); noise = presented }
        let chain: Vec<CertificateDer<'_>> = noise.into_iter().map(CertificateDer::from).collect();
        let failure = verify_chain(&default_anchors(), &chain, "localhost", noon());
        prop_assert!(failure.is_err());
    }
}
