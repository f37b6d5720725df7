//! The most useful reason why a chain is not trusted, from the chain as it was presented.
//!
//! The verdict is rustls's alone; what stands here is asked only after a refusal, and no answer turns one into trust.
//! The order is: trust first, time second, use third, name last. A chain that leads to no anchor is reported as such
//! even where it has expired, too: somebody who then corrected the clock, or waited for a renewed certificate, would
//! stand before the same closed door; and of an unknown issuer's certificate neither dates nor names mean anything.

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::anchors::{common_name, der_sequence};
use crate::facts::{alternative_names, printable, timestamp};
use crate::{Anchors, Misuse, RootSeen, TlsFailure};

/// How many of the presented certificates are looked at. Real chains have three or four; a server that sends hundreds
/// must not make the diagnosis dear.
const MAX_CERTIFICATES: usize = 16;

/// How many signatures are checked for one diagnosis, as webpki's own budget against chains that are built to branch.
const MAX_SIGNATURES: usize = 100;

/// How much of a name a message repeats: a certificate of 64 KB may be nearly all subject.
const MAX_NAME_CHARS: usize = 200;

/// Why the chain (the leaf first) is not trusted for the host at that time, where it can be told; `None` where nothing
/// is wrong that could be seen here, so that the verifier's own words have to do.
pub(crate) fn diagnose(
    anchors: &Anchors,
    chain: &[&CertificateDer<'_>],
    host: &str,
    now: Timestamp,
) -> Option<TlsFailure> {
    let presented: Vec<Link<'_>> = chain
        .iter()
        .take(MAX_CERTIFICATES)
        .enumerate()
        .filter_map(|(position, der)| Link::read(position, der))
        .collect();
    // A leaf that cannot be read is rustls's to describe.
    let leaf = presented.first().filter(|link| link.position == 0)?;
    let mut search = Search { anchors, presented: &presented, signatures_left: MAX_SIGNATURES, dead_end: None };
    let Some(path) = search.path_from(vec![leaf]) else { return search.dead_end };
    out_of_time(&path, now).or_else(|| misused(&path)).or_else(|| misnamed(leaf, host))
}

/// One presented certificate.
struct Link<'d> {
    position: usize,
    der: &'d [u8],
    certificate: X509Certificate<'d>,
}

impl<'d> Link<'d> {
    fn read(position: usize, der: &'d [u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self { position, der, certificate })
    }

    fn subject(&self) -> String {
        clipped(&self.certificate.subject().to_string())
    }

    /// The raw name that an issuer must bear.
    fn issuer_name(&self) -> &[u8] {
        self.certificate.issuer().as_raw()
    }

    fn name(&self) -> &[u8] {
        self.certificate.subject().as_raw()
    }

    fn key(&self) -> &[u8] {
        self.certificate.public_key().raw
    }
}

fn clipped(name: &str) -> String {
    let name = printable(name);
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// Looks for a way from the leaf to an anchor through what was presented, in whatever order it was, whatever the time.
struct Search<'s, 'd> {
    anchors: &'s Anchors,
    presented: &'s [Link<'d>],
    signatures_left: usize,
    /// What the first way that was tried ended in; a server sends its intended one first.
    dead_end: Option<TlsFailure>,
}

impl<'s, 'd> Search<'s, 'd> {
    fn path_from(&mut self, path: Vec<&'s Link<'d>>) -> Option<Vec<&'s Link<'d>>> {
        let last = *path.last()?;
        if self.is_anchor(last) || self.issuing_anchor(last) {
            return Some(path);
        }
        let is_self_signed = last.issuer_name() == last.name() && self.is_signed_by(last, last.key());
        let mut is_end = true;
        if !is_self_signed {
            for next in self.presented {
                let is_new = !path.iter().any(|link| link.position == next.position);
                if is_new && last.issuer_name() == next.name() && self.is_signed_by(last, next.key()) {
                    is_end = false;
                    let mut longer = path.clone();
                    longer.push(next);
                    if let Some(found) = self.path_from(longer) {
                        return Some(found);
                    }
                }
            }
        }
        if is_end && self.dead_end.is_none() {
            self.dead_end = Some(self.why_it_ends(last, is_self_signed));
        }
        None
    }

    fn is_anchor(&self, link: &Link<'_>) -> bool {
        self.anchors.iter().any(|anchor| name_of(anchor.trust()) == link.name() && key_of(anchor.trust()) == link.key())
    }

    fn issuing_anchor(&mut self, link: &Link<'_>) -> bool {
        let anchors = self.anchors;
        anchors.iter().any(|anchor| self.is_issued_by(link, anchor.trust()))
    }

    fn is_issued_by(&mut self, link: &Link<'_>, root: &TrustAnchor<'_>) -> bool {
        name_of(root) == link.issuer_name() && self.is_signed_by(link, &key_of(root))
    }

    /// Only where names agree already, so that a signature is rarely checked in vain.
    fn is_signed_by(&mut self, link: &Link<'_>, key: &[u8]) -> bool {
        let Some(left) = self.signatures_left.checked_sub(1) else { return false };
        self.signatures_left = left;
        SubjectPublicKeyInfo::from_der(key).is_ok_and(|(_, key)| link.certificate.verify_signature(Some(&key)).is_ok())
    }

    fn why_it_ends(&mut self, last: &Link<'_>, is_self_signed: bool) -> TlsFailure {
        let is_public = webpki_roots::TLS_SERVER_ROOTS
            .iter()
            .any(|public| name_of(public) == last.name() && key_of(public) == last.key());
        // A public root may be presented as another root signed it, too; people know it as a root.
        let presented_root = (is_self_signed || is_public).then_some(last);
        let namesake = self.anchors.iter().find(|anchor| reads_alike(anchor.trust(), last.certificate.issuer()));
        if let Some(trusted) = namesake {
            return TlsFailure::Namesake {
                name: trusted.name().to_owned(),
                key_sha256: is_self_signed.then(|| sha256(last.key())),
                trusted_key_sha256: trusted.key_sha256(),
            };
        }
        if let Some(root) = presented_root {
            let name = root.certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
            return TlsFailure::UnknownIssuer {
                root: Some(RootSeen {
                    name: name.map_or_else(|| root.subject(), clipped),
                    sha256: Some(sha256(root.der)),
                    key_sha256: sha256(root.key()),
                    is_public,
                    is_ca: root.certificate.is_ca(),
                }),
            };
        }
        if let Some(public) = webpki_roots::TLS_SERVER_ROOTS.iter().find(|public| self.is_issued_by(last, public)) {
            return TlsFailure::UnknownIssuer {
                root: Some(RootSeen {
                    name: common_name(public).unwrap_or_else(|| clipped(&last.certificate.issuer().to_string())),
                    sha256: None,
                    key_sha256: sha256(&key_of(public)),
                    is_public: true,
                    is_ca: true,
                }),
            };
        }
        let issuer = clipped(&last.certificate.issuer().to_string());
        // The issuer was presented, under the right name and with another key; or the link itself was damaged.
        if self.presented.iter().any(|link| link.name() == last.issuer_name()) {
            let message =
                format!("the signature on the certificate of {} is not by the presented {issuer}", last.subject());
            return TlsFailure::Other { message };
        }
        TlsFailure::MissingIntermediate { subject: last.subject(), issuer }
    }
}

/// The whole DER of an anchor's subject, as certificates hold it.
fn name_of(root: &TrustAnchor<'_>) -> Vec<u8> {
    der_sequence(&root.subject)
}

/// Whether people would take one name for the other, in whichever string types they are encoded.
fn reads_alike(root: &TrustAnchor<'_>, name: &X509Name<'_>) -> bool {
    let root = name_of(root);
    X509Name::from_der(&root).is_ok_and(|(_, root)| root.to_string().eq_ignore_ascii_case(&name.to_string()))
}

/// The whole DER of an anchor's subject public key info.
fn key_of(root: &TrustAnchor<'_>) -> Vec<u8> {
    der_sequence(&root.subject_public_key_info)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Of several that are out of their time, the one that ended first, or begins last, is the one to renew first.
fn out_of_time(path: &[&Link<'_>], now: Timestamp) -> Option<TlsFailure> {
    let validity = |link: &&Link<'_>| {
        let validity = link.certificate.validity();
        Some((link.subject(), timestamp(validity.not_before).ok()?, timestamp(validity.not_after).ok()?))
    };
    let known: Vec<_> = path.iter().filter_map(validity).collect();
    let over = known.iter().filter(|(_, _, not_after)| *not_after < now).min_by_key(|(_, _, not_after)| *not_after);
    if let Some((subject, _, not_after)) = over {
        return Some(TlsFailure::Expired {
            subject: Some(subject.clone()),
            not_after: Some(*not_after),
            now: Some(now),
        });
    }
    let early =
        known.iter().filter(|(_, not_before, _)| *not_before > now).max_by_key(|(_, not_before, _)| *not_before);
    early.map(|(subject, not_before, _)| TlsFailure::NotYetValid {
        subject: Some(subject.clone()),
        not_before: Some(*not_before),
        now: Some(now),
    })
}

/// RFC 5280, sections 4.2.1.9 (basic constraints) and 4.2.1.12 (extended key usage).
fn misused(path: &[&Link<'_>]) -> Option<TlsFailure> {
    let (leaf, authorities) = path.split_first()?;
    let wrong = |link: &Link<'_>, what| Some(TlsFailure::WrongUse { subject: link.subject(), what });
    if leaf.certificate.is_ca() {
        return wrong(leaf, Misuse::AuthorityAsServer);
    }
    for (below, link) in authorities.iter().enumerate() {
        if !link.certificate.is_ca() {
            return wrong(link, Misuse::ServerAsAuthority);
        }
        let most =
            link.certificate.basic_constraints().ok().flatten().and_then(|basic| basic.value.path_len_constraint);
        if most.is_some_and(|most| below > most as usize) {
            return wrong(link, Misuse::PathTooLong);
        }
    }
    let not_for_servers = |link: &&&Link<'_>| {
        let usage = link.certificate.extended_key_usage().ok().flatten();
        usage.is_some_and(|usage| !usage.value.server_auth)
    };
    path.iter().find(not_for_servers).and_then(|link| wrong(link, Misuse::NotForServers))
}

fn misnamed(leaf: &Link<'_>, host: &str) -> Option<TlsFailure> {
    use rustls::client::verify_server_name;
    use rustls::server::ParsedCertificate;

    let der = CertificateDer::from(leaf.der);
    let name = rustls_pki_types::ServerName::try_from(host).ok()?;
    let certificate = ParsedCertificate::try_from(&der).ok()?;
    verify_server_name(&certificate, &name)
        .is_err()
        .then(|| TlsFailure::Name { asked: Some(printable(host)), presented: alternative_names(&leaf.certificate) })
}
