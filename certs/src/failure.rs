//! Why a TLS connection was not trusted, in the few kinds that people act on differently.

use std::error::Error as StdError;
use std::io;

use jiff::Timestamp;
use rustls::{CertificateError, OtherError};
use rustls_pki_types::UnixTime;

/// Why a TLS connection was not trusted. The messages say what was seen; what to do about it depends on what the
/// connection was for, which callers know, and [`TlsFailure::how_to_trust`] says what a trust anchor would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The chain is whole, or leads out of what was presented to a root that is public, and its root is no anchor.
    #[error("the certificate chain does not lead to a trusted root{}", .root.as_ref().map(RootSeen::sentence).unwrap_or_default())]
    UnknownIssuer {
        /// The root that the chain does lead to, where it can be told.
        root: Option<RootSeen>,
    },
    /// A root with the subject of a trusted one and another public key.
    #[error(
        "the certificate chain ends in a root that bears the name of the trusted \"{name}\" and is not it: its public \
         key's SHA-256 is {}, the trusted root's is {trusted_key_sha256}, so it is refused",
        .key_sha256.as_deref().unwrap_or("unknown (it was not presented)")
    )]
    Namesake {
        /// The name that both bear.
        name: String,
        /// SHA-256 of the key presented under that name, in hex; absent where only the name was seen, in what it is
        /// said to have signed.
        key_sha256: Option<String>,
        /// SHA-256 of the trusted root's key, in hex.
        trusted_key_sha256: String,
    },
    /// The last link presented is neither self-signed nor issued by an anchor.
    #[error(
        "the certificate chain is incomplete: {subject} was issued by {issuer}, which was not presented and is no \
         trusted root; the server should send that certificate along"
    )]
    MissingIntermediate {
        /// The last link.
        subject: String,
        /// Whose certificate should have followed.
        issuer: String,
    },
    /// Over.
    #[error("{} {}", whose(.subject.as_ref()), expired(*.not_after, *.now))]
    Expired {
        /// Whose certificate, where known.
        subject: Option<String>,
        /// Until when it was valid, where known.
        not_after: Option<Timestamp>,
        /// What this machine's clock said, where known.
        now: Option<Timestamp>,
    },
    /// Still to come.
    #[error("{} {}", whose(.subject.as_ref()), early(*.not_before, *.now))]
    NotYetValid {
        /// Whose certificate, where known.
        subject: Option<String>,
        /// From when it is valid, where known.
        not_before: Option<Timestamp>,
        /// What this machine's clock said, where known.
        now: Option<Timestamp>,
    },
    /// For another host.
    #[error("the certificate is not for {}, but for {}", .asked.as_deref().unwrap_or("the host asked for"), names(.presented))]
    Name {
        /// The host asked for, where known.
        asked: Option<String>,
        /// The names that it is for, as presented.
        presented: Vec<String>,
    },
    /// A certificate stands where its own extensions do not let it.
    #[error("{subject} may not be used for this: {what}")]
    WrongUse {
        /// Whose certificate.
        subject: String,
        /// What it is not good for.
        what: Misuse,
    },
    /// Anything else: protocol versions, alerts, broken encodings, bad signatures.
    #[error("the TLS handshake failed: {message}")]
    Other {
        /// In rustls's words.
        message: String,
    },
}

impl TlsFailure {
    /// Whether no path to an anchor was found: what an inspecting proxy's forged chain looks like, too.
    #[must_use]
    pub fn is_untrusted_issuer(&self) -> bool {
        match self {
            Self::UnknownIssuer { .. } | Self::Namesake { .. } | Self::MissingIntermediate { .. } => true,
            Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::Name { .. }
            | Self::WrongUse { .. }
            | Self::Other { .. } => false,
        }
    }

    /// How to trust what was presented, where a trust anchor would do it and if it is right to: a sentence without
    /// its full stop, for after a semicolon. The setting is called `trust_anchors` everywhere.
    #[must_use]
    pub fn how_to_trust(&self) -> Option<String> {
        match self {
            Self::UnknownIssuer { root: Some(root) } => Some(root.how_to_trust()),
            Self::MissingIntermediate { issuer, .. } => Some(format!(
                "or, if {issuer} is a root of your own that is right here, save its certificate as a PEM file and name \
                 that in trust_anchors"
            )),
            // A namesake is never right: whoever moves a root to another key gives it another name.
            Self::Namesake { .. }
            | Self::UnknownIssuer { root: None }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::Name { .. }
            | Self::WrongUse { .. }
            | Self::Other { .. } => None,
        }
    }
}

/// The root that a chain leads to and that is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSeen {
    /// Its common name, or the whole subject where it has none.
    pub name: String,
    /// SHA-256 of its certificate, in hex, where it was presented.
    pub sha256: Option<String>,
    /// SHA-256 of its subject public key info, in hex.
    pub key_sha256: String,
    /// Whether it is, by subject and key, one of the public roots in webpki-roots (Mozilla's).
    pub is_public: bool,
    /// Whether it may sign others, so that it could be a trust anchor; a self-signed server's own certificate may not.
    pub is_ca: bool,
}

impl RootSeen {
    fn sentence(&self) -> String {
        let kind = match (self.is_public, self.is_ca) {
            (true, _) => "one of Mozilla's public roots",
            (false, true) => "not one of Mozilla's public roots",
            (false, false) => "a server's self-signed certificate",
        };
        let certificate =
            self.sha256.as_ref().map(|sha256| format!("certificate SHA-256 {sha256}, ")).unwrap_or_default();
        format!(", but to \"{}\" ({kind}; {certificate}key SHA-256 {})", self.name, self.key_sha256)
    }

    fn how_to_trust(&self) -> String {
        match (self.is_public, self.is_ca) {
            (true, _) => format!("if that root is right, add it: trust_anchors = [\"{}\"]", self.name),
            (false, true) => "if that root is right, compare its SHA-256 with what its owner says, save its \
                              certificate as a PEM file and name that in trust_anchors"
                .to_owned(),
            (false, false) => "a server's self-signed certificate cannot be a trust anchor; give the server a \
                               certificate that a CA issued, and name that CA's root in trust_anchors"
                .to_owned(),
        }
    }
}

/// What a certificate is not good for, and was used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// Its extended key usage leaves out TLS servers.
    #[error("its extended key usage does not allow TLS servers")]
    NotForServers,
    /// A CA's own certificate as a server's.
    #[error("it is a CA's certificate and was presented as a server's")]
    AuthorityAsServer,
    /// A server's certificate as a CA's.
    #[error("it is not a CA's certificate and has signed the one before it in the chain")]
    ServerAsAuthority,
    /// More CAs below it than it allows.
    #[error("it allows fewer CAs below it than the chain has (its path length constraint)")]
    PathTooLong,
}

fn whose(subject: Option<&String>) -> String {
    subject.map_or_else(|| "a certificate in the chain".to_owned(), |subject| format!("the certificate of {subject}"))
}

fn expired(not_after: Option<Timestamp>, now: Option<Timestamp>) -> String {
    match (not_after, now) {
        (Some(not_after), Some(now)) => format!("expired at {not_after}, and this machine's clock says {now}"),
        (Some(_) | None, _) => "has expired".to_owned(),
    }
}

fn early(not_before: Option<Timestamp>, now: Option<Timestamp>) -> String {
    match (not_before, now) {
        (Some(not_before), Some(now)) => {
            format!("is valid from {not_before} on only, and this machine's clock says {now}")
        }
        (Some(_) | None, _) => "is not valid yet".to_owned(),
    }
}

/// How many names of a certificate a message repeats: content networks put hundreds into one.
const NAMES_IN_MESSAGE: usize = 5;

fn names(presented: &[String]) -> String {
    match presented.len() {
        0 => "no name at all".to_owned(),
        count if count > NAMES_IN_MESSAGE => {
            format!("{} and {} more", presented[..NAMES_IN_MESSAGE].join(", "), count - NAMES_IN_MESSAGE)
        }
        _ => presented.join(", "),
    }
}

/// The kind of failure that a rustls error stands for.
#[must_use]
pub fn failure_of(error: &rustls::Error) -> TlsFailure {
    let other = || TlsFailure::Other { message: error.to_string() };
    let rustls::Error::InvalidCertificate(error) = error else { return other() };
    if let CertificateError::Other(OtherError(diagnosed)) = error
        && let Some(failure) = diagnosed.downcast_ref::<TlsFailure>()
    {
        return failure.clone();
    }
    #[allow(clippy::wildcard_enum_match_arm, reason = "rustls's enum is non-exhaustive")]
    match error {
        // A root of the right subject with another key, or with a key of another kind, is no trusted root either.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            TlsFailure::UnknownIssuer { root: None }
        }
        CertificateError::Expired => TlsFailure::Expired { subject: None, not_after: None, now: None },
        CertificateError::ExpiredContext { time, not_after } => {
            TlsFailure::Expired { subject: None, not_after: timestamp(*not_after), now: timestamp(*time) }
        }
        CertificateError::NotValidYet => TlsFailure::NotYetValid { subject: None, not_before: None, now: None },
        CertificateError::NotValidYetContext { time, not_before } => {
            TlsFailure::NotYetValid { subject: None, not_before: timestamp(*not_before), now: timestamp(*time) }
        }
        CertificateError::NotValidForName => TlsFailure::Name { asked: None, presented: Vec::new() },
        CertificateError::NotValidForNameContext { presented, .. } => {
            TlsFailure::Name { asked: None, presented: presented.iter().map(|name| plain(name)).collect() }
        }
        _ => other(),
    }
}

/// The TLS failure somewhere in an error's chain of causes, where there is one: HTTP libraries wrap it several times,
/// and an [`io::Error`] hides what it wraps from `source`.
#[must_use]
pub fn failure_in(error: &(dyn StdError + 'static)) -> Option<TlsFailure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(failure_of(tls));
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// rustls gives the presented names in debug form, `DnsName("www.cisco.com")`.
fn plain(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

fn timestamp(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.as_secs()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_failure_is_found_under_the_wrapping_of_io_errors() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(failure_in(&wrapped), Some(TlsFailure::UnknownIssuer { root: None }));
        assert_eq!(failure_in(&io::Error::other("no TLS in here")), None);
    }

    #[test]
    fn a_diagnosis_travels_through_rustls_whole() {
        let failure = TlsFailure::MissingIntermediate { subject: "CN=a".into(), issuer: "CN=b".into() };
        let tls = CertificateError::Other(OtherError(Arc::new(failure.clone()))).into();
        assert_eq!(failure_of(&tls), failure);
    }

    #[test]
    fn messages_name_dates_and_hosts() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let expired = TlsFailure::Expired { subject: None, not_after: at(0), now: at(86_400) };
        assert_eq!(
            expired.to_string(),
            "a certificate in the chain expired at 1970-01-01T00:00:00Z, and this machine's clock says 1970-01-02T00:00:00Z"
        );
        let many = TlsFailure::Name { asked: None, presented: (0..7).map(|n| format!("h{n}")).collect() };
        assert!(many.to_string().ends_with("h0, h1, h2, h3, h4 and 2 more"), "{many}");
    }
}
