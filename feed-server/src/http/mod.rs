//! The server's HTTP: router, routes, authentication, errors.

pub mod content;
