//! What is published, looked at as its readers do: through files, URL paths, and a TUF client that others wrote.

mod crash;
mod keys;
mod metadata;
mod tree;
mod vendor;
mod zips;
