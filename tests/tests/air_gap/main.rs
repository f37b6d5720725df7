//! The air gap: what is carried by hand, whoever reads it on the way, and those who import it.

mod crashes;
mod damage;
mod folder;
mod hops;
mod printed;
mod readers;
mod refused;
mod rotten;
mod setting;
