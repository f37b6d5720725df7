//! Signing keys over years: they are rotated, lost and replaced, kept elsewhere; and whoever enrolled with the first root
//! follows, with our client and with python-tuf.

mod ceremony;
mod crashes;
mod ending;
mod relay;
mod rotation;
mod setting;
mod sources;
