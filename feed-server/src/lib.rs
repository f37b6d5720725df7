//! The mirror: gets the vendor's feed, makes signed releases of it and serves them.
//!
//! The modules stand in the order the data takes: `upstream` → `sync` → `store` → `release` → `publish` →
//! `increments` → `http`.
//! Imports point back along that line only; a step never calls the next one: a job composes them.

pub mod clock;
pub mod config;
pub mod crash;
pub mod headends;
pub mod metrics;
pub mod schedule;
pub mod tokens;

pub mod app;
pub mod commands;
pub mod control;
pub mod http;
pub mod increments;
pub mod jobs;
pub mod publish;
pub mod release;
pub mod store;
pub mod sync;
pub mod upstream;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod testing;
