//! The mirror: gets the vendor's feed, makes signed releases of it and serves them.
//!
//! The modules stand in the order the data takes: `upstream` → `sync` → `store` → `release` → `publish` → `http`.
//! Imports point back along that line only; a step never calls the next one: a job composes them.

pub mod clock;
pub mod config;
pub mod crash;

pub mod http;
pub mod publish;
pub mod release;
pub mod store;
pub mod sync;
pub mod upstream;

#[cfg(test)]
mod testing;
