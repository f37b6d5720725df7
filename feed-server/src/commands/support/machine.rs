//! The machine, and what lies in the data directory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::commands::output::bytes;
use crate::config::Config;
use crate::http::api::views::StatusView;
use crate::store::{free_bytes, user_name};
use crate::{VERSION, clock};

pub(super) fn program(status: Option<&StatusView>) -> String {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let distribution = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
    let mut lines = vec![
        ("Program", format!("feed-server {VERSION}")),
        (
            "Server",
            status.map_or_else(|| "not reached".to_owned(), |status| format!("{} {}", status.role, status.version)),
        ),
        ("Time", clock::now().to_string()),
        ("System", distribution.trim_matches('"').to_owned()),
        ("Kernel", format!("{} {} {}", text(system.sysname()), text(system.release()), text(system.machine()))),
        ("Host", text(system.nodename())),
        ("User", user_name(rustix::process::geteuid().as_raw())),
    ];
    if let Ok(cpus) = std::thread::available_parallelism() {
        lines.push(("Processors", cpus.to_string()));
    }
    if let Some(follows) = status.and_then(|status| status.follows.as_ref()) {
        lines.push(("Follows", follows.clone()));
    }
    lines.iter().map(|(label, value)| format!("{label:<11} {value}\n")).collect()
}

/// What lies at its top and in `keys/`, by name, owner and mode; no file is opened.
pub(super) fn disk(config: &Config) -> String {
    let directory = &config.data.directory;
    let mut text = format!("{}\n", directory.display());
    match free_bytes(directory) {
        Ok(free) => text.push_str(&format!("{} are free\n", bytes(free))),
        Err(error) => text.push_str(&format!("what is free cannot be told: {error}\n")),
    }
    for path in [directory.clone(), directory.join("keys")] {
        text.push('\n');
        text.push_str(&listed(&path));
    }
    text
}

fn listed(directory: &Path) -> String {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return format!("{}: {error}\n", directory.display()),
    };
    let mut lines: Vec<String> = entries
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            entry.metadata().map_or_else(
                |error| format!("{name}: {error}\n"),
                |metadata| {
                    let (mode, owner) = (metadata.permissions().mode() & 0o7777, user_name(metadata.uid()));
                    let kind = if metadata.is_dir() { "directory".to_owned() } else { bytes(metadata.len()) };
                    format!("{name:<24} {mode:04o} {owner} {kind}\n")
                },
            )
        })
        .collect();
    lines.sort();
    format!("{}\n{}", directory.display(), lines.concat())
}
