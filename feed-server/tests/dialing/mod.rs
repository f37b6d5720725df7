//! How upstream is reached, and gone on with where it broke off.

mod encodings;
mod proxies;
mod resuming;
