//! Releases that are held, resumed, and released again: what an operator does when the vendor ships something bad.

mod crashes;
mod evidence;
mod hold;
mod relay;
mod republish;
mod setting;
