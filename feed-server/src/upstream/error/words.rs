//! The parts of the sentences that depend on what was seen.

use std::time::Duration;

use certs::TlsFailure;
use hyper::StatusCode;

use crate::upstream::proxy::Origin;
use crate::upstream::watch::Step;

pub(super) fn advice(failure: &TlsFailure) -> String {
    let clue = failure.how_to_trust().map(|clue| format!("; {clue}")).unwrap_or_default();
    let check = match failure {
        TlsFailure::UnknownIssuer { .. } | TlsFailure::MissingIntermediate { .. } => {
            "check [upstream] trust_anchors, and whether a firewall that inspects TLS sits in between: its owners would \
             have to exempt the host from inspection"
        }
        TlsFailure::Namesake { .. } => "do not trust it, and find out who sits between here and upstream",
        TlsFailure::Expired { .. } | TlsFailure::NotYetValid { .. } => {
            "check this machine's clock first (NTP, UDP 123), then tell upstream"
        }
        TlsFailure::Name { .. } => "check [upstream] url, and whether something answers in its place",
        TlsFailure::WrongUse { .. } => "tell upstream, which has to present a certificate made for TLS servers",
        TlsFailure::Other { .. } => "check whether the port speaks TLS 1.2 or later, and who sits in between",
    };
    format!("{clue}; {check}")
}

pub(super) fn wait(after: Option<&Duration>) -> String {
    after.map_or_else(String::new, |after| format!(" and to wait {} s", after.as_secs()))
}

pub(super) fn bytes(announced: Option<&u64>) -> String {
    announced.map_or_else(|| "more".to_owned(), u64::to_string)
}

pub(super) fn of(announced: Option<&u64>) -> String {
    announced.map_or_else(String::new, |announced| format!(" of {announced}"))
}

pub(super) fn before(step: Step) -> &'static str {
    match step {
        Step::Dns | Step::Tcp | Step::ProxyTls | Step::Connect => "before anything was said",
        Step::Tls => "in the midst of the TLS handshake",
        Step::Http => "before it answered",
    }
}

pub(super) fn unusable(step: Step, origin: Origin) -> String {
    match step {
        Step::Dns => {
            format!("has a host name that could not be resolved; check {origin} and this machine's DNS servers")
        }
        Step::Tcp => format!("could not be connected to; check {origin}, and routing and firewall towards it"),
        Step::ProxyTls => format!(
            "is not trusted, or does not speak TLS; check the scheme and port in {origin}, and [upstream.proxy] \
             trust_anchors"
        ),
        Step::Connect | Step::Tls | Step::Http => {
            format!("did not answer CONNECT as a proxy does; check host, port and scheme in {origin}")
        }
    }
}

pub(super) fn unauthenticated(status: StatusCode, offered: &[String], had_credentials: bool, origin: Origin) -> String {
    const WAYS_OUT: &str = "ask its owners to let this machine's address through without authentication, or to accept \
                            Basic for a service account over an https proxy, run a local relay that authenticates \
                            (cntlm, px) and name that in [upstream.proxy] url, or list the host in bypass";
    let has_basic = offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("Basic"));
    let code = status.as_u16();
    let theirs = match origin {
        Origin::Configuration => String::new(),
        // The keys of the configuration go with a proxy of the environment's as well.
        Origin::Environment { .. } => format!("those in {origin}, or "),
    };
    match (has_basic, had_credentials) {
        (true, true) => format!(
            "refused the user name and password ({code}), and is not asked again with them, since accounts get locked; \
             check {theirs}username and password_file in [upstream.proxy]"
        ),
        (true, false) => {
            format!("asks for a user name and password ({code}); set username and password_file in [upstream.proxy]")
        }
        (false, _) if offered.is_empty() => {
            format!("asks for authentication ({code}) without saying of which kind; {WAYS_OUT}")
        }
        (false, _) => format!(
            "offers only {} to authenticate with ({code}), and this program can only do Basic; {WAYS_OUT}",
            offered.join(" and ")
        ),
    }
}

pub(super) fn refused(status: StatusCode, target: &str, origin: Origin) -> String {
    match status {
        StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => {
            format!("a rule of the proxy's forbids it; ask its owners to allow CONNECT to {target}")
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            format!("it could not reach {target} itself, or not resolve its name; ask its owners to try from there")
        }
        _ => format!("it does not connect to {target}; ask its owners why, or check {origin}"),
    }
}

pub(super) fn forged_under(root: Option<&String>, sha256: Option<&String>) -> String {
    let root = root.map(|root| format!(" under the root \"{root}\"")).unwrap_or_default();
    sha256.map_or_else(|| root.clone(), |sha256| format!("{root} (certificate SHA-256 {sha256})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_to_where_the_proxy_was_named() {
        let environment = Origin::Environment { variable: "HTTPS_PROXY" };
        let basic = ["Basic".to_owned()];
        let messages = |origin| {
            let steps = [Step::Dns, Step::Tcp, Step::Connect].map(|step| unusable(step, origin));
            let unauthenticated = unauthenticated(StatusCode::UNAUTHORIZED, &basic, true, origin);
            steps.into_iter().chain([unauthenticated, refused(StatusCode::NOT_FOUND, "host:443", origin)])
        };
        for message in messages(environment) {
            assert!(message.contains("the environment variable HTTPS_PROXY"), "{message}");
            assert!(!message.contains("[upstream.proxy] url"), "{message}");
        }
        for message in messages(Origin::Configuration) {
            assert!(message.contains("[upstream.proxy]") && !message.contains("environment"), "{message}");
        }
    }
}
