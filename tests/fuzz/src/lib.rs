//! The fuzz targets' bodies, which the tests crate owns and replays.

#[path = "../../src/fuzz/targets.rs"]
pub mod targets;
