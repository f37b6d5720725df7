//! The binary from outside: its command line, its API, its listeners. Nothing here needs an upstream.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up is to fail")]

mod api;
mod audit;
mod cli;
mod doctor;
mod imports;
mod listening;
mod relay;
mod running;
mod tokens;
mod walk;
