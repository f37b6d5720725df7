//! The closed set of reasons: one word for logs, metric labels, problem+json, reports, exit codes and the console.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $sentence:literal;)*) => {
        /// Why something did not happen. One closed set for the whole house (design, section 9).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the design: so that each metric label exists at 0 from the start.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word that stands in labels, JSON and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// One sentence for people: what happened, to what, and what to check next. An error's own message,
            /// where there is one, is more precise; this is what to say where there is none.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }

        impl FromStr for Reason {
            type Err = UnknownReason;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word { $($word => Ok(Self::$variant),)* _ => Err(UnknownReason(word.chars().take(64).collect())) }
            }
        }
    };
}

reasons! {
    /// A host name does not resolve.
    Dns = "dns", "The host name could not be resolved; check the name in the configuration and the DNS servers of this machine (UDP 53).";
    /// No TCP connection.
    Connect = "connect", "No TCP connection to the host could be made; check routing and firewall for TCP 443, or whether a proxy is needed.";
    /// A step took longer than its limit.
    Timeout = "timeout", "The other side did not answer in time; check the path to it, and firewalls that drop silently.";
    /// No TCP connection to the proxy.
    ProxyConnect = "proxy_connect", "The proxy could not be reached; check its address and port in [upstream.proxy].";
    /// The proxy wants other credentials (407).
    ProxyAuth = "proxy_auth", "The proxy refused the user name and password; put the right password into the password file before the account gets locked.";
    /// The proxy refuses to connect to the host.
    ProxyRefused = "proxy_refused", "The proxy refused to connect to the upstream host; ask its owners to allow CONNECT to it on port 443.";
    /// The chain does not lead to a trusted root.
    TlsUntrusted = "tls_untrusted", "The certificate chain does not lead to a trusted root; check [upstream] trust_anchors, and who sits between here and upstream.";
    /// A certificate is expired or not yet valid.
    TlsExpired = "tls_expired", "A certificate in the chain is expired or not yet valid; check this machine's clock first (NTP, UDP 123).";
    /// The certificate is for another name.
    TlsName = "tls_name", "The certificate is for another host name; check the URL, and whether something answers in the host's place.";
    /// A proxy opened the TLS connection.
    TlsIntercepted = "tls_intercepted", "Something between here and upstream opens TLS connections; ask the proxy's owners to exempt the upstream host from inspection.";
    /// An unexpected HTTP status.
    HttpStatus = "http_status", "Upstream answered with an error status; open the URL from this machine, and try again later.";
    /// 429, or 403 with a wait.
    RateLimited = "rate_limited", "Upstream asks for fewer requests; the next attempt waits as long as it asked.";
    /// An earlier answer still asks us to wait.
    Cooldown = "cooldown", "An earlier answer from upstream asked for a pause that has not ended; wait, or run sync with --ignore-cooldown, which asks once.";
    /// What came is not a feed.
    NotAFeed = "not_a_feed", "What came is not a posture feed, perhaps a login page or an error page; open the URL in a browser from this network.";
    /// A locator names a host that is not allowed.
    HostNotAllowed = "host_not_allowed", "The index names a host that is not allowed; if it is right, add it to [upstream] allowed_hosts.";
    /// Fewer bytes than announced.
    Truncated = "truncated", "Fewer bytes came than were announced; the connection was cut or the file is damaged: try again.";
    /// More than a limit allows.
    TooLarge = "too_large", "The input exceeds a limit; if it is genuine, raise the limit in [limits].";
    /// Other bytes than the digest says.
    DigestMismatch = "digest_mismatch", "The bytes are not those that the digest promises; the file is damaged, or was changed on the way: fetch it again.";
    /// An archive that does not open.
    BadArchive = "bad_archive", "The archive does not open or holds what it must not; fetch it again, and if it stays so, tell whoever made it.";
    /// A component's version goes backwards.
    VersionRollback = "version_rollback", "Upstream offers an older version than the one released; if that is wanted, run sync (or bundle import --vendor) with --accept-version-rollback.";
    /// Something differs from what the operator said to expect.
    Expectation = "expectation", "What was found differs from what --expect says; compare the versions with the vendor's page.";
    /// Signatures do not verify.
    Signature = "signature", "The signatures are not by a threshold of trusted keys; it was changed, or comes from another origin.";
    /// Signed metadata is past its expiry.
    Expired = "expired", "The signed metadata has expired; check the clock, and whether the origin still publishes or a newer bundle exists.";
    /// The local clock contradicts signed time.
    Clock = "clock", "This machine's clock contradicts signed times; set the clock (NTP, UDP 123).";
    /// Older than what was seen before.
    Rollback = "rollback", "It is older than what was seen before; a server was restored from a backup, or somebody replays old data.";
    /// The repository stands still past its promise.
    Freeze = "freeze", "The server's metadata stands still beyond its expiry; check that the server still signs, and who answers in its place.";
    /// Disk or database.
    Storage = "storage", "Data could not be read or written; check free space, permissions and the health of the disk.";
    /// Somebody else is at it.
    Busy = "busy", "Another run holds the lock; wait for it to end.";
    /// The hook program refused the release.
    HookFailed = "hook_failed", "The hook program failed, so the previous release was put back; see its output in the log.";
    /// A request or a configuration that cannot be understood.
    BadRequest = "bad_request", "The request or the configuration is not understood; see the message.";
    /// No token, or one that does not allow this.
    Unauthorized = "unauthorized", "The token is missing, unknown or does not allow this; ask an administrator for one.";
    /// There is no such thing.
    NotFound = "not_found", "There is no such thing here; check the name or the number.";
    /// A defect of ours.
    Internal = "internal", "Something went wrong that should not have; the log says more, and a report of it is welcome.";
}

impl Reason {
    /// The exit code of a command that failed for this reason (design, section 8).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::HookFailed | Self::Internal => 1,
            Self::BadRequest => 2,
            Self::Dns | Self::Connect | Self::Timeout => 10,
            Self::ProxyConnect | Self::ProxyAuth | Self::ProxyRefused => 11,
            Self::TlsUntrusted
            | Self::TlsExpired
            | Self::TlsName
            | Self::TlsIntercepted
            | Self::Signature
            | Self::Expired
            | Self::Clock
            | Self::Rollback
            | Self::Freeze
            | Self::VersionRollback => 12,
            // `cooldown` is the echo of an earlier `rate_limited`.
            Self::HttpStatus
            | Self::RateLimited
            | Self::Cooldown
            | Self::NotAFeed
            | Self::Unauthorized
            | Self::NotFound => 13,
            Self::Truncated
            | Self::TooLarge
            | Self::DigestMismatch
            | Self::BadArchive
            | Self::HostNotAllowed
            | Self::Expectation => 14,
            Self::Storage => 15,
            Self::Busy => 16,
        }
    }

    /// Whether trying again soon may help without anybody doing anything.
    #[must_use]
    pub const fn worth_a_retry(self) -> bool {
        match self {
            Self::Dns
            | Self::Connect
            | Self::Timeout
            | Self::ProxyConnect
            | Self::HttpStatus
            | Self::RateLimited
            | Self::NotAFeed
            | Self::NotFound
            | Self::Truncated
            | Self::DigestMismatch
            | Self::BadArchive
            | Self::Storage
            | Self::Busy
            | Self::Internal => true,
            Self::ProxyAuth
            | Self::ProxyRefused
            | Self::TlsUntrusted
            | Self::TlsExpired
            | Self::TlsName
            | Self::TlsIntercepted
            | Self::Cooldown
            | Self::HostNotAllowed
            | Self::TooLarge
            | Self::VersionRollback
            | Self::Expectation
            | Self::Signature
            | Self::Expired
            | Self::Clock
            | Self::Rollback
            | Self::Freeze
            | Self::HookFailed
            | Self::BadRequest
            | Self::Unauthorized => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that knows its reason. Every error of the libraries is one.
pub trait Reasoned: std::error::Error {
    /// The word for logs, metrics and exit codes.
    fn reason(&self) -> Reason;

    /// The message with those of its sources behind it: what stands in reports, runs and problem+json. Sources may repeat
    /// what came from outside, so their control characters are taken out: no line feed of theirs begins a line of a log.
    fn whole_message(&self) -> String {
        let mut message = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            message.push_str(": ");
            message.extend(error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }));
            source = error.source();
        }
        message
    }
}

/// A word that is not among [`Reason::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a reason")]
pub struct UnknownReason(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_the_designs_and_every_word_reads_back() {
        let words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(
            words.join(" "),
            "dns connect timeout proxy_connect proxy_auth proxy_refused tls_untrusted tls_expired tls_name \
             tls_intercepted http_status rate_limited cooldown not_a_feed host_not_allowed truncated too_large \
             digest_mismatch bad_archive version_rollback expectation signature expired clock rollback freeze storage \
             busy hook_failed bad_request unauthorized not_found internal"
        );
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert!(reason.sentence().ends_with('.'), "{reason}");
            assert!(reason.exit_code() != 0, "{reason}");
        }
    }
}
