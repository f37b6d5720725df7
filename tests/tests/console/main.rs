//! The operators' console, as a browser shows it and as somebody meets it who means harm. Pictures of every page are in
//! `target/screenshots/`.

mod audit;
mod desk;
mod doors;
mod headends;
mod hold;
mod import;
mod ise;
mod releases;
mod settings;
mod updates;
