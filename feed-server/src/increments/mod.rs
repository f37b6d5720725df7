//! Content in other forms, prepared before anybody asks: increments over what headends hold already (`dcz`, RFC 9842), and
//! `zstd` and `gzip` for who holds nothing. What is signed stays as it is; a form opens to exactly those bytes, and nobody
//! who asks for none notices any of it.
//!
//! [`plan`] says what is wanted (pure), [`Preparer::prepare`] makes what is lacking, one form after the other, and each is
//! there for the routes at once: they read [`Prepared`], an immutable table. Nothing waits for any of it, and all of it can
//! be lost.

mod history;
mod plan;
mod prepare;
mod table;
#[cfg(test)]
mod tests;

pub use plan::{Wanted, plan};
pub use prepare::{PrepareError, Preparer, Summary};
pub use table::{Body, Prepared, Variant};
