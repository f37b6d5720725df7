//! Certificates for people.

use jiff::Timestamp;

use super::output::{local_time, table};
use crate::http::api::views::PresentedView;
use crate::store::evidence::{CertificateRecord, ChainRecord, common_name};

/// Seconds of a day, by which people count how long a certificate lasts.
const DAY: i64 = 86_400;

/// How much to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// A line per certificate.
    Lines,
    /// The same, where why a chain was refused is told already.
    LinesWithoutReason,
    /// Everything that is known of each.
    Everything,
}

/// The chains of a run.
pub(super) fn text(presented: &PresentedView, detail: Detail, now: Timestamp) -> String {
    let mut text = String::new();
    for chain in &presented.chains {
        let verdict = match (&chain.failure, detail) {
            (None, Detail::Lines | Detail::LinesWithoutReason | Detail::Everything) => "accepted".to_owned(),
            (Some(_), Detail::LinesWithoutReason) => "refused".to_owned(),
            (Some(failure), Detail::Lines | Detail::Everything) => format!("refused: {failure}"),
        };
        let when = format!("run {} at {}", presented.run, local_time(presented.at));
        text.push_str(&format!(
            "\nChain of {} ({}), presented in {when}, {verdict}\n",
            chain.host,
            chain.role.as_str()
        ));
        match detail {
            Detail::Lines | Detail::LinesWithoutReason => text.push_str(&lines(chain, now)),
            Detail::Everything => chain.certificates.iter().for_each(|one| text.push_str(&details(one, now))),
        }
        if chain.more_certificates > 0 {
            text.push_str(&format!("  and {} more, too many or unreadable\n", chain.more_certificates));
        }
    }
    text
}

fn lines(chain: &ChainRecord, now: Timestamp) -> String {
    let row = |certificate: &CertificateRecord| {
        let until = format!("until {}", local_time(certificate.not_after));
        [format!("  {}", certificate.position), common_name(&certificate.subject), until, left(certificate, now)]
    };
    table(&chain.certificates.iter().map(row).collect::<Vec<_>>())
}

fn details(certificate: &CertificateRecord, now: Timestamp) -> String {
    let mut sans = certificate.sans.join(", ");
    if certificate.more_sans > 0 {
        sans.push_str(&format!(" and {} more", certificate.more_sans));
    }
    let valid = format!(
        "{} to {}, {}",
        local_time(certificate.not_before),
        local_time(certificate.not_after),
        left(certificate, now)
    );
    let mut rows = vec![
        [format!("  {}  subject", certificate.position), certificate.subject.clone()],
        ["     issuer".to_owned(), certificate.issuer.clone()],
        ["     serial".to_owned(), certificate.serial.clone()],
        ["     valid".to_owned(), valid],
        ["     SHA-256".to_owned(), certificate.sha256.clone()],
        ["     key".to_owned(), certificate.key.clone()],
    ];
    if !sans.is_empty() {
        rows.push(["     names".to_owned(), sans]);
    }
    table(&rows)
}

fn left(certificate: &CertificateRecord, now: Timestamp) -> String {
    let seconds = certificate.not_after.as_second() - now.as_second();
    let days = seconds.abs() / DAY;
    if now < certificate.not_before {
        "not valid yet".to_owned()
    } else if seconds < 0 {
        format!("ended {days} days ago")
    } else {
        format!("{days} days left")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::evidence::HostRole;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * DAY).unwrap()
    }

    fn presented(failure: Option<&str>) -> PresentedView {
        let certificate = |position, subject: &str, until| CertificateRecord {
            position,
            subject: subject.to_owned(),
            issuer: "O=One, CN=Root".to_owned(),
            serial: "7f".to_owned(),
            not_before: at(10),
            not_after: at(until),
            sans: if position == 0 { vec!["a.example".to_owned()] } else { Vec::new() },
            more_sans: if position == 0 { 120 } else { 0 },
            sha256: "ab".repeat(32),
            is_ca: position > 0,
            key: "RSA 2048".to_owned(),
        };
        let chain = ChainRecord {
            host: "a.example".to_owned(),
            role: HostRole::Index,
            trusted: failure.is_none(),
            failure: failure.map(str::to_owned),
            certificates: vec![certificate(0, "CN=a.example, O=One, Inc.", 130), certificate(1, "O=One", 90)],
            more_certificates: 0,
        };
        PresentedView { run: 7, at: at(100), chains: vec![chain] }
    }

    #[test]
    fn a_line_says_whose_a_certificate_is_and_how_long_it_lasts() {
        let text = text(&presented(None), Detail::Lines, at(100));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("Chain of a.example (index), presented in run 7 at "), "{text}");
        assert!(lines[1].ends_with(", accepted"), "{text}");
        assert!(
            lines[2].starts_with("  0  a.example  until 1970/05/1") && lines[2].ends_with("30 days left"),
            "{text}"
        );
        assert!(lines[3].starts_with("  1  O=One      until ") && lines[3].ends_with("ended 10 days ago"), "{text}");
        assert_eq!(lines.len(), 4, "{text}");
        let refused = |detail| super::text(&presented(Some("no trusted root")), detail, at(100));
        assert!(refused(Detail::Lines).contains(", refused: no trusted root\n"));
        assert!(refused(Detail::LinesWithoutReason).contains(", refused\n"));
    }

    #[test]
    fn everything_includes_what_support_asks_for() {
        let text = text(&presented(Some("no trusted root")), Detail::Everything, at(9));
        for part in [
            ", refused: no trusted root\n",
            "  0  subject  CN=a.example, O=One, Inc.\n",
            "     issuer   O=One, CN=Root\n",
            "     serial   7f\n",
            "not valid yet\n",
            &format!("     SHA-256  {}\n", "ab".repeat(32)),
            "     key      RSA 2048\n",
            "     names    a.example and 120 more\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert_eq!(text.matches("names").count(), 1, "{text}");
    }
}
