//! The real binary against a small server with a repository made by another TUF implementation.

#![allow(clippy::unwrap_used, reason = "in tests an error is a failure, in their helpers too")]

mod apply;
mod crash;
mod damage;
mod doctor;
mod enroll;
mod idle;
mod import;
mod increments;
mod input;
mod media;
mod origin;
mod proxy;
mod refusals;
mod run;
mod server;
mod tls;
mod trust;
mod world;
