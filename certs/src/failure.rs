//! Why a TLS connection was not trusted, in the few kinds that people act on differently.

use std::error::Error as StdError;
use std::io;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls_pki_types::UnixTime;

/// Why a TLS connection was not trusted. The messages say what happened; what to do about it depends on what the
/// connection was for, which callers know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// No path from the leaf to an anchor.
    #[error("the certificate chain does not lead to a trusted root")]
    UnknownIssuer,
    /// Over.
    #[error("a certificate in the chain {}", expired(*.not_after, *.now))]
    Expired {
        /// Until when it was valid, where known.
        not_after: Option<Timestamp>,
        /// What this machine's clock said, where known.
        now: Option<Timestamp>,
    },
    /// Still to come.
    #[error("a certificate in the chain {}", early(*.not_before, *.now))]
    NotYetValid {
        /// From when it is valid, where known.
        not_before: Option<Timestamp>,
        /// What this machine's clock said, where known.
        now: Option<Timestamp>,
    },
    /// For another host.
    #[error("the certificate is not for the host asked for, but for {}", names(.presented))]
    Name {
        /// The names that it is for, as presented.
        presented: Vec<String>,
    },
    /// Anything else: protocol versions, alerts, broken encodings, bad signatures.
    #[error("the TLS handshake failed: {message}")]
    Other {
        /// In rustls's words.
        message: String,
    },
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
    #[allow(clippy::wildcard_enum_match_arm, reason = "rustls's enum is non-exhaustive")]
    match error {
        // A root of the right subject with another key, or with a key of another kind, is no trusted root either.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => TlsFailure::UnknownIssuer,
        CertificateError::Expired => TlsFailure::Expired { not_after: None, now: None },
        CertificateError::ExpiredContext { time, not_after } => {
            TlsFailure::Expired { not_after: timestamp(*not_after), now: timestamp(*time) }
        }
        CertificateError::NotValidYet => TlsFailure::NotYetValid { not_before: None, now: None },
        CertificateError::NotValidYetContext { time, not_before } => {
            TlsFailure::NotYetValid { not_before: timestamp(*not_before), now: timestamp(*time) }
        }
        CertificateError::NotValidForName => TlsFailure::Name { presented: Vec::new() },
        CertificateError::NotValidForNameContext { presented, .. } => {
            TlsFailure::Name { presented: presented.iter().map(|name| plain(name)).collect() }
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
    use super::*;

    #[test]
    fn a_failure_is_found_under_the_wrapping_of_io_errors() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(failure_in(&wrapped), Some(TlsFailure::UnknownIssuer));
        assert_eq!(failure_in(&io::Error::other("no TLS in here")), None);
    }

    #[test]
    fn messages_name_dates_and_hosts() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let expired = TlsFailure::Expired { not_after: at(0), now: at(86_400) };
        assert_eq!(
            expired.to_string(),
            "a certificate in the chain expired at 1970-01-01T00:00:00Z, and this machine's clock says 1970-01-02T00:00:00Z"
        );
        let many = TlsFailure::Name { presented: (0..7).map(|n| format!("h{n}")).collect() };
        assert!(many.to_string().ends_with("h0, h1, h2, h3, h4 and 2 more"), "{many}");
    }
}
