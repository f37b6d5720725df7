//! Which failures of one source are worth the question to the next one.

use bundles::Reason;

/// Whether another URL of the feed may do where one failed for this reason. Not after a refused password: the next URL
/// is behind the same proxy, and accounts get locked. Not where the failure is ours, so that no other URL mends it:
/// storage, versions that go backwards, the clock, the configuration.
#[must_use]
pub const fn another_source_may_help(reason: Reason) -> bool {
    match reason {
        Reason::Dns
        | Reason::Connect
        | Reason::Timeout
        // The next host may be one that needs no proxy, or one that the proxy allows.
        | Reason::ProxyConnect
        | Reason::ProxyRefused
        | Reason::TlsUntrusted
        | Reason::TlsExpired
        | Reason::TlsName
        | Reason::TlsIntercepted
        | Reason::HttpStatus
        | Reason::RateLimited
        | Reason::Cooldown
        | Reason::NotAFeed
        // It is the index at that URL that names the host, and those sizes.
        | Reason::HostNotAllowed
        | Reason::Truncated
        | Reason::TooLarge
        | Reason::DigestMismatch
        | Reason::BadArchive
        | Reason::Unauthorized
        | Reason::NotFound
        // Another feed-server may have what its origin signed meanwhile, where one stands still, or was put back.
        | Reason::Signature
        | Reason::Expired
        | Reason::Rollback
        | Reason::Freeze => true,
        Reason::ProxyAuth
        | Reason::VersionRollback
        | Reason::Expectation
        | Reason::Clock
        | Reason::Storage
        | Reason::Busy
        | Reason::HookFailed
        | Reason::BadRequest
        | Reason::Internal => false,
    }
}
