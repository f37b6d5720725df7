//! The server's HTTP: router, routes, authentication, errors.

pub mod api;
pub mod auth;
pub mod body;
pub mod clients;
pub mod connections;
pub mod console;
pub mod content;
pub mod errors;
pub mod measure;
pub mod pictures;
mod routes;
pub mod server;
pub mod tls;
pub mod transport;

/// Bytes that the names and values of a request's headers may have. A headend's have some hundreds; those of a proxy with its cookies
/// and a long token have a few thousand.
pub const MAX_HEAD_BYTES: usize = 32 << 10;

/// Bytes of a request's path and query: the longest of ours have two hundred.
pub const MAX_TARGET_BYTES: usize = 8 << 10;
