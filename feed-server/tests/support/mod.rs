//! What the tests of a look at upstream are made of.

pub(crate) mod archives;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod world;
