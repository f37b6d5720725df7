//! Jobs: each composes steps of the data's way, is idempotent, and is woken by somebody else.

pub mod resign;
pub mod runner;
pub mod startup;
pub mod update;
