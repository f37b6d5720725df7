//! Jobs: each composes steps of the data's way, is idempotent, and is woken by somebody else.

pub mod access;
pub mod certificate;
pub mod doctor;
mod follow;
pub mod history;
pub mod import;
pub mod incoming;
pub mod ise;
mod password;
pub mod prepare;
pub mod resign;
pub mod restore;
pub mod runner;
mod sources;
pub mod startup;
pub mod update;
pub mod vendor_zip;
mod vouching;
