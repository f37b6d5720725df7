//! Who vouched for what was fetched, as a release's manifest says it.

use certs::{Anchor, Anchors, PinnedVerifier};
use url::Url;

use super::doctor::AnchorFacts;

/// `TLS to <host>, root <subject>, SHA-256 <fingerprint>`, by the chain that the host presented in this run; `None` where
/// it presented none that was accepted.
///
/// A chain ends below its root, so that the root is the first of those trusted for the host that the chain leads to.
pub(super) fn for_web(verifier: &PinnedVerifier, url: Option<&str>) -> Option<String> {
    let url = Url::parse(url?).ok()?;
    let host = url.host_str()?;
    let chain = verifier.presented(host).filter(|chain| chain.outcome.is_ok())?;
    let leads_to = |anchor: &&Anchor| {
        let alone = Anchors::from(vec![(*anchor).clone()]);
        certs::verify_chain(&alone, &chain.certificates, host.trim_matches(['[', ']']), chain.at).is_ok()
    };
    let root = AnchorFacts::of(verifier.anchors_for(host).iter().find(leads_to)?);
    let fingerprint = match root.sha256 {
        Some(certificate) => format!("{certificate} (certificate)"),
        None => format!("{} (public key)", root.key_sha256),
    };
    Some(format!("TLS to {host}, root {}, SHA-256 {fingerprint}", root.name))
}
