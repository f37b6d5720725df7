//! feed-server's modules: the data's way is the layout, and imports point back along it.

use std::path::{Path, PathBuf};

use super::imports::imports;

/// A module and what it may name of its crate, besides itself. Whatever is not listed may not be named: so a new module
/// has to be given its place here, and no two may name each other.
type Rule = (&'static str, &'static [&'static str]);

/// Told by nobody: what all others may know.
const GROUND: [&str; 4] = ["config", "clock", "crash", "metrics"];

/// The order in which data passes (design, section 3). Each may name those before it.
const LINE: [&str; 7] = ["upstream", "sync", "store", "release", "publish", "increments", "http"];

/// What stands beside the line, in the order in which each may know those before it.
const BESIDE: &[Rule] = &[
    ("headends", &["store"]),
    ("tokens", &["store"]),
    ("schedule", &["store"]),
    // What the running server holds together. It composes the steps, so that no step has to call the next one.
    ("app", &["upstream", "sync", "store", "release", "publish", "increments", "headends", "tokens", "schedule"]),
    ("jobs", &["upstream", "sync", "store", "release", "publish", "increments", "headends", "schedule", "app"]),
    // The doors for people: they may know everything that they open on.
    ("control", &["store", "publish", "http", "headends", "tokens", "schedule", "app", "jobs"]),
    (
        "commands",
        &[
            "upstream",
            "sync",
            "store",
            "release",
            "publish",
            "increments",
            "http",
            "headends",
            "tokens",
            "schedule",
            "app",
            "jobs",
            "control",
        ],
    ),
];

/// The one place where the line knows what stands beside it: routes answer from what the running server holds, about
/// headends and for holders of tokens. None of those knows a route.
const HTTP_BESIDE: [&str; 3] = ["app", "headends", "tokens"];

/// Whether `module` may name `other`; `None` where `module` has no place yet.
fn may_name(module: &str, other: &str) -> Option<bool> {
    if module == other {
        return Some(true);
    }
    if let Some(place) = GROUND.iter().position(|ground| *ground == module) {
        return Some(GROUND[..place].contains(&other));
    }
    if let Some(place) = LINE.iter().position(|step| *step == module) {
        let beside = module == "http" && HTTP_BESIDE.contains(&other);
        return Some(GROUND.contains(&other) || LINE[..place].contains(&other) || beside);
    }
    let (_, known) = BESIDE.iter().find(|(name, _)| *name == module)?;
    Some(GROUND.contains(&other) || known.contains(&other))
}

fn is_module(name: &str) -> bool {
    GROUND.contains(&name) || LINE.contains(&name) || BESIDE.iter().any(|(module, _)| *module == name)
}

/// The sentences about a file that breaks the order. `path` is relative to `src`.
fn violations(path: &Path, source: &str) -> Vec<String> {
    let module = module_path(path);
    let Some(top) = module.first() else { return Vec::new() };
    // Tests may set up whatever they need; nothing that ships can name these, since they are compiled for tests alone.
    if top == "testing" || module.iter().any(|part| part == "tests") {
        return Vec::new();
    }
    let named = match imports(source, &module) {
        Ok(named) => named,
        Err(error) => return vec![format!("{}: not Rust: {error}", path.display())],
    };
    if may_name(top, top).is_none() || !is_module(top) {
        return vec![format!(
            "{}: `{top}` has no place in the order of tests/tests/layering/modules.rs",
            path.display()
        )];
    }
    named
        .iter()
        .filter(|import| is_module(&import.module) && may_name(top, &import.module) == Some(false))
        .map(|import| format!("{}:{}: `{top}` must not know `{}`", path.display(), import.line, import.module))
        .collect()
}

/// `["store", "sled_catalog"]` for `store/sled_catalog.rs`, `["store"]` for `store/mod.rs`; empty for the roots.
fn module_path(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        path.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

#[test]
fn feed_servers_modules_name_only_what_comes_before_them() {
    let sources = tests::shared::workspace().join("feed-server/src");
    let files = super::sources(&sources);
    assert!(files.len() > 10, "{} holds feed-server's sources", sources.display());
    let broken: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let path: PathBuf = file.strip_prefix(&sources).unwrap().to_owned();
            violations(&path, &std::fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(broken.is_empty(), "imports point one way, back along the data's way:\n{}", broken.join("\n"));
}

#[test]
fn the_order_itself_has_no_circle() {
    let modules: Vec<&str> =
        GROUND.iter().chain(&LINE).copied().chain(BESIDE.iter().map(|(module, _)| *module)).collect();
    let mut placed: Vec<&str> = Vec::new();
    while placed.len() < modules.len() {
        let next = modules.iter().find(|module| {
            let ready =
                |other: &&&str| may_name(module, other) != Some(true) || other == module || placed.contains(other);
            !placed.contains(module) && modules.iter().all(|other| ready(&other))
        });
        placed.push(next.unwrap_or_else(|| panic!("a circle among the modules other than {placed:?}")));
    }
}

#[test]
fn planted_violations_are_found() {
    for (path, source, named) in [
        ("store/mod.rs", "use crate::publish::Tree;", "store/mod.rs:1: `store` must not know `publish`"),
        ("sync/run.rs", "\nuse crate::{config, release::Release};", "sync/run.rs:2: `sync` must not know `release`"),
        ("upstream/vendor.rs", "fn f() { crate::jobs::g() }", "upstream/vendor.rs:1: `upstream` must not know `jobs`"),
        ("publish/mod.rs", "use super::app::App;", "publish/mod.rs:1: `publish` must not know `app`"),
        ("http/api/mod.rs", "use super::super::commands;", "http/api/mod.rs:1: `http` must not know `commands`"),
        ("http/mod.rs", "use crate::jobs;", "http/mod.rs:1: `http` must not know `jobs`"),
        ("config/mod.rs", "use crate::store;", "config/mod.rs:1: `config` must not know `store`"),
        ("headends/mod.rs", "use crate::http;", "headends/mod.rs:1: `headends` must not know `http`"),
        ("app/mod.rs", "use crate::http;", "app/mod.rs:1: `app` must not know `http`"),
    ] {
        assert_eq!(violations(Path::new(path), source), [named]);
    }
    let unplaced = violations(Path::new("shortcut.rs"), "use crate::store;");
    assert!(unplaced[0].contains("`shortcut` has no place"), "{unplaced:?}");
}

#[test]
fn what_follows_the_order_is_left_alone() {
    for (path, source) in [
        ("http/routes.rs", "use crate::{app, config, headends, publish, store, tokens};"),
        ("store/mod.rs", "use crate::sync::CheckedFile; use super::sync; use self::x; mod y { use super::z; }"),
        ("store/tests.rs", "use crate::publish;"),
        ("store/tests/crashes.rs", "use crate::publish;"),
        ("testing.rs", "use crate::publish;"),
        ("store/mod.rs", "#[cfg(test)] mod tests { use crate::publish; }"),
        ("lib.rs", "pub mod commands; use crate::commands;"),
        ("commands/mod.rs", "use crate::{control, jobs, http};"),
    ] {
        assert!(violations(Path::new(path), source).is_empty(), "{path}: {source}");
    }
}
