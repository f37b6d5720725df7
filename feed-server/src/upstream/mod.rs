//! Sources of the feed: the vendor over HTTPS.
//!
//! [`vendor::Vendor`] asks for one URL at a time and hands the body over in pieces, held to limits and deadlines. What
//! the bytes are is not its business: that is for `sync` to find out.

mod body;
mod error;
mod hosts;
#[cfg(test)]
mod tests;
pub mod vendor;

pub use body::Content;
pub use error::UpstreamError;
pub use hosts::Hosts;
pub(crate) use hosts::shown;
pub use vendor::{Answer, Condition, Timeouts, Vendor};
