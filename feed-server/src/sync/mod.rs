//! One look at upstream: what was fetched becomes [`CheckedFeed`], or nothing does.

pub mod checked;

pub use checked::{CheckedFeed, CheckedFile};
