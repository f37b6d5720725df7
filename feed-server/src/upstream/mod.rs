//! Sources of the feed: the vendor over HTTPS, or another feed-server ([`mirror`]).
//!
//! [`vendor::Vendor`] asks for one URL at a time and hands the body over in pieces, held to limits and deadlines. What
//! the bytes are is not its business: that is for `sync` to find out.

pub mod anchors;
mod body;
mod dial;
pub mod doctor;
mod error;
mod exchange;
mod head;
mod hosts;
pub mod manners;
pub mod mirror;
pub mod proxy;
mod raw;
mod resume;
mod root;
#[cfg(test)]
mod tests;
pub mod vendor;
mod watch;

pub use body::{Content, Piece};
pub use error::{Pause, UpstreamError};
pub use exchange::Redirect;
pub use hosts::Hosts;
pub(crate) use hosts::shown;
pub(crate) use proxy::read_secret;
pub use proxy::{Environment, Proxies, Proxy, ProxyError, SecretFileError};
pub use raw::{Connected, Raw};
pub use root::{RootError, read_root, trusted_root};
pub use vendor::{Answer, Condition, Setup, Timeouts, Vendor};
pub use watch::{NoWatch, Seen, Step, Watch};
