//! Releases: deciding when one is made and how it is numbered, and what becomes of old ones.
//!
//! A run composes the steps: [`plan`], then [`commit`] or [`unchanged`]; [`retain`] before publishing, so that what is
//! published is what is retained, and [`collect`] after it, when nothing names the old content any more. On a relay,
//! [`relay::take`] stands in place of planning and committing. [`again`] is what an
//! earlier release becomes, after a restore or since a later one is bad.

mod again;
mod commit;
mod plan;
pub mod relay;
mod retention;
#[cfg(test)]
mod tests;

pub use again::{again, floor};
pub use commit::{commit, unchanged};
pub use plan::{ReleaseError, plan};
pub use retention::{collect, retain};
