//! The real binary against a small server with a repository made by another TUF implementation.

#![allow(clippy::unwrap_used, reason = "in tests an error is a failure, in their helpers too")]

mod apply;
mod crash;
mod enroll;
mod input;
mod origin;
mod run;
mod server;
mod tls;
mod trust;
mod world;
