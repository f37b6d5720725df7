//! The laboratory: a stand-in for the vendor, a world of real binaries, and the peers that check what we serve. Knows
//! nothing of the programs' insides: it drives binaries, HTTP and files.

pub mod attacker;
pub mod bench;
pub mod fleet;
pub mod fuzz;
pub mod lab;
pub mod mounts;
pub mod peers;
pub mod reference;
pub mod shared;
pub mod wire;
pub mod world;
