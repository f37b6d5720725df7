//! Chains against anchors, and what is said of those that are refused, through the public API.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod chains;
mod diagnoses;
mod hosts;
mod support;
