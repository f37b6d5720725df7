//! What the server warns of: nothing failed, but something will, or may mean harm. Each warning follows from what runs
//! recorded and from the time, so that none has to be raised or cleared, and a restart forgets none.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::facts::Expiry;
use crate::config::{self, Role};
use crate::publish::Role as SigningRole;
use crate::store::chain_facts::{AcceptedChain, Authority, ChainChange};
use crate::store::evidence::common_name;
use crate::store::{Learned, Repository};
use crate::sync::UNKNOWN_DIALECT;

/// How long before the end of a certificate the server warns: a month is one maintenance window of those who run a slow
/// change process, and renewals that are automatic have happened by then.
pub const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long a change that was accepted is warned of: whoever looks once a week, or comes back from a long weekend, sees it.
/// One that is refused is warned of for as long as it is.
pub const CHANGE_SHOWN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long before a relay's metadata of the online repository ends the server warns: an origin signs it anew every six
/// hours and for seven days, so that nothing has come for four.
pub const ONLINE_ENDS_SOON: SignedDuration = SignedDuration::from_hours(3 * 24);

/// How long before that of the offline repository: media that are carried once a week have two more chances.
pub const OFFLINE_ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long what is due may take to be signed: it is looked at every minute, and a large release is published meanwhile.
const SIGNING_TAKES: SignedDuration = SignedDuration::from_hours(1);

/// The kinds of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// A certificate of the chain that was accepted last ends soon.
    CertificateExpiring,
    /// Somebody else vouches for upstream than before.
    ChainChanged,
    /// The index is in a dialect that is not known.
    UnknownDialect,
    /// Upstream's clock and this machine's differ.
    ClockOffset,
    /// Signed metadata that a relay received ends soon, or has ended; on an origin, it was to be signed anew and was not.
    MetadataExpiring,
    /// A key that signs on schedule is not here.
    SigningKeyMissing,
    /// A next root waits for signatures.
    RootUnsigned,
    /// A token that is in use ends soon, or ended lately.
    TokenExpiring,
    /// This server's own certificate ends soon, or has ended.
    ServerCertificateExpiring,
    /// What is in the files of this server's certificate cannot be presented.
    ServerCertificateRefused,
}

impl WarningKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::CertificateExpiring,
        Self::ChainChanged,
        Self::UnknownDialect,
        Self::ClockOffset,
        Self::MetadataExpiring,
        Self::SigningKeyMissing,
        Self::RootUnsigned,
        Self::TokenExpiring,
        Self::ServerCertificateExpiring,
        Self::ServerCertificateRefused,
    ];

    /// Whether it is worth getting up for by itself. What ends is as soon as that is near.
    #[must_use]
    pub const fn is_critical(self) -> bool {
        match self {
            Self::SigningKeyMissing => true,
            Self::CertificateExpiring
            | Self::ChainChanged
            | Self::UnknownDialect
            | Self::ClockOffset
            | Self::MetadataExpiring
            | Self::RootUnsigned
            | Self::TokenExpiring
            | Self::ServerCertificateExpiring
            | Self::ServerCertificateRefused => false,
        }
    }

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateExpiring => "certificate_expiring",
            Self::ChainChanged => "chain_changed",
            Self::UnknownDialect => "unknown_dialect",
            Self::ClockOffset => "clock_offset",
            Self::MetadataExpiring => "metadata_expiring",
            Self::SigningKeyMissing => "signing_key_missing",
            Self::RootUnsigned => "root_unsigned",
            Self::TokenExpiring => "token_expiring",
            Self::ServerCertificateExpiring => "server_certificate_expiring",
            Self::ServerCertificateRefused => "server_certificate_refused",
        }
    }
}

/// Something that the server warns of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// Of which kind.
    pub kind: WarningKind,
    /// What it is, of what, and what to do next.
    pub message: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl App {
    /// What there is to warn of now.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings_of(&self.learned())
    }

    /// The same, from what is at hand.
    #[must_use]
    pub fn warnings_of(&self, learned: &Learned) -> Vec<Warning> {
        let mut warnings = warnings(learned, &self.config.upstream, self.now());
        warnings.extend(self.ending());
        warnings.extend(self.certificate.get().into_iter().flat_map(|certificate| certificate.warnings(self.now())));
        warnings
    }

    /// What ends of what a relay serves, since it cannot sign anew, and what it needs has to be brought; and on an origin
    /// what cannot be signed anew, or waits for somebody to sign it. Tokens that are in use end on both.
    #[must_use]
    pub fn ending(&self) -> Vec<Warning> {
        let mut warnings = match self.role() {
            Role::Origin => self.unsigned(),
            Role::Relay => ending(&self.metadata_expires(), &self.config.upstream, self.now()),
        };
        warnings.extend(self.ending_tokens());
        warnings
    }

    fn unsigned(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let waiting = self.publisher.waiting_roots().unwrap_or_default();
        // Its own turn comes within a minute.
        let late = self.now().checked_sub(SIGNING_TAKES).unwrap_or(Timestamp::MIN);
        for (repository, role, since, expires) in self.publisher.overdue(late) {
            if waiting.iter().any(|one| one.repository == repository) && role == SigningRole::Root {
                continue;
            }
            let next = match role {
                SigningRole::Root => {
                    "run `feed-server keys renew`, and have it signed where the root keys are (`keys request`, `keys sign`, \
                     `keys import-signatures`)"
                }
                SigningRole::Targets | SigningRole::Snapshot | SigningRole::Timestamp => "the log says why",
            };
            let verb = if expires <= self.now() { "ended" } else { "ends" };
            let message = format!(
                "the {repository} repository's {role} metadata was to be signed anew and is not; it {verb} at {expires}, and \
                 headends then take nothing new and stay on what they run; {next}"
            );
            warnings.push(Warning { kind: WarningKind::MetadataExpiring, message, since });
        }
        for (repository, role, since) in self.publisher.lacking_keys() {
            let message = format!(
                "the {repository} repository's {role} key is not in keys/ of the data directory, so nothing new can be \
                 published; put it back, or replace it with `feed-server keys rotate {role} --repository {repository}`, which \
                 takes root keys"
            );
            warnings.push(Warning { kind: WarningKind::SigningKeyMissing, message, since });
        }
        for waiting in waiting {
            let lacking: u64 = waiting.lacking.iter().map(|lacking| lacking.signatures).sum();
            let message = format!(
                "version {} of the {} root ({}) waits for signatures, {lacking} in all, and changes nothing until then; see \
                 `feed-server keys list` and `keys request`, or give it up with `keys cancel`",
                waiting.version, waiting.repository, waiting.what
            );
            warnings.push(Warning { kind: WarningKind::RootUnsigned, message, since: waiting.since });
        }
        warnings
    }

    /// What the log was told by the last run, at the beginning of the next one.
    #[must_use]
    pub fn warned(&self) -> Warned {
        let kept = super::if_readable(self.store.run_facts()).last_attempt;
        let until = kept.max(self.runs.last().map(|run| run.started));
        Warned { until, known: self.warnings().into_iter().map(|warning| (warning.kind, warning.since)).collect() }
    }

    /// Tells the log what came after that; each warning once.
    pub fn tell_warnings_after(&self, warned: &Warned) {
        for Warning { kind, message, since } in self.warnings() {
            if warned.is_before(kind, since) {
                tracing::warn!(kind = kind.as_str(), %since, "{message}");
            }
        }
    }
}

/// What of the warnings the log was told.
#[derive(Debug, Clone)]
pub struct Warned {
    /// The start of the last run.
    until: Option<Timestamp>,
    /// What there was to warn of. Time alone does not tell: clocks here go by seconds, and two runs may begin in one.
    known: Vec<(WarningKind, Timestamp)>,
}

impl Warned {
    fn is_before(&self, kind: WarningKind, since: Timestamp) -> bool {
        match self.until {
            Some(until) if since < until => false,
            Some(until) if since == until => !self.known.contains(&(kind, since)),
            Some(_) | None => true,
        }
    }
}

/// What follows from what runs taught.
fn warnings(learned: &Learned, upstream: &config::Upstream, now: Timestamp) -> Vec<Warning> {
    // A host that is no longer asked is nobody's worry.
    let is_asked = |host: &str| {
        let urls = std::iter::once(&upstream.url).chain(&upstream.fallback_urls).chain(&upstream.offline_zip_url);
        let others = upstream.allowed_hosts.iter().map(|allowed| allowed.host.as_str());
        urls.filter_map(|url| url.host_str())
            .chain(others)
            .any(|asked| asked.trim_matches(['[', ']']).eq_ignore_ascii_case(host))
    };
    let accepted = learned.chains.accepted.iter().filter(|chain| is_asked(&chain.host));
    let changes = learned.chains.changes.iter().filter(|change| is_asked(&change.host));
    let mut warnings: Vec<_> = accepted.flat_map(|chain| expiring(chain, now)).collect();
    warnings.extend(changes.filter_map(|change| changed(change, now)));
    warnings.extend(learned.unknown_dialect_since.map(|since| Warning {
        kind: WarningKind::UnknownDialect,
        message: UNKNOWN_DIALECT.to_owned(),
        since,
    }));
    warnings.extend(learned.clock.and_then(|clock| {
        let way = if clock.offset > 0 { "behind" } else { "ahead of" };
        let seconds = clock.offset.unsigned_abs();
        let message = format!(
            "this machine's clock is {seconds} s {way} upstream's; check NTP here (UDP 123), for certificates and signatures \
             are judged by it"
        );
        Some(Warning { kind: WarningKind::ClockOffset, message, since: clock.off_since? })
    }));
    warnings
}

/// A warning for each repository of which something ends soon or has ended: what ends first.
fn ending(expiries: &[Expiry], upstream: &config::Upstream, now: Timestamp) -> Vec<Warning> {
    let first = |repository| {
        let of_it = expiries.iter().filter(move |(of, ..)| *of == repository);
        of_it.min_by_key(|(.., expires)| *expires)
    };
    let warning = |&(repository, role, expires): &Expiry| {
        let soon = match repository {
            Repository::Online => ONLINE_ENDS_SOON,
            Repository::Offline => OFFLINE_ENDS_SOON,
        };
        if expires.duration_since(now) > soon {
            return None;
        }
        let verb = if expires <= now { "ended" } else { "ends" };
        let next = if upstream.fetches() {
            "find out with `feed-server doctor` why nothing newer comes, or import a newer bundle"
        } else {
            "import a newer bundle"
        };
        let message = format!(
            "the {repository} repository's {role} metadata {verb} at {expires}, and headends then take nothing new from here \
             and stay on what they run; {next}"
        );
        let since = expires.checked_sub(soon).unwrap_or(expires);
        Some(Warning { kind: WarningKind::MetadataExpiring, message, since })
    };
    Repository::ALL.into_iter().filter_map(first).filter_map(warning).collect()
}

fn expiring(chain: &AcceptedChain, now: Timestamp) -> impl Iterator<Item = Warning> + use<'_> {
    let ends_soon = move |at: Timestamp| at.duration_since(now) <= EXPIRES_SOON;
    chain.certificates.iter().filter(move |certificate| ends_soon(certificate.not_after)).map(move |certificate| {
        let verb = if certificate.not_after < now { "ended" } else { "ends" };
        let message = format!(
            "certificate {} of {}'s chain ({}) {verb} at {}, and updates may stop then; its owner should renew it before, \
             so ask whoever runs upstream if that has not happened in its last week",
            certificate.position,
            chain.host,
            common_name(&certificate.subject),
            certificate.not_after,
        );
        let soon = certificate.not_after.checked_sub(EXPIRES_SOON).unwrap_or(certificate.first_seen);
        Warning { kind: WarningKind::CertificateExpiring, message, since: soon.max(certificate.first_seen) }
    })
}

fn changed(change: &ChainChange, now: Timestamp) -> Option<Warning> {
    if change.trusted && now.duration_since(change.since) >= CHANGE_SHOWN {
        return None;
    }
    let pairs =
        [("issuer", &change.before.issuer, &change.after.issuer), ("root", &change.before.root, &change.after.root)];
    let told = pairs.into_iter().filter(|(_, before, after)| before.differs(after));
    let told = told.map(|(what, before, after)| format!("its {what} was {} and is {}", shown(before), shown(after)));
    let told: Vec<_> = told.collect();
    let next = if change.trusted {
        "it is accepted; check that the change is upstream's own"
    } else {
        "it is refused, and nothing is fetched from there; check who inspects TLS in between; only if upstream \
         confirms that the change is its own, add the new root to [upstream] trust_anchors"
    };
    let message = format!("another chain vouches for {} than before: {}; {next}", change.host, told.join(", "));
    Some(Warning { kind: WarningKind::ChainChanged, message, since: change.since })
}

fn shown(authority: &Authority) -> String {
    let digest = authority.sha256.as_deref().unwrap_or("not presented");
    format!("{} (SHA-256 {digest})", common_name(&authority.name))
}

#[cfg(test)]
mod tests;
