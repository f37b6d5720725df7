use certs::TlsFailure;
use certs::lab::{Chain, Keys};
use proptest::prelude::*;

use super::*;

fn chain(names: impl IntoIterator<Item = String>) -> PresentedChain {
    let chain = Chain::builder().names(names).keys(Keys::Ecdsa).build().unwrap();
    PresentedChain { certificates: chain.presented(), outcome: Ok(()), at: Timestamp::UNIX_EPOCH }
}

#[test]
fn a_record_is_what_was_presented() {
    let presented = chain(["feed.example".to_owned()]);
    let record = ChainRecord::new("feed.example", HostRole::Archives, &presented);
    assert_eq!((record.host.as_str(), record.trusted, &record.failure), ("feed.example", true, &None));
    let facts: Vec<_> = presented.facts().into_iter().map(Result::unwrap).collect();
    assert_eq!(record.certificates.len(), 3);
    for (position, (kept, facts)) in record.certificates.iter().zip(&facts).enumerate() {
        assert_eq!(kept.position, position);
        assert_eq!((&kept.subject, &kept.issuer, &kept.serial), (&facts.subject, &facts.issuer, &facts.serial));
        assert_eq!((kept.not_before, kept.not_after), (facts.not_before, facts.not_after));
        assert_eq!((&kept.sha256, kept.is_ca, &kept.key), (&facts.sha256, facts.is_ca, &facts.key));
        assert_eq!((&kept.sans, kept.more_sans), (&facts.sans, 0));
    }
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<ChainRecord>(&json).unwrap(), record);
}

#[test]
fn a_refused_chain_is_kept_with_its_reason() {
    let failure = TlsFailure::Other { message: "x".repeat(5_000) };
    let presented = PresentedChain { outcome: Err(failure), ..chain(["feed.example".to_owned()]) };
    let record = ChainRecord::new("feed.example", HostRole::Index, &presented);
    assert!(!record.trusted);
    assert_eq!(record.failure.unwrap().chars().count(), MAX_FAILURE + 1);
    assert_eq!(record.certificates.len(), 3);
}

#[test]
fn what_is_too_much_is_counted() {
    let many = chain((0..300).map(|n| format!("h{n}.example")));
    let record = ChainRecord::new("h0.example", HostRole::Index, &many);
    assert_eq!((record.certificates[0].sans.len(), record.certificates[0].more_sans), (MAX_SANS, 300 - MAX_SANS));

    let mut certificates = many.certificates.clone();
    certificates.insert(1, b"no certificate".to_vec().into());
    certificates.extend(std::iter::repeat_n(many.certificates[2].clone(), 20));
    let long = PresentedChain { certificates, ..many };
    let record = ChainRecord::new("h0.example", HostRole::Index, &long);
    let positions: Vec<_> = record.certificates.iter().map(|certificate| certificate.position).collect();
    assert_eq!(positions, [0, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(record.more_certificates, 24 - 9);
}

#[test]
fn a_common_name_is_found_among_the_others() {
    for (subject, name) in [
        ("C=US, O=IdenTrust, CN=IdenTrust Commercial Root CA 1", "IdenTrust Commercial Root CA 1"),
        ("CN=www.cisco.com, O=Cisco Systems Inc., L=San Jose", "www.cisco.com"),
        ("O=One, CN=Two, Inc., C=US", "Two, Inc."),
        ("O=One, Inc., C=US", "O=One, Inc., C=US"),
        ("", ""),
    ] {
        assert_eq!(common_name(subject), name);
    }
}

proptest! {
    #[test]
    fn nothing_that_a_terminal_obeys_is_kept(text in any::<String>(), limit in 0_usize..40) {
        let plain = plain(&text, limit);
        prop_assert!(!plain.chars().any(char::is_control));
        prop_assert!(plain.chars().count() <= limit + 1);
        if text.chars().count() <= limit {
            prop_assert_eq!(plain.chars().count(), text.chars().count());
        }
    }
}
