//! What is published, looked at as its readers do: through files, URL paths, and a TUF client that others wrote.

mod bundle_zips;
mod crash;
mod keys;
mod metadata;
mod relay;
mod tree;
mod vendor;
mod zips;
