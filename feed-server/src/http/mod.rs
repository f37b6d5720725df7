//! The server's HTTP: router, routes, authentication, errors.

pub mod api;
pub mod auth;
pub mod body;
pub mod clients;
pub mod connections;
pub mod content;
pub mod errors;
pub mod measure;
pub mod server;
pub mod tls;
