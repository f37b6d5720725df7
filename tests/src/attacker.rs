//! Whoever stands in a server's place: answers with whatever it likes, and signs with whatever keys it has.

mod forge;
mod server;

pub use forge::{Files, Forged, Key, files_of_server};
pub use server::{Answer, Attacker};
