//! The headend's agent: polls a feed-server, verifies what it signed, applies releases so that a reader never sees half
//! of one, and reports what runs here. Knows nothing of feed-server's insides: HTTP, signed metadata and files only.
//!
//! The data's way is the layout: [`poll`] → [`repository`] → [`plan`] → [`download`] → [`apply`] → [`report`]; no step
//! calls the next one, [`update`] composes them. Where there is no server to ask, [`carried`] (a bundle on a medium) stands
//! in the place of `repository` and `download`, and a [`receipt`] is made.

pub mod apply;
pub mod carried;
pub mod clock;
pub mod commands;
pub mod config;
pub mod crash;
pub mod data;
pub mod doctor;
pub mod download;
pub mod durable;
pub mod fetch;
pub mod lock;
pub mod logging;
pub mod mend;
pub mod metrics;
pub mod plan;
pub mod poll;
pub mod progress;
pub mod proxy;
pub mod receipt;
pub mod refusals;
pub mod report;
pub mod repository;
mod service;
pub mod settings;
pub mod state;
pub mod update;
