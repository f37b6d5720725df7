//! Backups: what was lost with a disk goes on, and whoever followed it follows on.

mod crashes;
mod origin;
mod refused;
mod relay;
